"""The files of a frozen Hermes."""

import stat
import sys
from pathlib import Path

import pytest

from hermes.appliance import bundle
from hermes.broker import mosquitto


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let Hermes be frozen, with this folder as its bundle."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    return tmp_path


def add_broker(folder: Path) -> Path:
    """Add a broker that reports a version."""
    path = folder / bundle.BROKER
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho mosquitto version 9.8.7\n")
    path.chmod(0o700)
    return path


def test_a_checkout_has_no_bundle() -> None:
    """Neither folder, broker nor files."""
    assert bundle.bundle_dir() is None
    assert bundle.bundled_broker() is None
    assert bundle.bundled_json("build.json") is None


def test_the_bundled_broker_is_preferred(frozen: Path) -> None:
    """To the installed one."""
    path = add_broker(frozen)
    assert mosquitto.find_mosquitto() == mosquitto.Mosquitto(str(path), "9.8.7")


def test_without_a_bundled_broker_the_installed_one_is_used(frozen: Path, tmp_path: Path) -> None:
    """As in a checkout."""
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho mosquitto version 1.2.3\n")
    other.chmod(0o755)
    assert mosquitto.find_mosquitto(str(other)).version == "1.2.3"


@pytest.mark.parametrize(("user", "mode"), [(0, 0o755), (1_000, 0o700)])
def test_root_shares_the_broker_with_its_user(
    user: int, mode: int, frozen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker of root runs as another user, and the bundle is unpacked for its owner alone."""
    path = add_broker(frozen)
    library, other = frozen / "libx.so.1", frozen / "build.json"
    for file in (library, other):
        file.touch(mode=0o600)
    frozen.chmod(0o700)
    monkeypatch.setattr("os.geteuid", lambda: user)
    bundle.share_broker(path)
    assert stat.S_IMODE(frozen.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(library.stat().st_mode) == (0o755 if user == 0 else 0o600)
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
