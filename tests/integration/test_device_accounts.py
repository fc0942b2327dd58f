"""Device accounts: their names, their file, what they may publish to, and the command that makes them."""

import errno
import json
import os
import re
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes.broker import accounts as module
from hermes.broker.accounts import (
    FILE_NAME,
    Account,
    AccountsFile,
    account_of,
    hashed,
    lines_of,
    new_password,
    parse_account,
    parse_lines,
)
from hermes.cli.main import main
from hermes.errors import AccountError
from hermes.ids import DeviceId, TenantId
from tests.support.programs import hermes, needs

D1 = Account(TenantId("acme"), DeviceId("d1"))
HASH = hashed("a password")
ROOT = os.geteuid() == 0


@given(st.text(max_size=40), st.text(max_size=40))
@example("acme", "d1\nuser hermes")
@example("acme", "d1:$7$")
@example("# acme", "%2F")
@example("a b", "ä/ö")
def test_every_account_that_is_allowed_reads_back_from_its_line(tenant: str, device: str) -> None:
    """And its line holds nothing that the file's form means something by."""
    try:
        account = parse_account(f"{tenant}/{device}")
    except AccountError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._~%/-]+", account.user)
    assert account_of(account.user) == account
    assert parse_lines(lines_of({account.user: HASH})) == {account: HASH}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("acme", "write TENANT/DEVICE"),
        ("/d1", "write TENANT/DEVICE"),
        ("acme/", "write TENANT/DEVICE"),
        ("acme/+", "wildcards of MQTT"),
        ("a#/d1", "wildcards of MQTT"),
        ("acme/d1\n", "cannot be printed"),
        ("acme/d\0", "cannot be printed"),
        ("acme/d1 ", "begins or ends with a space"),
        (" acme/d1", "begins or ends with a space"),
        ("acme/\udcff", "cannot be printed"),
        ("acme/" + "ä" * 200, "1024 are allowed"),
    ],
)
def test_ids_that_cannot_be_held_are_refused_with_the_reason(text: str, reason: str) -> None:
    """Before anything is written."""
    with pytest.raises(AccountError, match=reason):
        parse_account(text)


def test_other_ids_are_percent_encoded() -> None:
    """So that the user name is plain wherever it is typed."""
    assert parse_account("acme/d1").user == "acme/d1"
    assert parse_account("acme/kitchen lamp").user == "acme/kitchen%20lamp"
    assert parse_account("a:b/hall/lamp").user == "a%3Ab/hall/lamp"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"hermes:{HASH}", "'hermes' is no device's user name"),
        (f"acme/d 1:{HASH}", "no device's user name"),
        (f"acme/%ff:{HASH}", "no device's user name"),
        (f"acme/%64:{HASH}", "no device's user name"),
        ("acme/d1:clear", "no password hash"),
        ("acme/d1", "no password hash"),
        (f"acme/d1:{HASH}:x", "no password hash"),
        (f"acme/d1:{HASH}\nacme/d1:{HASH}", "a second time"),
    ],
)
def test_a_line_that_is_no_account_is_named(tmp_path: Path, line: str, reason: str) -> None:
    """With the file, and what to do."""
    (tmp_path / FILE_NAME).write_text(f"# of the hall\n\n{line}\n")
    with pytest.raises(AccountError, match=rf"{FILE_NAME}, line \d: .*{reason}.*; mend or delete it"):
        AccountsFile(tmp_path).read()


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """As after a disk's fault."""
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(AccountError, match="is not UTF-8 text"):
        AccountsFile(tmp_path).read()


def test_lines_of_mosquittos_own_tool_are_accounts_too(tmp_path: Path) -> None:
    """Who wants to choose a password uses that."""
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    subprocess.run([needs("mosquitto_passwd"), "-b", path, "acme/d1", "chosen"], check=True, timeout=10)
    assert list(AccountsFile(tmp_path).read()) == [D1]


def test_passwords_are_long_and_never_twice_the_same() -> None:
    """And easy to type."""
    passwords = {new_password() for _ in range(1_000)}
    assert len(passwords) == 1_000
    assert all(re.fullmatch(r"[2-9a-km-zA-HJ-NP-Z]{24}", password) for password in passwords)


def test_the_file_is_private_and_whole(tmp_path: Path) -> None:
    """Nothing but it, the lock and its folder is left."""
    accounts = AccountsFile(tmp_path / "a" / "broker")
    password = accounts.add(D1)
    accounts.add(parse_account("acme/d2"))
    assert stat.S_IMODE(accounts.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(accounts.folder.stat().st_mode) == 0o700
    assert password not in accounts.path.read_text()
    assert [str(account) for account in accounts.read()] == ["acme/d1", "acme/d2"]
    assert sorted(os.listdir(accounts.folder)) == [module.LOCK_NAME, FILE_NAME]
    accounts.remove(D1)
    assert [str(account) for account in accounts.read()] == ["acme/d2"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk."""
    accounts = AccountsFile(tmp_path)
    accounts.add(D1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AccountError, match=r"cannot write .*: No space left on device; mend that"):
        accounts.add(parse_account("acme/d2"))
    assert list(accounts.read()) == [D1]
    assert sorted(os.listdir(tmp_path)) == [module.LOCK_NAME, FILE_NAME]


def test_what_a_killed_writer_left_goes_with_the_next_change(tmp_path: Path) -> None:
    """It holds hashes; other files stay."""
    (tmp_path / f".{FILE_NAME}.123.0123abcd").write_text(f"acme/d1:{HASH}\n")
    (tmp_path / f".{FILE_NAME}.mine").touch()
    AccountsFile(tmp_path).add(D1)
    assert sorted(os.listdir(tmp_path)) == [module.LOCK_NAME, f".{FILE_NAME}.mine", FILE_NAME]


def test_only_who_lacks_rights_is_told_to_be_root() -> None:
    """On a full disk that would not help."""
    assert "run this as root" in module.advice(PermissionError(errno.EACCES, "Permission denied"))
    assert "run this as root" in module.advice(PermissionError(errno.EPERM, "Operation not permitted"))
    assert "root" not in module.advice(OSError(errno.ENOSPC, "No space left on device"))
    assert "root" not in module.advice(OSError(errno.EROFS, "Read-only file system"))


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """They wait for each other."""
    faults: list[Exception] = []

    def add(name: str) -> None:
        try:
            for number in range(20):
                AccountsFile(tmp_path).add(parse_account(f"{name}/{number}"))
        except Exception as error:  # noqa: BLE001 - the test looks at them
            faults.append(error)

    threads = [threading.Thread(target=add, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert len(AccountsFile(tmp_path).read()) == 60


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """Root may be writing where another user can."""
    victim = tmp_path / "victim"
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / module.LOCK_NAME).symlink_to(victim)
    with pytest.raises(AccountError, match="cannot write"):
        AccountsFile(folder).add(D1)
    assert not victim.exists()


@pytest.mark.skipif(not ROOT, reason="only root adds devices for another user")
def test_what_root_writes_belongs_to_the_owner_of_the_folder_above(tmp_path: Path) -> None:
    """The service runs as a user of its own and must be able to read it."""
    os.chown(tmp_path, 12_345, 12_346)
    accounts = AccountsFile(tmp_path / "broker")
    accounts.add(D1)
    for path in (accounts.folder, accounts.path, accounts.folder / module.LOCK_NAME):
        assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 12_346)


@pytest.mark.skipif(not ROOT, reason="only root can make a folder of another user")
def test_a_plain_user_gives_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not, also where the folder above is of another group."""
    os.chown(tmp_path, 12_345, 12_346)
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    accounts = AccountsFile(tmp_path / "broker")
    accounts.add(D1)
    for path in (accounts.folder, accounts.path, accounts.folder / module.LOCK_NAME):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


def test_a_folder_that_cannot_be_made_says_what_to_mend(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(AccountError, match=r"cannot make .*/file/broker: .*; mend that, .*--broker-state-dir"):
        AccountsFile(tmp_path / "file" / "broker").add(D1)
    with pytest.raises(AccountError, match=r"cannot read .*--broker-state-dir"):
        AccountsFile(tmp_path / "file").read()


# -- the command --------------------------------------------------------------------------------------------------


def run(folder: Path, *words: str) -> int:
    """``hermes device`` with this folder."""
    return main(["device", "--broker-state-dir", str(folder), *words])


def test_add_prints_user_password_and_a_line_to_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From what the running Hermes left in the folder."""
    (tmp_path / "broker.json").write_text(json.dumps({"listen": "0.0.0.0:8883", "tls": True, "topics": ["hermes"]}))
    assert run(tmp_path, "add", "acme/kitchen lamp") == 0
    printed = capsys.readouterr()
    match = re.search(r"^password  (\w{24})$", printed.out, re.MULTILINE)
    assert match is not None
    assert "user      acme/kitchen%20lamp\n" in printed.out
    assert "topic     tenants/acme/devices/kitchen lamp/#\n" in printed.out
    assert (
        f"  mosquitto_pub -h GATEWAY -p 8883 --cafile ca.pem -u acme/kitchen%20lamp -P {match[1]} "
        "-t 'tenants/acme/devices/kitchen lamp/test' -m '{\"value\":21.5}'\n"
    ) in printed.out
    assert printed.err == ""


def test_add_says_where_no_hermes_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The account is made all the same: it may come."""
    assert run(tmp_path / "new", "add", "acme/d1") == 0
    printed = capsys.readouterr()
    assert f"no Hermes has let devices in from {tmp_path / 'new'} so far" in printed.err
    assert "mosquitto_pub -h GATEWAY -p 1883 -u acme/d1" in printed.out


@pytest.mark.parametrize("note", ["no JSON", "[]", '{"topics": 1}', '{"topics": ["{"]}', "{}"])
def test_a_note_that_cannot_be_read_is_no_obstacle(tmp_path: Path, note: str) -> None:
    """It is there for comfort only."""
    (tmp_path / "broker.json").write_text(note)
    assert run(tmp_path, "add", "acme/d1") == 0
    assert list(AccountsFile(tmp_path).read()) == [D1]


def test_add_refuses_a_device_that_the_templates_cannot_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written."""
    (tmp_path / "broker.json").write_text(json.dumps({"listen": "0.0.0.0:8883", "topics": ["hermes"]}))
    assert run(tmp_path, "add", "acme/a/b") == 1
    assert "no template has a topic for acme/a/b" in capsys.readouterr().err
    assert AccountsFile(tmp_path).read() == {}


def test_list_and_remove(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sorted, with the user name where it is not the same."""
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


def test_the_folder_is_the_services_own_under_systemd(tmp_path: Path) -> None:
    """Else below the user's."""
    with hermes("device", "add", "acme/d1", STATE_DIRECTORY=f"{tmp_path / 's'}:/x", XDG_STATE_HOME="/") as program:
        program.wait_for("password")
    assert (tmp_path / "s" / "broker" / FILE_NAME).is_file()
    with hermes("device", "add", "acme/d1", STATE_DIRECTORY="", XDG_STATE_HOME=str(tmp_path / "x")) as program:
        program.wait_for("password")
    assert (tmp_path / "x" / "hermes" / "broker" / FILE_NAME).is_file()


def test_the_folder_may_come_from_the_configuration_file(tmp_path: Path) -> None:
    """The same that Hermes is started with; its other keys do not matter here."""
    config = tmp_path / "hermes.toml"
    config.write_text(f'port = 1\nbroker_state_dir = "{tmp_path / "b"}"\n')
    assert main(["device", "--config", str(config), "add", "acme/d1"]) == 0
    assert (tmp_path / "b" / FILE_NAME).is_file()


def test_a_relative_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hermes and the command may be started in different places."""
    assert main(["device", "--broker-state-dir", "broker", "list"]) == 2
    assert "is not an absolute path; write /" in capsys.readouterr().err
