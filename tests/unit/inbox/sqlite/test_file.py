"""Where an inbox may be, and the type of a file system."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from hermes.errors import HermesError, InboxUnusable
from hermes.ids import UserId
from hermes.inbox.inbox import IDS_KEPT_MS, Duplicate, Stored, StoreLimits
from hermes.inbox.sqlite import file as sqlite_file
from hermes.inbox.sqlite import schema
from hermes.inbox.sqlite.file import file_system_of, open_inbox, prepare_folder
from hermes.inbox.sqlite.schema import FIRST_VERSION, STEPS, VERSION
from hermes.inbox.sqlite.store import Store
from tests.support.inboxes import FakeClock, open_store, submission


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


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a copy of it; its rows are as before."""
    path = tmp_path / "inbox.db"
    with open_store(path, FakeClock()) as store:
        store.append(submission("a", user="ana", at_ms=FakeClock()()))
    for module in (schema, sqlite_file):
        monkeypatch.setattr(module, "VERSION", VERSION + 1)
    monkeypatch.setattr(schema, "STEPS", {**STEPS, VERSION: "CREATE TABLE more (name TEXT);"})
    with contextlib.closing(open_inbox(path)) as opened:
        assert opened.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
        assert opened.execute("SELECT count(*) FROM log, (SELECT count(*) FROM more)").fetchone() == (1,)
    with contextlib.closing(sqlite3.connect(path.with_name(f"inbox.db.before-{VERSION + 1}"))) as before:
        assert before.execute("SELECT count(*) FROM log").fetchone() == (1,)
        assert before.execute("PRAGMA user_version").fetchone() == (VERSION,)


@pytest.mark.parametrize("version", range(1, FIRST_VERSION))
def test_a_file_of_a_development_version_is_refused(tmp_path: Path, version: int) -> None:
    """It is left as it is, and the error says what to do."""
    path = tmp_path / "inbox.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(f"CREATE TABLE log (seq INTEGER PRIMARY KEY); PRAGMA user_version = {version};")
    before = path.read_bytes()
    with pytest.raises(InboxUnusable, match=rf"development version .*version {version}\): move it away"):
        open_inbox(path)
    with contextlib.closing(sqlite3.connect(path)) as left:
        assert left.execute("SELECT count(*) FROM log").fetchone() == (0,)
        assert left.execute("PRAGMA user_version").fetchone() == (version,)
    assert len(path.read_bytes()) == len(before)


@pytest.mark.parametrize(
    "change", ["DELETE FROM totals", "UPDATE totals SET last_seq = 'x'", "UPDATE totals SET last_seq = 0"]
)
def test_an_inbox_with_wrong_counts_is_moved_aside(tmp_path: Path, change: str) -> None:
    """As one with damaged pages: a number must never be given twice."""
    path = tmp_path / "inbox.db"
    clock = FakeClock()
    with open_store(path, clock) as store:
        store.append(submission("a", user="ana", at_ms=clock()))
    with contextlib.closing(sqlite3.connect(path)) as damaged:
        damaged.execute(change)
        damaged.commit()
    with open_store(path, clock) as store:
        assert isinstance(store.append(submission("b", user="ana", at_ms=clock())), Stored)
    assert path.with_name("inbox.db.damaged-1").exists()


class TickingClock(FakeClock):
    """A clock that each look moves by a millisecond."""

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


def test_the_numbers_of_a_batch_rise_while_an_id_becomes_free(tmp_path: Path) -> None:
    """The same time holds for all rows of a batch."""
    clock = TickingClock()
    first = submission("a", user="ana", at_ms=clock())
    with open_store(tmp_path / "inbox.db", clock) as store:
        store.append(first)
        clock.now_ms = first.message.timestamp_ms + IDS_KEPT_MS - 2
        [(again, _), (new, _)] = store.append_all([first, submission("b", user="ana", at_ms=clock.now_ms)])
    assert isinstance(again, Duplicate)
    assert isinstance(new, Stored)


def test_a_limit_holds_after_a_lost_transaction(tmp_path: Path) -> None:
    """What the transaction had removed is there again, and counts."""
    clock = FakeClock()
    path, limits = tmp_path / "inbox.db", StoreLimits(rows_per_owner=10)
    with open_store(path, clock, limits) as store:
        for number in range(10):
            store.append(submission(f"before-{number}", user="ana", at_ms=clock()))
    with contextlib.closing(open_inbox(path)) as connection:
        store = Store(connection, limits=limits, now_ms=clock)
        connection.execute("BEGIN IMMEDIATE")
        store.purge(UserId("ana"))
        store.append(submission("lost", user="ana", at_ms=clock()))
        connection.execute("ROLLBACK")
        store.rolled_back()
        for number in range(9):
            store.append(submission(f"after-{number}", user="ana", at_ms=clock()))
        assert store.stats().rows == 10
