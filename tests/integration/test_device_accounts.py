"""``hermes device``: the command that adds, lists and removes device accounts."""

import json
import re
from pathlib import Path

import pytest

from hermes.broker.accounts import FILE_NAME, Account, AccountsFile
from hermes.cli.main import main
from hermes.ids import DeviceId, TenantId
from tests.support.programs import hermes

pytestmark = pytest.mark.broker

D1 = Account(TenantId("acme"), DeviceId("d1"))


def run(folder: Path, *words: str) -> int:
    """``hermes device`` with this folder."""
    return main(["device", "--broker-state-dir", str(folder), *words])


def test_add_prints_user_password_and_a_command_to_test_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the note that the running Hermes wrote into the folder."""
    (tmp_path / "broker.json").write_text(json.dumps({"listen": "0.0.0.0:8883", "tls": True, "topics": ["hermes"]}))
    assert run(tmp_path, "add", "acme/kitchen lamp") == 0
    printed = capsys.readouterr()
    match = re.search(r"^password  (\w{24})$", printed.out, re.MULTILINE)
    assert match is not None
    assert "user      acme/kitchen%20lamp\n" in printed.out
    assert "topic     tenants/acme/devices/kitchen lamp/#\n" in printed.out
    assert f"\n  -P {match[1]}\n" in printed.out, "in a line of its own, not among the arguments of a command"
    assert (
        "  mosquitto_pub -h GATEWAY -p 8883 --cafile ca.pem -u acme/kitchen%20lamp "
        "-t 'tenants/acme/devices/kitchen lamp/test' -m '{\"value\":21.5}'\n"
    ) in printed.out
    assert printed.err == ""


def test_add_reports_a_folder_that_no_hermes_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The account is created nevertheless: Hermes may be started later."""
    assert run(tmp_path / "new", "add", "acme/d1") == 0
    printed = capsys.readouterr()
    assert f"no Hermes has used the folder {tmp_path / 'new'} yet" in printed.err
    assert "mosquitto_pub -h GATEWAY -p 1883 -u acme/d1" in printed.out


@pytest.mark.parametrize("note", ["no JSON", "[]", '{"topics": 1}', '{"topics": ["{"]}', "{}"])
def test_a_note_that_cannot_be_read_does_not_matter(tmp_path: Path, note: str) -> None:
    """The account is created without it."""
    (tmp_path / "broker.json").write_text(note)
    assert run(tmp_path, "add", "acme/d1") == 0
    assert list(AccountsFile(tmp_path).read()) == [D1]


def test_add_refuses_a_device_that_the_templates_cannot_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The account is not created."""
    (tmp_path / "broker.json").write_text(json.dumps({"listen": "0.0.0.0:8883", "topics": ["hermes"]}))
    assert run(tmp_path, "add", "acme/a/b") == 1
    assert "no template has a topic for acme/a/b" in capsys.readouterr().err
    assert AccountsFile(tmp_path).read() == {}


def test_list_and_remove(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sorted, with the user name if it is different."""
    for name in ("acme/d2", "acme/d1", "acme/a b"):
        assert run(tmp_path, "add", name) == 0
    capsys.readouterr()
    assert run(tmp_path, "list") == 0
    assert capsys.readouterr().out == "acme/a b\tuser acme/a%20b\nacme/d1\nacme/d2\n"
    assert run(tmp_path, "remove", "acme/d1") == 0
    assert run(tmp_path, "remove", "acme/d1") == 1
    assert "acme/d1 has no account" in capsys.readouterr().err
    assert run(tmp_path, "add", "acme/d2") == 1
    assert "remove it and add it again" in capsys.readouterr().err


def test_the_folder_is_the_one_of_the_service_under_systemd(tmp_path: Path) -> None:
    """Otherwise it is below the folder of the user."""
    with hermes("device", "add", "acme/d1", STATE_DIRECTORY=f"{tmp_path / 's'}:/x", XDG_STATE_HOME="/") as program:
        program.wait_for("password")
    assert (tmp_path / "s" / "broker" / FILE_NAME).is_file()
    with hermes("device", "add", "acme/d1", STATE_DIRECTORY="", XDG_STATE_HOME=str(tmp_path / "x")) as program:
        program.wait_for("password")
    assert (tmp_path / "x" / "hermes" / "broker" / FILE_NAME).is_file()


def test_the_folder_may_come_from_the_configuration_file(tmp_path: Path) -> None:
    """The file of `hermes serve`; its other keys do not matter."""
    config = tmp_path / "hermes.toml"
    config.write_text(f'port = 1\nbroker_state_dir = "{tmp_path / "b"}"\n')
    assert main(["device", "--config", str(config), "add", "acme/d1"]) == 0
    assert (tmp_path / "b" / FILE_NAME).is_file()


def test_a_relative_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hermes and the command may be started in different folders."""
    assert main(["device", "--broker-state-dir", "broker", "list"]) == 2
    assert "is not an absolute path; write /" in capsys.readouterr().err
