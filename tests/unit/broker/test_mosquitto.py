"""The mosquitto program and its configuration."""

import os
from pathlib import Path

import pytest

from hermes.broker import mosquitto as programs
from hermes.broker.mosquitto import UNREADABLE, configuration, find_mosquitto
from hermes.errors import BrokerUnavailable
from tests.support.programs import needs


def program(directory: Path, text: str) -> str:
    """An executable script."""
    path = directory / "mosquitto"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_only_a_line_of_mosquitto_itself_ends_the_broker() -> None:
    """The broker quotes clients in its log."""
    assert UNREADABLE.match('Error: Invalid line in acl_file "/proc/self/fd/9": nonsense.')
    assert not UNREADABLE.match('Invalid protocol "Error: acl_file" in CONNECT from 10.0.0.1.')


def test_a_missing_mosquitto_is_reported_with_the_command_to_run(tmp_path: Path) -> None:
    """The command is all that is needed."""
    with pytest.raises(BrokerUnavailable, match=r"not installed; run: apt-get install mosquitto$"):
        find_mosquitto("no-such-mosquitto")


def test_version_2_0_19_is_refused(tmp_path: Path) -> None:
    """With the reason, and what to do."""
    path = program(tmp_path, 'echo "mosquitto version 2.0.19"; exit 3')
    with pytest.raises(
        BrokerUnavailable, match=r"mosquitto 2\.0\.19 .* there are no subscribers; install another version"
    ):
        find_mosquitto(path)


@pytest.mark.parametrize("text", ["echo something else", "exit 1"])
def test_a_program_that_is_not_mosquitto_is_refused(tmp_path: Path, text: str) -> None:
    """It must report its version."""
    with pytest.raises(BrokerUnavailable, match="does not report its version"):
        find_mosquitto(program(tmp_path, text))


def test_a_program_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    """For instance one built for another machine."""
    path = tmp_path / "mosquitto"
    path.write_bytes(b"\x7fELF not really")
    path.chmod(0o755)
    with pytest.raises(BrokerUnavailable, match="cannot be run"):
        find_mosquitto(str(path))


def test_the_installed_mosquitto_is_found() -> None:
    """Also if it is not in the PATH of a plain user."""
    needs("mosquitto")
    found = find_mosquitto()
    assert found.version.startswith(("1.", "2."))
    assert Path(found.path).is_file()


def test_the_child_changes_its_user_only_under_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then one of the users must exist."""
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    assert programs.child_user() is None
    assert "user" not in configuration(port=1, user=None).split()
    assert "user nobody\n" in configuration(port=1, user="nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(programs, "USERS", ("no-such-user", "nobody"))
    user = programs.child_user()
    assert user is not None
    assert user.pw_name == "nobody"
    monkeypatch.setattr(programs, "USERS", ("no-such-user",))
    with pytest.raises(BrokerUnavailable, match="none of the users no-such-user exists"):
        programs.child_user()
