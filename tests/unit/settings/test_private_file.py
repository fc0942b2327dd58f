"""Private files: complete or absent, mode 0600, and never written through a link."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes.settings import private_file


@pytest.mark.parametrize("function", [private_file.write, private_file.create])
def test_a_file_is_private_and_nothing_else_is_left(tmp_path: Path, function: Callable[[Path, str], None]) -> None:
    """Whatever the umask is."""
    old = os.umask(0)
    try:
        function(tmp_path / "key", "secret\n")
    finally:
        os.umask(old)
    assert (tmp_path / "key").read_text() == "secret\n"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_write_replaces_and_create_does_not(tmp_path: Path) -> None:
    """The file that was there first stays, or goes as a whole."""
    path = tmp_path / "key"
    private_file.create(path, "one")
    private_file.create(path, "two")
    assert path.read_text() == "one"
    private_file.write(path, "three")
    assert path.read_text() == "three"
    assert os.listdir(tmp_path) == ["key"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk."""
    private_file.write(tmp_path / "key", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for function in (private_file.write, private_file.create):
        with pytest.raises(OSError, match="No space left"):
            function(tmp_path / "key", "new")
    assert (tmp_path / "key").read_text() == "old"
    assert os.listdir(tmp_path) == ["key"]


def test_a_link_is_replaced_and_its_target_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a link with the name of the file nor one with the name of the draft."""
    victim = tmp_path / "victim"
    victim.write_text("whole")
    (tmp_path / "key").symlink_to(victim)
    private_file.write(tmp_path / "key", "secret")
    assert (victim.read_text(), (tmp_path / "key").is_symlink()) == ("whole", False)
    monkeypatch.setattr("hermes.settings.private_file.secrets.token_hex", lambda _: "0123abcd")
    (tmp_path / f".key.{os.getpid()}.0123abcd").symlink_to(victim)
    with pytest.raises(FileExistsError):
        private_file.write(tmp_path / "key", "secret")
    assert victim.read_text() == "whole"


def test_the_folder_may_be_a_link(tmp_path: Path) -> None:
    """As systemd makes it for a service with DynamicUser."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    private_file.write(tmp_path / "link" / "key", "secret")
    assert (tmp_path / "real" / "key").read_text() == "secret"


def test_of_two_that_create_a_file_at_once_one_wins(tmp_path: Path) -> None:
    """Both read the same text afterwards."""
    read: list[str] = []
    barrier = threading.Barrier(4)

    def create(text: str) -> None:
        barrier.wait()
        private_file.create(tmp_path / "key", text)
        read.append((tmp_path / "key").read_text())

    threads = [threading.Thread(target=create, args=(text * 10_000,)) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(read) == 4
    assert len(set(read)) == 1
    assert os.listdir(tmp_path) == ["key"]


def test_only_drafts_of_the_file_are_removed(tmp_path: Path) -> None:
    """Killed processes leave them; a draft contains secrets."""
    for name in (".key.123.0123abcd", ".key.mine", ".other.123.0123abcd", "key"):
        (tmp_path / name).touch()
    private_file.remove_drafts(tmp_path / "key")
    assert sorted(os.listdir(tmp_path)) == [".key.mine", ".other.123.0123abcd", "key"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes files of another user")
def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    """A service with a user of its own must be able to read it."""
    os.chown(tmp_path, 12_345, 12_346)
    private_file.write(tmp_path / "key", "secret")
    found = (tmp_path / "key").stat()
    assert (found.st_uid, found.st_gid) == (12_345, 12_346)
