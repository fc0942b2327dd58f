"""The stores: rows, readers, acknowledgements, withdrawals, ids, limits; each test with SQLite and with PostgreSQL."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from hermes.delivery.messages import NO_TENANT, Acknowledgement, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.frames import page_of
from hermes.inbox.inbox import (
    IDS_KEPT_MS,
    PAGE_BYTES,
    REPLAY_MAX_ROWS,
    Conflict,
    Duplicate,
    Entry,
    InboxUnavailable,
    Reader,
    Resumed,
    Row,
    Stored,
    StoreLimits,
)
from hermes.inbox.position import BEGINNING, Position
from hermes.inbox.sqlite.schema import ROW_OVERHEAD_BYTES
from hermes.inbox.sqlite.store import Store
from tests.support.inboxes import HOUR_MS, FakeClock, open_store, submission
from tests.support.postgres import Databases, PostgresStore, open_postgres_store

AnyStore = Store | PostgresStore
OpenStore = Callable[..., AbstractContextManager[AnyStore]]

ANA = Reader(UserId("ana"))
ANA_OF_ACME = Reader(UserId("ana"), TenantId("acme"), broadcasts=True)
BEN_OF_ACME = Reader(UserId("ben"), TenantId("acme"), broadcasts=True)
NASTY_IDS = ["a'b", 'a"b', "a;b", "a:b", "a\0b", "a/b", "a%b", "*", ">", "ä", "\u202e", " ", "a\nb", "NULL", "--", "🔔"]


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def open_again(inbox_databases: Databases | None, tmp_path: Path, clock: FakeClock) -> OpenStore:
    """Open one inbox, empty at first, again and again."""
    if inbox_databases is None:
        return partial(open_store, tmp_path / "inbox.db", clock)
    return partial(open_postgres_store, inbox_databases.empty(), clock)


@pytest.fixture
def store(open_again: OpenStore) -> Iterator[AnyStore]:
    """An empty store."""
    with open_again() as made:
        yield made


def send(store: AnyStore, clock: FakeClock, id: str, **values: object) -> int:
    """Store a notification to ana, or what the values say; return its number."""
    values = {"at_ms": clock(), **values}
    if "tenant" not in values:
        values = {"user": "ana", **values}
    stored = store.append(submission(id, **values))  # type: ignore[arg-type]
    assert isinstance(stored, Stored)
    assert stored.seq is not None
    return stored.seq


def replay(store: AnyStore, reader: Reader, resumed: Resumed, *, limit: int = 7) -> list[Entry]:
    """Return all entries of a resume, read in small parts."""
    entries: list[Entry] = []
    page = page_of([], is_last=False)
    while not page.is_last:
        page = store.replay(reader, resumed, after_seq=entries[-1].seq if entries else resumed.from_seq, limit=limit)
        assert len(page.texts) <= limit
        entries += page.read_entries()
    return entries


def ids_after(store: AnyStore, reader: Reader, position: Position | None = BEGINNING) -> list[str]:
    """Return the ids of the rows that a reader at this position gets."""
    entries = replay(store, reader, store.resume(reader, position))
    return [json.loads(entry.text)["id"] for entry in entries if isinstance(entry, Row)]


def test_numbers_rise_and_are_never_given_twice(open_again: OpenStore, clock: FakeClock) -> None:
    """Not even after the newest row is deleted and the file is opened again."""
    with open_again() as store:
        assert [send(store, clock, id) for id in ("a", "b")] == [1, 2]
        store.purge(UserId("ana"))
    with open_again() as store:
        assert store.last_seq() == 2
        assert send(store, clock, "c") == 3


def test_a_reader_gets_its_rows_after_its_position_in_order(store: AnyStore, clock: FakeClock) -> None:
    """Each once; those of others never."""
    first = send(store, clock, "a")
    send(store, clock, "of ben", user="ben")
    send(store, clock, "b")
    assert ids_after(store, ANA) == ["a", "b"]
    assert ids_after(store, ANA, Position(store.epoch, first)) == ["b"]
    assert ids_after(store, BEN_OF_ACME) == ["of ben"]


def test_broadcasts_reach_only_readers_of_the_tenant_that_want_them(store: AnyStore, clock: FakeClock) -> None:
    """A user without the tenant, or on a route without broadcasts, has no such row."""
    send(store, clock, "all", tenant="acme")
    assert ids_after(store, ANA_OF_ACME) == ["all"]
    assert ids_after(store, Reader(UserId("ana"), TenantId("acme"))) == []
    assert ids_after(store, Reader(UserId("ana"), TenantId("other"), broadcasts=True)) == []
    assert ids_after(store, Reader(UserId("acme"), broadcasts=True)) == []


def test_a_row_of_a_tenants_key_is_for_tokens_of_that_tenant_only(store: AnyStore, clock: FakeClock) -> None:
    """Another tenant may have a user with the same id."""
    send(store, clock, "bound", bound="acme")
    assert ids_after(store, ANA_OF_ACME) == ["bound"]
    assert ids_after(store, ANA) == []
    assert ids_after(store, Reader(UserId("ana"), TenantId("other"))) == []
    assert store.resume(ANA, BEGINNING).unread == 0
    assert store.ack(ANA, "bound") == []


@pytest.mark.parametrize("id", NASTY_IDS)
def test_an_id_is_only_a_text(store: AnyStore, clock: FakeClock, id: str) -> None:
    """Quotes, separators, control characters and patterns mean nothing, in ids of rows and of users."""
    send(store, clock, id, user=id)
    send(store, clock, "x", user="x")
    assert ids_after(store, Reader(UserId(id))) == [id]
    assert len(store.ack(Reader(UserId(id)), id)) == 1
    assert store.withdraw(user_id=UserId(id), tenant_id=None, notification_id=id, sender=None) is not None
    assert store.purge(UserId(id)) > 0
    assert ids_after(store, Reader(UserId("x"))) == ["x"]


@pytest.mark.parametrize(
    "position",
    [None, Position("another", 0), Position("another", 1), "ahead"],
    ids=["none", "epoch-0", "epoch", "ahead"],
)
def test_a_position_that_is_not_of_this_inbox_is_a_gap_and_replays_all(
    store: AnyStore, clock: FakeClock, position: Position | str | None
) -> None:
    """Nothing is missed silently."""
    send(store, clock, "a")
    at = Position(store.epoch, 999) if position == "ahead" else position
    assert not isinstance(at, str)
    resumed = store.resume(ANA, at)
    assert (resumed.gap, resumed.from_seq, resumed.to_seq) == (True, 0, 1)
    assert ids_after(store, ANA, at) == ["a"]


def test_the_beginning_and_an_own_position_have_no_gap(store: AnyStore, clock: FakeClock) -> None:
    """A hole in the numbers is not a loss."""
    send(store, clock, "of ben", user="ben")
    seq = send(store, clock, "a")
    assert not store.resume(ANA, BEGINNING).gap
    assert not store.resume(ANA, Position(store.epoch, 0)).gap
    assert not store.resume(ANA, Position(store.epoch, seq)).gap


@pytest.mark.slow_on_postgres
def test_at_most_the_newest_thousand_rows_are_replayed(store: AnyStore, clock: FakeClock) -> None:
    """The others make a gap; a reader that has them sees none."""
    numbers = [send(store, clock, f"n{number}") for number in range(REPLAY_MAX_ROWS + 2)]
    resumed = store.resume(ANA, BEGINNING)
    assert (resumed.gap, resumed.unread) == (True, REPLAY_MAX_ROWS + 2)
    got = [entry.seq for entry in replay(store, ANA, resumed, limit=100)]
    assert got == numbers[2:]
    assert not store.resume(ANA, Position(store.epoch, numbers[1])).gap


def test_a_page_is_bounded_by_its_size_too(store: AnyStore, clock: FakeClock) -> None:
    """A row that is larger than the limit is a page of its own."""
    for id, size in (("a", 10), ("b", PAGE_BYTES), ("c", PAGE_BYTES - 100), ("d", 10)):
        send(store, clock, id, text="x" * size)
    resumed = store.resume(ANA, BEGINNING)
    pages = [store.replay(ANA, resumed, after_seq=0)]
    while not pages[-1].is_last:
        pages.append(store.replay(ANA, resumed, after_seq=pages[-1].last_seq))
    assert [[entry.seq for entry in page.read_entries()] for page in pages] == [[1], [2], [3, 4]]


def test_an_expired_row_is_not_replayed_and_not_a_loss(store: AnyStore, clock: FakeClock) -> None:
    """Before the sweep and after it."""
    send(store, clock, "short", ttl_ms=1_000)
    send(store, clock, "long")
    clock.now_ms += 1_000
    for _ in range(2):
        assert ids_after(store, ANA) == ["long"]
        resumed = store.resume(ANA, BEGINNING)
        assert (resumed.gap, resumed.unread) == (False, 1)
        assert store.ack(ANA, "short") == []
        assert not store.sweep()
    assert (store.stats().rows, store.take_removed()) == (1, (1, 0))


def test_an_ack_counts_once_and_takes_a_number(store: AnyStore, clock: FakeClock) -> None:
    """The second one changes nothing; the row is replayed with the time of the first."""
    send(store, clock, "a")
    clock.now_ms += 5
    assert store.ack(ANA, "a") == [Acknowledgement(2, UserId("ana"), clock(), notification_id="a")]
    assert store.ack(ANA, "a") == []
    [row] = replay(store, ANA, store.resume(ANA, BEGINNING))
    assert isinstance(row, Row)
    assert json.loads(row.text)["acked_at"] == clock()
    assert store.resume(ANA, BEGINNING).unread == 0


@pytest.mark.parametrize("id", ["unknown", "of ben"])
def test_an_ack_of_an_unknown_or_foreign_row_changes_nothing(store: AnyStore, clock: FakeClock, id: str) -> None:
    """Ids are guessed without effect."""
    send(store, clock, "of ben", user="ben")
    assert store.ack(ANA, id) == []
    assert store.resume(Reader(UserId("ben")), BEGINNING).unread == 1


def test_each_user_acknowledges_a_broadcast_alone(store: AnyStore, clock: FakeClock) -> None:
    """Ana's acknowledgement is not ben's; both kinds of row with one id are meant."""
    send(store, clock, "x", tenant="acme")
    send(store, clock, "x")
    assert [ack.notification_id for ack in store.ack(ANA_OF_ACME, "x")] == ["x", "x"]
    assert store.resume(ANA_OF_ACME, BEGINNING).unread == 0
    assert store.resume(BEN_OF_ACME, BEGINNING).unread == 1
    rows = replay(store, BEN_OF_ACME, store.resume(BEN_OF_ACME, BEGINNING))
    assert ["acked_at" in json.loads(row.text) for row in rows if isinstance(row, Row)] == [False]


def test_an_ack_up_to_a_number_takes_all_rows_before_it(store: AnyStore, clock: FakeClock) -> None:
    """Own ones and broadcasts, not later ones; a number ahead of all is the last one."""
    send(store, clock, "a")
    second = send(store, clock, "b", tenant="acme")
    send(store, clock, "c")
    number, ack = store.ack_upto(ANA_OF_ACME, second)
    assert number == 2
    assert ack is not None
    assert (ack.upto, ack.notification_id, ack.seq) == (second, None, 4)
    assert store.resume(ANA_OF_ACME, BEGINNING).unread == 1
    assert store.ack_upto(ANA_OF_ACME, 2**52) == (
        1,
        Acknowledgement(5, UserId("ana"), clock(), upto=4, bound_tenant=TenantId("acme")),
    )
    assert store.ack_upto(ANA_OF_ACME, 2**52) == (0, None)


def test_a_reader_learns_what_happened_to_rows_that_it_had(store: AnyStore, clock: FakeClock) -> None:
    """In the order in which it happened; of rows it did not have, it gets only their present state."""
    for id in ("a", "b"):
        send(store, clock, id)
    position = Position(store.epoch, 2)
    send(store, clock, "c")
    store.ack(ANA, "a")
    store.withdraw(user_id=UserId("ana"), tenant_id=None, notification_id="b", sender=None)
    store.withdraw(user_id=UserId("ana"), tenant_id=None, notification_id="c", sender=None)
    entries = replay(store, ANA, store.resume(ANA, position), limit=1)
    assert entries == [
        Acknowledgement(4, UserId("ana"), clock(), notification_id="a"),
        Withdrawal("b", 5, UserId("ana"), None, None),
    ]
    assert not store.resume(ANA, position).gap


def test_a_withdrawn_row_is_gone_but_its_receipt_stays(store: AnyStore, clock: FakeClock) -> None:
    """It is not replayed and not unread, and its text is not kept."""
    send(store, clock, "a", text="secret" * 10)
    assert store.withdraw(user_id=UserId("ana"), tenant_id=None, notification_id="a", sender="other") is None
    withdrawal = store.withdraw(user_id=UserId("ana"), tenant_id=None, notification_id="a", sender="")
    assert withdrawal == Withdrawal("a", 2, UserId("ana"), None, None)
    assert store.withdraw(user_id=UserId("ana"), tenant_id=None, notification_id="a", sender="") is None
    assert ids_after(store, ANA) == []
    assert store.resume(ANA, BEGINNING).unread == 0
    [receipt] = store.receipts("a", user_id=UserId("ana"))
    assert receipt.withdrawn


def test_replacing_withdraws_the_old_row_in_the_same_step(store: AnyStore, clock: FakeClock) -> None:
    """The answer has the withdrawal; an id that does not exist replaces nothing."""
    send(store, clock, "a")
    stored = store.append(submission("b", user="ana", at_ms=clock(), replaces="a"))
    assert stored == Stored(3, Withdrawal("a", 2, UserId("ana"), None, None))
    assert ids_after(store, ANA) == ["b"]
    assert store.append(submission("c", user="ana", at_ms=clock(), replaces="a")) == Stored(4)


@pytest.mark.parametrize(
    ("bound", "left"),
    [("acme", (["a"], ["a", "b"], ["a", "a"])), (None, (["b"], ["a", "b"], ["a", "b"]))],
)
def test_replacing_stays_in_one_tenant(
    store: AnyStore, clock: FakeClock, bound: str | None, left: tuple[list[str], ...]
) -> None:
    """The same user and id in another tenant, or in none, are another person's row."""
    for tenant in ("acme", None, "globex"):
        send(store, clock, "a", bound=tenant)
    stored = store.append(submission("b", user="ana", at_ms=clock(), replaces="a", bound=bound))
    assert isinstance(stored, Stored)
    assert stored.replaced is not None
    assert stored.replaced.bound_tenant == bound
    globex = Reader(UserId("ana"), TenantId("globex"))
    assert (ids_after(store, ANA), ids_after(store, ANA_OF_ACME), ids_after(store, globex)) == left


def test_withdrawing_stays_in_one_tenant(store: AnyStore, clock: FakeClock) -> None:
    """That of the row that was found."""
    for tenant in ("acme", None):
        send(store, clock, "a", bound=tenant)
    [receipt] = store.receipts("a", bound_tenant=TenantId("acme"))
    withdrawal = store.withdraw(
        user_id=receipt.user_id,
        tenant_id=None,
        notification_id="a",
        sender=None,
        bound_tenant=receipt.bound_tenant,
    )
    assert withdrawal == Withdrawal("a", 3, UserId("ana"), None, TenantId("acme"))
    assert (ids_after(store, ANA), ids_after(store, ANA_OF_ACME)) == (["a"], ["a"])


def test_a_receipt_is_for_the_tenant_of_the_key(store: AnyStore, clock: FakeClock) -> None:
    """Not for a key that has got its name from one of another tenant."""
    send(store, clock, "a", bound="acme", sender="shop")
    assert store.receipts("a", sender="shop", bound_tenant=TenantId("globex")) == []
    [receipt] = store.receipts("a", sender="shop", bound_tenant=TenantId("acme"))
    assert (receipt.bound_tenant, receipt.seq) == ("acme", 1)


def test_an_ack_of_several_rows_is_for_one_tenant(store: AnyStore, clock: FakeClock) -> None:
    """The user has other rows up to that number with a token of another tenant, or of none."""
    none, globex = Reader(UserId("ana")), Reader(UserId("ana"), TenantId("globex"))
    for reader in (none, ANA_OF_ACME, globex):
        send(store, clock, f"of {reader.tenant_id}", bound=reader.tenant_id)
    position = Position(store.epoch, store.last_seq())
    for number, reader in enumerate((none, ANA_OF_ACME), 1):
        acked, ack = store.ack_upto(reader, 3)
        assert acked == 1
        assert ack is not None
        assert ack.only_tenant == (reader.tenant_id or NO_TENANT)
        assert [entry.seq for entry in replay(store, reader, store.resume(reader, position))] == [3 + number]
    assert replay(store, globex, store.resume(globex, position)) == []
    assert store.resume(globex, position).unread == 1


def test_what_was_not_stored_in_time_is_undone(store: AnyStore, clock: FakeClock) -> None:
    """Also what it replaced is there again, as it was."""
    send(store, clock, "a", text="first")
    late = submission("b", user="ana", at_ms=clock(), replaces="a")
    _, [undo] = store.append_undoable(late)
    assert ids_after(store, ANA) == ["b"]
    store.forget(late, undo)
    [row] = replay(store, ANA, store.resume(ANA, BEGINNING))
    assert isinstance(row, Row)
    assert json.loads(row.text) == {"id": "a", "title": "first", "seq": 1, "replayed": True}
    assert_shares_are_right(store)
    assert isinstance(store.append(late), Stored)


def test_a_repeated_request_is_a_duplicate_for_a_day(store: AnyStore, clock: FakeClock) -> None:
    """It gets the first answer; other values are a conflict; after a day the id is free."""
    first = submission("a", user="ana", at_ms=clock())
    assert store.append(first) == Stored(1)
    store.delivered(first, 3)
    assert store.append(submission("a", user="ana", at_ms=clock() + 1)) == Duplicate(1, 3, replaced=False)
    assert store.append(submission("a", user="ana", at_ms=clock(), text="other")) == Conflict()
    assert store.append(submission("a", user="ben", at_ms=clock(), text="other")) == Stored(2)
    assert store.append(submission("a", tenant="ana", at_ms=clock(), text="other")) == Stored(3)
    assert store.append(submission("a", user="ana", at_ms=clock(), text="other", bound="acme")) == Stored(4)
    clock.now_ms += IDS_KEPT_MS
    assert store.append(submission("a", user="ana", at_ms=clock(), text="other")) == Stored(5)


def test_an_id_without_a_row_is_recognised_too(store: AnyStore, clock: FakeClock) -> None:
    """``ttl_s: 0`` stores only the id."""
    once = submission("a", user="ana", at_ms=clock(), ttl_ms=None)
    assert store.append(once) == Stored(None)
    store.delivered(once, 1)
    assert store.append(once) == Duplicate(None, 1, replaced=False)
    assert ids_after(store, ANA) == []


def test_a_row_that_was_answered_as_not_stored_is_removed(store: AnyStore, clock: FakeClock) -> None:
    """A commit after the time limit leaves nothing; the newer request with the same id keeps its row."""
    late = submission("a", user="ana", at_ms=clock())
    _, [undo] = store.append_undoable(late)
    store.forget(late, undo)
    store.forget(late, undo)
    assert ids_after(store, ANA) == []
    other = submission("a", user="ana", at_ms=clock(), text="other")
    store.append(other)
    store.forget(late, undo)
    assert ids_after(store, ANA) == ["a"]


def test_receipts_of_an_id_name_at_most_two_recipients(store: AnyStore, clock: FakeClock) -> None:
    """Which is enough to see that it is ambiguous."""
    sent = submission("a", user="ana", at_ms=clock(), sender="shop")
    store.append(sent)
    store.delivered(sent, 2)
    for user in ("ben", "cyd"):
        send(store, clock, "a", user=user)
    assert len(store.receipts("a")) == 2
    [receipt] = store.receipts("a", user_id=UserId("ana"))
    assert (receipt.seq, receipt.sockets, receipt.acked_ms, receipt.sender) == (1, 2, None, "shop")
    store.ack(ANA, "a")
    [receipt] = store.receipts("a", user_id=UserId("ana"))
    assert receipt.acked_ms == clock()
    assert store.receipts("a", tenant_id=TenantId("ana")) == []


def test_a_users_oldest_rows_are_evicted_and_only_that_user_has_a_gap(open_again: OpenStore, clock: FakeClock) -> None:
    """A reader that had them has none."""
    with open_again(StoreLimits(rows_per_owner=3)) as store:
        send(store, clock, "of ben", user="ben")
        numbers = [send(store, clock, f"n{number}") for number in range(5)]
        assert ids_after(store, ANA) == ["n2", "n3", "n4"]
        assert store.resume(ANA, BEGINNING).gap
        assert store.resume(ANA, Position(store.epoch, numbers[0])).gap
        assert not store.resume(ANA, Position(store.epoch, numbers[1])).gap
        assert not store.resume(BEN_OF_ACME, BEGINNING).gap
        assert store.take_removed().evicted == 2


def test_who_has_more_than_half_loses_its_oldest_rows_first(open_again: OpenStore, clock: FakeClock) -> None:
    """Others lose nothing, whoever was first."""
    row = len(submission("a", user="ana", at_ms=0).text) + ROW_OVERHEAD_BYTES
    with open_again(StoreLimits(max_bytes=10 * (row + 10))) as store:
        send(store, clock, "of ben", user="ben")
        for number in range(50):
            send(store, clock, f"{number}", tenant="acme")
        assert ids_after(store, Reader(UserId("ben"))) == ["of ben"]
        assert not store.resume(Reader(UserId("ben")), BEGINNING).gap
        for number in range(50):
            send(store, clock, f"{number}", user=f"u{number}")
        kept = ids_after(store, ANA_OF_ACME)
        assert kept == sorted(kept, key=int)
        assert store.resume(ANA_OF_ACME, BEGINNING).gap
        assert store.stats().rows <= 10


@pytest.mark.slow_on_postgres
def test_a_list_of_losses_that_is_full_makes_the_oldest_everybodys(open_again: OpenStore, clock: FakeClock) -> None:
    """A gap may then be shown to a reader that lost nothing, but no loss is hidden."""
    limits = StoreLimits(rows_per_owner=1, losses_max=10)
    with open_again(limits) as store:
        for number in range(1_010):
            for _ in range(2):
                send(store, clock, f"{number}-{_}", user=f"u{number}")
        store.sweep()  # where PostgreSQL bounds the list
        assert all(store.resume(Reader(UserId(f"u{number}")), BEGINNING).gap for number in (0, 500, 1_009))
        last = Position(store.epoch, store.last_seq())
        assert not store.resume(Reader(UserId("u0")), last).gap


def test_a_purged_user_leaves_no_trace_but_a_gap(
    open_again: OpenStore, clock: FakeClock, tmp_path: Path, inbox_databases: Databases | None
) -> None:
    """A later user with the same id has a clean inbox; an old position is a gap."""
    with open_again() as store:
        seq = send(store, clock, "a", user="ana-of-1962")
        store.ack(Reader(UserId("ana-of-1962")), "a")
        assert store.purge(UserId("ana-of-1962")) == 1
        old = Position(store.epoch, seq - 1)
        assert store.resume(Reader(UserId("ana-of-1962")), old).gap
        assert ids_after(store, Reader(UserId("ana-of-1962"))) == []
        assert store.receipts("a") == []
        assert isinstance(store.append(submission("a", user="ana-of-1962", at_ms=clock(), text="new")), Stored)
        store.purge(UserId("ana-of-1962"))
    if inbox_databases is None:
        assert b"ana-of-1962" not in (tmp_path / "inbox.db").read_bytes()


def test_shares_count_what_is_there(store: AnyStore, clock: FakeClock) -> None:
    """After every kind of change they are the sums of the log."""
    for id in ("a", "b", "c"):
        send(store, clock, id, tenant="acme")
        send(store, clock, id)
        send(store, clock, id, bound="acme")
    store.ack(ANA_OF_ACME, "a")
    store.withdraw(user_id=UserId("ana"), tenant_id=None, notification_id="b", sender=None)
    store.ack_upto(ANA_OF_ACME, 99)
    assert_shares_are_right(store)
    store.purge(UserId("ana"))
    clock.now_ms += HOUR_MS
    store.sweep()
    assert_shares_are_right(store)
    assert store.stats().rows == 0


def assert_shares_are_right(store: AnyStore) -> None:
    """Compare the counters with the log."""
    if isinstance(store, PostgresStore):
        log, state, shares, rows, owners = store.totals()
        assert (log, rows) == (state, owners)
        assert log == shares
        return
    sql = store._sql  # the counts are not visible from outside
    (entries, size) = sql.execute("SELECT count(*), coalesce(sum(size), 0) FROM log").fetchone()
    assert sql.execute("SELECT entries, bytes FROM totals").fetchone() == (entries, size)
    assert sql.execute("SELECT sum(entries), sum(bytes) FROM shares").fetchone() in (
        (entries, size),
        (None, None) if not entries else (entries, size),
    )


def test_changes_of_rows_that_a_replay_has_sent_follow_in_it(store: AnyStore, clock: FakeClock) -> None:
    """The socket is not live before the last page: it learns there what happened to the rows of earlier ones."""
    for number in range(4):
        send(store, clock, f"n{number}")
    resumed = store.resume(ANA, BEGINNING)
    first = store.replay(ANA, resumed, after_seq=0, limit=2)
    store.ack(ANA, "n0")
    store.withdraw(user_id=ANA.user_id, tenant_id=None, notification_id="n1", sender=None)
    store.ack(ANA, "n2")
    rest = store.replay(ANA, resumed, after_seq=first.last_seq)
    assert [entry.seq for entry in first.read_entries()] == [1, 2]
    assert [(type(entry), entry.seq) for entry in rest.read_entries()] == [
        (Row, 3),
        (Row, 4),
        (Acknowledgement, 5),
        (Withdrawal, 6),
    ]
    assert b"acked_at" in rest.texts[0]


def test_a_replay_does_not_go_on_in_another_inbox(store: AnyStore, clock: FakeClock) -> None:
    """Its numbers begin anew: nothing in it would seem to be missing."""
    send(store, clock, "a")
    resumed = store.resume(ANA, BEGINNING)
    store.renew_epoch()
    with pytest.raises(InboxUnavailable):
        store.replay(ANA, resumed, after_seq=0)


def test_what_others_have_sent_does_not_hide_a_receipt(store: AnyStore, clock: FakeClock) -> None:
    """Several senders may use the same short ids."""
    for user in ("ana", "ben", "cyd"):
        store.append(submission("1", user=user, at_ms=clock(), sender="shop"))
    store.append(submission("1", user="zoe", at_ms=clock(), sender="door"))
    assert [receipt.user_id for receipt in store.receipts("1", sender="door")] == ["zoe"]
