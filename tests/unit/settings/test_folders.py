"""Default folders for the files that Hermes writes."""

from pathlib import Path

import pytest

from hermes.settings.folders import broker_folder, state_folder


def test_the_state_folder_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$XDG_STATE_HOME, otherwise below the home folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "hermes"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ana")
    assert state_folder() == Path("/home/ana/.local/state/hermes")


def test_the_accounts_of_a_service_are_in_its_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first that systemd names."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/hermes:/var/lib/other")
    assert broker_folder() == Path("/var/lib/hermes/broker")
    monkeypatch.delenv("STATE_DIRECTORY")
    assert broker_folder() == tmp_path / "hermes" / "broker"
