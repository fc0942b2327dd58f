"""Where an inbox may be, and the type of a file system."""

from pathlib import Path

import pytest

from hermes.errors import HermesError
from hermes.inbox.sqlite import file as sqlite_file
from hermes.inbox.sqlite.file import file_system_of, prepare_folder


def test_the_type_of_a_file_system_is_that_of_the_nearest_mount() -> None:
    """``/proc`` is one everywhere."""
    assert file_system_of(Path("/proc/self")) == "proc"
    assert file_system_of(Path("/")) not in ("", "proc")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """SQLite's locks are not reliable there; the error says what is needed."""
    monkeypatch.setattr(sqlite_file, "file_system_of", lambda _folder: kind)
    with pytest.raises(HermesError, match="needs a local disk"):
        prepare_folder(tmp_path / "inbox.db")


def test_a_folder_that_cannot_be_created_is_an_error_in_words(tmp_path: Path) -> None:
    """It names the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HermesError, match=r"cannot create the folder .*file/state"):
        prepare_folder(tmp_path / "file" / "state" / "inbox.db")
