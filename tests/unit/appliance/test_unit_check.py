"""Environment, flags and user of a systemd unit."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from hermes.appliance import unit_check
from hermes.appliance.unit_check import Unit, find_unit, read_unit, unknown_account, unreadable
from hermes.errors import HermesError
from tests.support.paths import CHECKOUT


def written(folder: Path, text: str, name: str = "hermes.service") -> Path:
    """Return the path of a unit with this text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_the_units_own_environment_is_read() -> None:
    """Of the unit that is shipped."""
    unit = read_unit(CHECKOUT / "hermes.service")
    assert unit.environment["HERMES_CONFIG"] == "/etc/hermes/hermes.toml"
    assert unit.user == "hermes"
    assert unit.flags == []


def test_everything_that_serve_would_get_is_read(tmp_path: Path) -> None:
    """Files, credentials, specifiers, quotes, comments, continued lines, resets."""
    variables = ("HERMES_PORT=9090", "HERMES_TOPICS='a,b'", "", "other text", "FLAGS=--dev --qos 1", "MOTTO=it's")
    (tmp_path / "environment").write_text("# comment\n" + "\n".join(variables) + "\n")
    unit = read_unit(
        written(
            tmp_path,
            "[Unit]\nEnvironment=HERMES_HOST=wrong\n"
            "[Service]\nEnvironment=A=1\nEnvironment=\n"
            'Environment=HERMES_HOST=10.0.0.1 "HERMES_MQTT_USERNAME=two words" \\\n'
            "  HERMES_BROKER_STATE_DIR=%S/hermes/100%%\n"
            "# Environment=HERMES_HOST=comment\n"
            f"EnvironmentFile=-{tmp_path}/environment\nEnvironmentFile=-/missing\n"
            "LoadCredential=old:/etc/old\nLoadCredential=\n"
            "LoadCredential=key:/etc/hermes/key\nLoadCredential=key-file:/etc/hermes/other\n"
            "Environment=HERMES_API_KEY_FILE=%d/key HERMES_PORT=1\nStateDirectory=hermes\n"
            "ExecStart=\nExecStart=-/usr/bin/env hermes serve --port ${HERMES_PORT} --mqtt-key-file %d/key-file"
            " --mqtt-ca-file ${CREDENTIALS_DIRECTORY}/key $FLAGS\n"
            "User=\nUser=site\nGroup=ssl-cert\nSupplementaryGroups=a b\n",
        )
    )
    assert unit.environment == {
        "HERMES_HOST": "10.0.0.1",
        "HERMES_MQTT_USERNAME": "two words",
        "HERMES_BROKER_STATE_DIR": "/var/lib/hermes/100%",
        "HERMES_PORT": "9090",
        "HERMES_TOPICS": "a,b",
        "HERMES_API_KEY_FILE": "/etc/hermes/key",
        "STATE_DIRECTORY": "/var/lib/hermes",
        "FLAGS": "--dev --qos 1",
        "MOTTO": "it's",
    }
    flags = "--port 9090 --mqtt-key-file /etc/hermes/other --mqtt-ca-file /etc/hermes/key --dev --qos 1"
    assert unit.flags == flags.split()
    assert (unit.user, unit.group, unit.groups) == ("site", "ssl-cert", ["a", "b"])
    environment = {"HERMES_PORT": "1", "HERMES_ORIGINS": "x", "PATH": "/bin"}
    unit.apply(environment)
    assert environment == unit.environment | {"PATH": "/bin"}


def test_drop_ins_come_after_the_unit_in_the_order_of_their_names(tmp_path: Path) -> None:
    """As ``systemctl edit`` writes them."""
    path = written(tmp_path, "[Service]\nEnvironment=A=unit B=unit C=unit\n")
    written(tmp_path / "hermes.service.d", "[Service]\nEnvironment=A=two B=two\n", "20-two.conf")
    written(tmp_path / "hermes.service.d", "[Service]\nEnvironment=B=one A=one\n", "10-one.conf")
    written(tmp_path / "hermes.service.d", "[Service]\nEnvironment=C=none\n", "30-three.txt")
    assert read_unit(path).environment == {"A": "two", "B": "two", "C": "unit"}


@pytest.mark.parametrize("text", ["[Service]\nEnvironment='open", "[Service]\nEnvironmentFile=/missing\n", "\ud800"])
def test_a_unit_that_cannot_be_read_is_explained(tmp_path: Path, text: str) -> None:
    """With its path."""
    path = tmp_path / "hermes.service"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(HermesError, match=r"cannot read the unit .*hermes\.service"):
        read_unit(path)


def test_a_unit_is_found_by_path_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In systemd's folders, in their order."""
    path = written(tmp_path / "etc", "")
    monkeypatch.setattr(unit_check, "FOLDERS", (str(tmp_path / "none"), str(tmp_path / "etc")))
    monkeypatch.chdir(tmp_path)
    assert find_unit(str(path)) == path
    assert find_unit("hermes.service") == path
    for name in ("other.service", "./hermes.service"):
        with pytest.raises(HermesError, match="there is no unit"):
            find_unit(name)


def of(user: str, *groups: str, group: str | None = None) -> Unit:
    """Return a unit with this user and these groups."""
    return Unit(Path("/etc/systemd/system/hermes.service"), user=user, group=group, groups=list(groups))


def test_a_user_or_group_that_does_not_exist_is_named() -> None:
    """systemd would not start the unit."""
    assert unknown_account(of("root")) is None
    assert unknown_account(of("12345", "12345")) is None, "numbers need no account"
    assert (
        unknown_account(of("no-such-user"))
        == "the user no-such-user of /etc/systemd/system/hermes.service does not exist"
    )
    for unit in (of("root", "no-such-group"), of("root", group="no-such-group")):
        assert "the group no-such-group" in str(unknown_account(unit))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_the_user_cannot_read_is_found(tmp_path: Path) -> None:
    """By owner, group, others, and the folders above."""
    nobody = pwd.getpwnam("nobody")
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o755)
    for above in (tmp_path, *list(tmp_path.parents)[:3]):
        if str(above).startswith("/tmp/"):
            above.chmod(0o755)
    path = folder / "file"
    path.touch()
    for owner, group, mode, hidden in (
        (0, 0, 0o640, True),
        (0, nobody.pw_gid, 0o640, False),
        (nobody.pw_uid, 0, 0o600, False),
        (nobody.pw_uid, 0, 0o044, True),
        (0, 0, 0o644, False),
    ):
        os.chown(path, owner, group)
        path.chmod(mode)
        assert (unreadable(path, of("nobody")) is not None) is hidden, oct(mode)
    folder.chmod(0o700)
    assert unreadable(path, of("nobody")) == folder, "it is the folder that must be changed"
    assert not unreadable(path, of("no-such-user"))
    folder.chmod(0o755)
    os.chown(path, 0, grp.getgrnam("adm").gr_gid)
    path.chmod(0o640)
    assert unreadable(path, of("nobody"))
    assert not unreadable(path, of("nobody", "adm"))
    assert not unreadable(path, of("nobody", group="adm"))
    assert not unreadable(path, of("root"))
