"""``hermes init``: creates everything or nothing, and overwrites nothing."""

import io
import os
import stat
import tomllib
from pathlib import Path

import pytest

from hermes.cli import init
from hermes.cli.main import main
from hermes.settings import private_file
from hermes.settings.fields import address_url
from hermes.settings.load import load
from hermes.settings.model import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that does not exist yet, for the group of this user."""
    monkeypatch.setattr("sys.stdin", io.StringIO())  # not a terminal
    return tmp_path / "etc"


def run(folder: Path, *flags: str) -> int:
    """Run the command with the group root."""
    return main(["init", "--folder", str(folder), "--group", "root", *flags])


def test_secrets_and_settings_are_created(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``hermes serve`` accepts them; the last line is the address to open."""
    assert run(folder, "--host", "127.0.0.1", "--port", "9090") == 0
    settings = load(Settings, {"config": str(folder / "hermes.toml")})
    assert (settings.host, settings.port) == ("127.0.0.1", 9090)
    assert settings.secret is not None
    assert len(settings.secret) == 64
    assert len(settings.api_keys) == 1
    for name in ("jwt-secret", "api-keys"):
        mode = stat.S_IMODE((folder / name).stat().st_mode)
        assert mode == (0o640 if os.geteuid() == 0 else 0o600)
    output = capsys.readouterr().out
    assert output.splitlines()[-1].endswith("http://127.0.0.1:9090/")
    assert settings.secret not in output
    assert settings.api_keys[0].text not in output
    assert {path.name for path in folder.iterdir()} == {"jwt-secret", "api-keys", "hermes.toml"}


def test_commented_settings_are_activated_in_their_places(folder: Path) -> None:
    """The rest of the file stays as it is."""
    folder.mkdir()
    before = '# Address to listen on\n#host = "127.0.0.1"\n\n# port = 8080\n# another line\nmqtt_url = "off"'
    (folder / "hermes.toml").write_text(before)
    assert run(folder, "--host", "::1", "--port", "9090") == 0
    text = (folder / "hermes.toml").read_text()
    assert text.startswith('# Address to listen on\nhost = "::1"\n\nport = 9090\n# another line\nmqtt_url = "off"\n')
    assert set(tomllib.loads(text)) == {"host", "port", "mqtt_url", "jwt_secret_file", "api_key_file"}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("jwt-secret", "x", "jwt-secret exists"),
        ("api-keys", "x", "api-keys exists"),
        ("hermes.toml", 'host = "10.0.0.1"\n', "sets host"),
        ("hermes.toml", 'jwt_secret_file = "/x"\n', "sets jwt_secret_file"),
        ("hermes.toml", "host = \n", "not valid TOML"),
        ("hermes.toml", "surprise = 1\n", "surprise"),
    ],
)
def test_nothing_is_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, problem: str
) -> None:
    """It says what exists, and changes nothing."""
    folder.mkdir()
    (folder / name).write_text(content)
    assert run(folder, "--host", "127.0.0.1") in (1, 2)
    assert problem in capsys.readouterr().err
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: content}


@pytest.mark.parametrize("host", ['a"\nmqtt_url = "x', 'a\\"b', "ä", "a'b"])
def test_any_text_stays_one_value(folder: Path, host: str) -> None:
    """It cannot add a setting."""
    assert set(tomllib.loads(init.with_value("", "host", host))) == {"host"}
    assert tomllib.loads(init.with_value("#host = 1\n", "host", host)) == {"host": host}


def test_an_existing_file_keeps_its_mode(folder: Path) -> None:
    """It may have a password."""
    folder.mkdir()
    (folder / "hermes.toml").write_text('mqtt_url = "off"\n')
    (folder / "hermes.toml").chmod(0o640)
    assert run(folder, "--host", "127.0.0.1") == 0
    assert stat.S_IMODE((folder / "hermes.toml").stat().st_mode) == 0o640


def test_a_new_folder_can_be_entered_whatever_the_umask(folder: Path) -> None:
    """The user of the service reads the files in it."""
    before = os.umask(0o077)
    try:
        assert run(folder, "--host", "127.0.0.1") == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "hermes.toml").stat().st_mode) == 0o644


def test_a_second_call_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens and keys in use stay valid."""
    assert run(folder, "--host", "127.0.0.1") == 0
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert run(folder, "--host", "127.0.0.1") == 1
    assert "exists" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_settings_that_exist_are_kept(folder: Path) -> None:
    """An address in the file need not be given again."""
    folder.mkdir()
    (folder / "hermes.toml").write_text('host = "127.0.0.1"\nport = 9191\n')
    assert run(folder) == 0
    settings = load(Settings, {"config": str(folder / "hermes.toml")})
    assert (settings.host, settings.port) == ("127.0.0.1", 9191)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", " ", "\u0663"])
def test_a_wrong_port_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], port: str) -> None:
    """Before anything is written."""
    assert run(folder, "--host", "127.0.0.1", f"--port={port}") == 2
    assert "--port" in capsys.readouterr().err
    assert not folder.exists()


def test_without_a_terminal_the_address_must_be_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no one to ask."""
    assert run(folder) == 2
    assert "--host is missing" in capsys.readouterr().err
    assert not folder.exists()


def test_in_a_terminal_it_asks(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty answer takes the default."""

    class Terminal:
        def isatty(self) -> bool:
            return True

    answers = iter(["127.0.0.1", ""])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert run(folder) == 0
    settings = load(Settings, {"config": str(folder / "hermes.toml")})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)


def test_a_full_disk_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a secret nor half a file."""
    folder.mkdir()
    (folder / "hermes.toml").write_text("# mine\n")
    original = private_file.write

    def write(path: Path, text: str) -> None:
        if "host" in text:
            raise OSError(28, "No space left on device", str(path))
        original(path, text)

    monkeypatch.setattr(private_file, "write", write)
    assert run(folder, "--host", "127.0.0.1") == 1
    assert "No space left on device; nothing is changed" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"hermes.toml": "# mine\n"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses the group")
def test_an_unknown_group_is_explained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The user of the service must exist first."""
    assert main(["init", "--folder", str(folder), "--group", "no-such-group", "--host", "127.0.0.1"]) == 1
    assert "useradd" in capsys.readouterr().err
    assert not folder.exists()


def test_the_address_of_all_addresses_is_one_that_others_can_open() -> None:
    """Not 0.0.0.0."""
    assert init.own_address() not in ("0.0.0.0", "")
    assert address_url("::1", 8080) == "http://[::1]:8080"
    assert address_url("gateway.example", 8080) == "http://gateway.example:8080"
