"""Where an inbox may be, and the type of a file system."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from hermes.errors import HermesError
from hermes.inbox.inbox import StoreLimits
from hermes.inbox.sqlite import file as sqlite_file
from hermes.inbox.sqlite.file import file_system_of, open_inbox, prepare_folder
from hermes.inbox.sqlite.schema import STEPS, VERSION
from hermes.inbox.sqlite.store import Store
from tests.support.inboxes import submission


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


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """After a copy of it; its rows and its limits are as before."""
    path = tmp_path / "inbox.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.executescript(f"BEGIN; {STEPS[0]} PRAGMA user_version = 1; COMMIT;")
        store = Store(old, limits=StoreLimits(), now_ms=lambda: 1)
        for number in range(3):
            store.append(submission(f"n{number}", user="ana", bound=None if number else "acme", at_ms=1))
    path.chmod(0o600)
    with contextlib.closing(open_inbox(path)) as opened:
        assert opened.execute("PRAGMA user_version").fetchone() == (VERSION,)
        store = Store(opened, limits=StoreLimits(max_bytes=1_500), now_ms=lambda: 1)
        assert [row.id for row in store.receipts("n2")] == ["n2"]
        store.append(submission("n3", user="ben", at_ms=1))
        assert store.stats().rows == 2  # those of the larger share have ended
        names = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    fresh = tmp_path / "fresh.db"
    with contextlib.closing(open_inbox(fresh)) as made:
        assert {name for (name,) in made.execute("SELECT name FROM sqlite_master WHERE type = 'index'")} == names
    with contextlib.closing(sqlite3.connect(path.with_name(f"inbox.db.before-{VERSION}"))) as before:
        assert before.execute("SELECT count(*) FROM log").fetchone() == (3,)
