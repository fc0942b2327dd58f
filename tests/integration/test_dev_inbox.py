"""The inbox of ``hermes serve --dev``: there without a flag, and never a reason not to start."""

import json
import os
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from hermes.errors import HermesError
from tests.support.consoles import api_key
from tests.support.gateways import KEY, TIMEOUT_S, MakeHermes, token
from tests.support.programs import Program, hermes

DEV = ("serve", "--dev", "--port", "0", "--mqtt-url", "off")
NOTE = {"user_id": "123", "id": "n1", "title": "New alert", "message": ""}


def started(program: Program) -> Program:
    """Wait until it has printed everything."""
    program.wait_for("Ctrl-C stops it")
    return program


def request(program: Program, path: str, body: object = None, **headers: str) -> dict[str, Any]:
    """Return the JSON of an answer to a request with the key."""
    headers |= {"X-API-Key": api_key(program), "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(program.url + path, data, headers), timeout=TIMEOUT_S
    ) as response:
        value = json.load(response)
    assert isinstance(value, dict)
    return value


def rows(program: Program) -> int:
    """Return how much is stored."""
    return int(request(program, "/inbox/stats")["rows"])


def test_what_was_sent_is_still_there_after_a_restart(tmp_path: Path) -> None:
    """In files that only its user can read."""
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as first:
        assert request(started(first), "/notify", NOTE)["stored"] is True
        first.wait_for(str(tmp_path / "hermes/inbox.db"))
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "hermes").iterdir()} == {0o600}
    with hermes(*DEV, XDG_STATE_HOME=str(tmp_path)) as second:
        assert rows(started(second)) == 1
        assert request(second, "/notify", NOTE)["duplicate"] is True


@pytest.mark.slow
def test_two_at_once_have_an_inbox_each(tmp_path: Path) -> None:
    """The second one names the first, and removes its own at the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    state = {"XDG_STATE_HOME": str(tmp_path), "TMPDIR": str(folder)}
    with hermes(*DEV, **state) as first:
        started(first)
        with hermes(*DEV, **state) as second:
            started(second)
            second.wait_for(f"its inbox is temporary: .* in use by process {first.process.pid}")
            assert request(second, "/notify", NOTE)["stored"] is True
            assert (rows(second), rows(first)) == (1, 0)
            assert len([*folder.glob("hermes-inbox-*/inbox.db")]) == 1
        assert [*folder.iterdir()] == []
        assert request(first, "/notify", NOTE)["stored"] is True


@pytest.mark.gen_test
@pytest.mark.parametrize("dev", [False, True])
async def test_an_inbox_that_a_setting_names_must_be_usable(
    make_hermes: MakeHermes, tmp_path: Path, *, dev: bool
) -> None:
    """It is what the user wants, also with ``--dev``; the error names the process that has it, or the file."""
    settings = {"dev": dev, "mqtt_url": "off", "state_dir": tmp_path, "inbox": str(tmp_path / "inbox.db")}
    await make_hermes(**settings)
    with pytest.raises(HermesError, match=rf"inbox\.db is in use by process {os.getpid()}"):
        await make_hermes(**settings)
    (tmp_path / "other.db.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HermesError, match=r"cannot open .*other\.db\.lock"):
        await make_hermes(**settings | {"inbox": str(tmp_path / "other.db")})


@pytest.mark.gen_test
async def test_each_state_folder_has_its_own(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Two of them can run at once."""
    for name in ("a", "b"):
        hermes = await make_hermes(dev=True, mqtt_url="off", state_dir=tmp_path / name)
        assert hermes.gateway.inbox is not None
        assert hermes.gateway.inbox.store.place == str(tmp_path / name / "inbox.db")


@pytest.mark.gen_test
async def test_off_is_a_hermes_without_an_inbox(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Nothing is written."""
    hermes = await make_hermes(dev=True, mqtt_url="off", state_dir=tmp_path, inbox="off")
    response = await hermes.request("/inbox", headers={"Authorization": f"Bearer {token()}"})
    assert response.code == 404
    assert not (tmp_path / "inbox.db").exists()


@pytest.mark.gen_test
async def test_a_folder_that_cannot_be_written_is_no_reason_not_to_start(
    make_hermes: MakeHermes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The lock cannot be created; the log says so."""
    (tmp_path / "inbox.db.lock").symlink_to(tmp_path / "elsewhere")  # as EROFS, which root cannot cause here
    hermes = await make_hermes(dev=True, mqtt_url="off", state_dir=tmp_path)
    assert "its inbox is temporary: cannot open" in caplog.text
    answer = await hermes.notify(NOTE)
    assert answer["stored"] is True
    await hermes.gateway.stop()
    assert hermes.gateway.inbox is not None
    assert not Path(hermes.gateway.inbox.store.place).parent.exists()


@pytest.mark.gen_test
async def test_without_any_folder_it_starts_without_an_inbox(
    make_hermes: MakeHermes, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the usual file nor a temporary one can be created."""
    (tmp_path / "inbox.db.lock").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    hermes = await make_hermes(dev=True, mqtt_url="off", state_dir=tmp_path)
    assert "continuing without an inbox" in caplog.text
    response = await hermes.request("/inbox/stats", headers={"X-API-Key": KEY})
    assert response.code == 404
    assert "stored" not in await hermes.notify(NOTE)
