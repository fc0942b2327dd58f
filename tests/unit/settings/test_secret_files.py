"""Who may read and write the files that settings name; what Hermes opens is what counts."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from hermes.errors import ConfigError
from hermes.settings import private_file
from hermes.settings.flags import FILE, settings_of
from hermes.settings.load import load, load_settings
from hermes.settings.model import ClientSettings, Settings
from hermes.settings.mqtt import MqttOptions
from hermes.settings.rules import RULES, warnings
from tests.support.gateways import KEY, SECRET
from tests.support.paths import CHECKOUT
from tests.support.programs import needs

ROOT = os.geteuid() == 0
OTHER_GROUP = 54_321
ASK = """
import pathlib, sys
from hermes.settings import private_file
print(private_file.problem(pathlib.Path(sys.argv[1]), secret=True))
"""
READABLE = "can be read by every user of this machine: chmod o="
WRITABLE = "can be written by every user of this machine: chmod o-w"


def secret(folder: Path, mode: int, text: str = SECRET, name: str = "secret") -> Path:
    """Write a file with this mode."""
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def problems(**values: object) -> list[str]:
    """Return what is wrong with these settings."""
    try:
        load_settings(values)
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o400, None),
        (0o600, None),
        (0o640, None),
        (0o660, None),
        (0o644, READABLE),
        (0o604, READABLE),
        (0o666, WRITABLE),
        (0o602, WRITABLE),
    ],
)
def test_the_mode_decides(tmp_path: Path, mode: int, words: str | None) -> None:
    """A group may read; one of Hermes' own groups may also write."""
    path = secret(tmp_path, mode)
    found = problems(jwt_secret_file=path)
    if words is None:
        assert found == []
    else:
        (line,) = found
        assert line.startswith(f"{path} {words} {path}")
        assert "--insecure-secret-files" in line
        assert SECRET not in line


@pytest.mark.skipif(not ROOT, reason="only root gives files away")
def test_a_strange_group_may_read_but_not_write(tmp_path: Path) -> None:
    """Its members are not Hermes."""
    path = secret(tmp_path, 0o640)
    os.chown(path, 0, OTHER_GROUP)
    assert problems(jwt_secret_file=path) == []
    path.chmod(0o660)
    (line,) = problems(jwt_secret_file=path)
    assert line.startswith(f"{path} can be written by the group {OTHER_GROUP}, not one of Hermes: chmod g-w {path}")


def test_of_a_link_the_file_behind_it_counts(tmp_path: Path) -> None:
    """A link itself has no mode that means anything."""
    link = tmp_path / "link"
    link.symlink_to(secret(tmp_path, 0o600))
    assert problems(jwt_secret_file=link) == []
    (tmp_path / "secret").chmod(0o644)
    (line,) = problems(jwt_secret_file=link)
    assert line.startswith(f"{link} {READABLE}")


def test_folders_of_credentials_are_for_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's secrets have mode 0444. What a link in such a folder leads to is not in it."""
    inside, outside = tmp_path / "credentials", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    path = secret(inside, 0o444)
    assert READABLE in problems(jwt_secret_file=path)[0]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(inside))
    assert problems(jwt_secret_file=path) == []
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    (tmp_path / "run").symlink_to(inside)
    monkeypatch.setattr(private_file, "SECRETS_FOLDER", tmp_path / "run")
    assert problems(jwt_secret_file=path) == []
    path.chmod(0o446)
    assert WRITABLE in problems(jwt_secret_file=path)[0]
    (inside / "link").symlink_to(secret(outside, 0o444))
    assert READABLE in problems(jwt_secret_file=inside / "link")[0]


@pytest.mark.parametrize("name", [setting.name for setting in settings_of(Settings) if setting.flag.metavar == FILE])
def test_no_file_that_a_setting_names_may_be_written_by_everyone(tmp_path: Path, name: str) -> None:
    """Who can write a CA, a certificate or a public key can replace what it protects. Only secrets may not be read."""
    path = secret(tmp_path, 0o646)
    given: dict[str, Any] = {name: path}
    settings = Settings.model_construct(**given)
    (rule,) = [rule for rule in RULES if rule.reads == (name, "insecure_secret_files")]
    (line,) = rule.problems(settings)
    assert line.startswith(f"{path} {WRITABLE}")
    path.chmod(0o644)
    is_private = name in [setting.name for setting in settings_of(Settings) if setting.flag.private]
    found = [line.startswith(f"{path} {READABLE}") for line in rule.problems(settings)]
    assert found == ([True] if is_private else [])


def test_secrets_are_marked_as_such() -> None:
    """Each file with a secret that gives access."""
    marked = {
        setting.name for model in (Settings, ClientSettings) for setting in settings_of(model) if setting.flag.private
    }
    assert marked >= {
        "jwt_secret_file",
        "api_key_file",
        "mqtt_password_file",
        "mqtt_key_file",
        "broker_key_file",
        "tls_key",
        "token_file",
    }


def test_clients_check_their_files_too(tmp_path: Path) -> None:
    """The key of ``hermes notify`` is the same key."""
    path = secret(tmp_path, 0o644, KEY)
    with pytest.raises(ConfigError, match=READABLE):
        load(ClientSettings, {"api_key_file": path})
    assert load(ClientSettings, {"api_key_file": path, "insecure_secret_files": "true"}).api_key_file == path


def test_the_refusal_can_be_turned_into_a_warning(tmp_path: Path) -> None:
    """For file systems without modes."""
    path = secret(tmp_path, 0o666)
    settings = load_settings({"jwt_secret_file": path, "insecure_secret_files": "true"})
    (line,) = warnings(settings)
    assert line.startswith(f"{path} {WRITABLE}")


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("port = 1", 0o644, None),
        ("port = 1", 0o646, WRITABLE),
        (f'jwt_secret = "{SECRET}"', 0o644, READABLE),
        (f'jwt_secret = "{SECRET}"', 0o640, None),
        ('mqtt_url = "mqtt://ana:hush@h"', 0o644, READABLE),
        ('mqtt_url = "mqtt://ana@h"', 0o644, None),
    ],
)
def test_the_toml_file_is_secret_if_it_has_a_secret(tmp_path: Path, text: str, mode: int, words: str | None) -> None:
    """Otherwise every user may read it, and only its owner may write it."""
    path = secret(tmp_path, mode, text, "hermes.toml")
    secret(tmp_path, 0o600)
    given = {} if "jwt_secret" in text else {"jwt_secret_file": tmp_path / "secret"}
    found = problems(config=path, **given)
    assert [line.startswith(f"--config: {path} {words}") for line in found] == ([] if words is None else [True])
    assert problems(config=path, insecure_secret_files=True, **given) == []


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_another_user_sees_its_own_groups() -> None:
    """A service user of one group may write by that group, not by another one."""
    with tempfile.TemporaryDirectory() as name:  # other sessions of pytest close their common folder for others
        folder = Path(name)
        folder.chmod(0o755)
        path = secret(folder, 0o660)
        for group, expected in ((65_534, "None"), (OTHER_GROUP, "can be written by the group")):
            os.chown(path, 65_534, group)
            command = [needs("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
            command += [sys.executable, "-c", ASK, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
            assert expected in done.stdout, done.stderr


# -- reading ------------------------------------------------------------------------------------------------------


def test_what_is_read_is_what_was_checked(tmp_path: Path) -> None:
    """The mode is that of the open file."""
    path = secret(tmp_path, 0o644, "\ufeffhush\n")
    with pytest.raises(ValueError, match=READABLE):
        private_file.read_text(path, insecure=False)
    assert private_file.read_text(path, insecure=True) == "hush\n"
    path.chmod(0o600)
    assert private_file.read_text(path, insecure=False) == "hush\n"


def test_what_is_not_a_secret_is_not_read_forever(tmp_path: Path) -> None:
    """A pipe without a writer, an endless device, another encoding."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert private_file.read_text(tmp_path / "pipe", insecure=False) == ""
    with pytest.raises(ValueError, match="has more than"):
        private_file.read_text(Path("/dev/zero"), insecure=True)
    (tmp_path / "utf-16").write_bytes("hush".encode("utf-16"))
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        private_file.read_text(tmp_path / "utf-16", insecure=True)


def test_the_password_of_the_broker_is_read_for_each_connection(tmp_path: Path) -> None:
    """Half-written files say so."""
    path = secret(tmp_path, 0o600, "old\r\n")
    options = MqttOptions(username="ana", password_file=path)
    assert options.current_password() == "old"
    path.write_text("new")
    assert options.current_password() == "new"
    assert "new" not in repr(options)
    path.write_text("\n")
    with pytest.raises(ValueError, match="is empty; write the password into it"):
        options.current_password()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        options.current_password()


# -- versions -----------------------------------------------------------------------------------------------------


def test_a_file_of_a_newer_hermes_ends_the_command_with_2(tmp_path: Path) -> None:
    """In words that say what to do."""
    private_file.check_version(tmp_path / "file", 1, known=1)
    with pytest.raises(ConfigError, match=r"has version 2, and this Hermes knows 1: run the newer Hermes") as error:
        private_file.check_version(tmp_path / "file", 2, known=1)
    assert error.value.exit_code == 2
