"""The stores against a model: random senders, readers, ends and crashes."""

import dataclasses
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from hermes.delivery.messages import Acknowledgement, Broadcast, Notification, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.frames import page_of
from hermes.inbox.inbox import Duplicate, Reader, Row, Stored, StoreLimits, Submission
from hermes.inbox.position import BEGINNING, Position
from hermes.inbox.sqlite.file import open_inbox
from hermes.inbox.sqlite.store import Store
from tests.support.inboxes import FakeClock, submission
from tests.support.postgres import Databases, PostgresStore

USERS = ("u", "v")
TENANTS = ("t", "u")  # a tenant and a user with the same id
IDS = st.sampled_from(["1", "2"])
ROWS_PER_OWNER = 2
LIMITS = StoreLimits(rows_per_owner=ROWS_PER_OWNER)


@dataclass
class ModelRow:
    """One row as the model knows it; ``acked`` has the users that acknowledged it."""

    seq: int
    id: str
    user: str | None
    tenant: str | None
    bound: str | None
    expires_ms: int
    acked: set[str] = field(default_factory=set)
    state: str = "kept"  # kept, withdrawn, gone

    def is_for(self, reader: Reader) -> bool:
        """Whether this reader may see it."""
        if self.user is not None:
            return self.user == reader.user_id and self.bound in (None, reader.tenant_id)
        return reader.broadcasts and self.tenant == reader.tenant_id


@dataclass
class ModelReader:
    """A client: what it has seen, by row number, and the position to which it resumes."""

    reader: Reader
    position: int = 0
    seen: dict[int, str] = field(default_factory=dict)  # row number to "unread", "acked" or "withdrawn"


EVERYBODY = [
    Reader(UserId(user), TenantId(tenant) if tenant else None, broadcasts)
    for user in USERS
    for tenant in (None, *TENANTS)
    for broadcasts in (False, True)
]


class StoreMachine(RuleBasedStateMachine):
    """Every rule is one committed transaction, except a crash, which loses one that is not."""

    readers: Bundle[ModelReader] = Bundle("readers")
    store: Store | PostgresStore

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.rows: list[ModelRow] = []
        self.answers: dict[tuple[Any, ...], tuple[str, int, bool]] = {}
        self.lost: list[ModelRow] = []  # that a limit removed
        self.last = 0
        self.open()

    def open(self) -> None:
        """Open the inbox as a new process does."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it; what is not committed is lost."""
        raise NotImplementedError

    def begin(self) -> None:
        """Begin a transaction."""
        raise NotImplementedError

    def commit(self) -> None:
        """Commit it."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close the inbox."""
        self.close()

    def seq(self) -> int:
        """Give the next number."""
        self.last += 1
        return self.last

    def kept(self, reader: Reader) -> list[ModelRow]:
        """What a reader should find."""
        return [
            row
            for row in self.rows
            if row.state == "kept" and row.expires_ms > self.clock.now_ms and row.is_for(reader)
        ]

    @initialize(target=readers)
    def two_clients(self) -> MultipleResults[ModelReader]:
        """Members of one tenant that read broadcasts."""
        return multiple(*(ModelReader(Reader(UserId(user), TenantId("t"), broadcasts=True)) for user in USERS))

    @rule(
        id=IDS,
        user=st.sampled_from([*USERS, None]),
        tenant=st.sampled_from(TENANTS),
        bound=st.booleans(),
        text=st.sampled_from(["x", "y"]),
        ttl_ms=st.sampled_from([100_000, 10, 1_000]),
        replaces=st.none() | IDS,
        crash=st.sampled_from([False, False, False, True]),
    )
    def send(
        self,
        *,
        id: str,
        user: str | None,
        tenant: str,
        bound: bool,
        text: str,
        ttl_ms: int,
        replaces: str | None,
        crash: bool,
    ) -> None:
        """Store a row, or find its id; a crash before the commit leaves nothing."""
        key_tenant = tenant if bound else None
        sent = submission(
            id,
            user=user,
            tenant=None if user else tenant,
            at_ms=self.clock.now_ms,
            text=text,
            ttl_ms=ttl_ms,
            replaces=replaces,
            bound=key_tenant,
        )
        self.begin()
        outcome = self.store.append(sent)
        if crash:
            self.close()
            self.open()
            return
        self.commit()
        self.check_sent(sent, outcome)

    def check_sent(self, sent: Submission, outcome: object) -> None:
        """Store a row in the model, and compare the answer."""
        message, replaces, key_tenant = sent.message, sent.replaces, sent.bound_tenant
        user = message.user_id if isinstance(message, Notification) else None
        tenant = message.tenant_id if isinstance(message, Broadcast) else None
        key = (user, tenant, key_tenant, message.id)
        digest = sent.digest.decode()
        if key in self.answers:
            known, seq, replaced = self.answers[key]
            if digest != known:
                assert not isinstance(outcome, Stored | Duplicate)
                return
            assert isinstance(outcome, Duplicate)
            assert dataclasses.replace(outcome, acked_ms=None) == Duplicate(seq, 0, replaced)
            [row] = [each for each in self.rows if each.seq == seq]
            assert outcome.acked_ms is None or user in row.acked
            return
        withdrawn = self.model_withdraw(user, tenant, replaces, key_tenant) if replaces else None
        owner_rows = [row for row in self.rows if row.state != "gone" and (row.user, row.tenant) == key[:2]]
        for row in owner_rows[: max(0, len(owner_rows) - ROWS_PER_OWNER + 1)]:
            if row.state == "kept" and row.expires_ms > self.clock.now_ms:
                self.lost.append(row)
            row.state = "gone"
        self.rows.append(ModelRow(self.seq(), message.id, user, tenant, key_tenant, sent.expires_ms or 0))
        self.answers[key] = (digest, self.last, withdrawn is not None)
        assert isinstance(outcome, Stored)
        assert outcome.seq == self.last
        assert (outcome.replaced is None) == (withdrawn is None)

    def model_withdraw(
        self, user: str | None, tenant: str | None, id: str, bound: str | None = None
    ) -> list[ModelRow] | None:
        """Withdraw in the model; one number is given if there was a row."""
        found = [
            row
            for row in self.rows
            if row.state == "kept"
            and row.id == id
            and (row.user, row.tenant) == (user, tenant)
            and row.expires_ms > self.clock.now_ms
            and row.bound == bound
        ]
        for row in found:
            row.state = "withdrawn"
        if not found:
            return None
        self.seq()
        return found

    @rule(id=IDS, user=st.sampled_from([*USERS, None]), tenant=st.sampled_from(TENANTS), bound=st.booleans())
    def withdraw(self, *, id: str, user: str | None, tenant: str, bound: bool) -> None:
        """Withdraw a row by its recipient and id."""
        expected = self.model_withdraw(user, None if user else tenant, id, tenant if bound else None)
        found = self.transact(
            lambda: self.store.withdraw(
                user_id=UserId(user) if user else None,
                tenant_id=None if user else TenantId(tenant),
                notification_id=id,
                sender=None,
                bound_tenant=TenantId(tenant) if bound else None,
            )
        )
        assert (found is None) == (expected is None)

    @rule(client=readers, id=IDS)
    def ack(self, *, client: ModelReader, id: str) -> None:
        """Acknowledge a row by its id."""
        reader = client.reader
        expected = [
            row
            for row in self.rows
            if row.state == "kept"
            and row.id == id
            and row.expires_ms > self.clock.now_ms
            and reader.user_id not in row.acked
            and (row.is_for(reader) or (row.tenant is not None and row.tenant == reader.tenant_id))
        ]
        for row in expected:
            row.acked.add(reader.user_id)
            self.seq()
        assert len(self.transact(lambda: self.store.ack(reader, id))) == len(expected)

    @rule(client=readers)
    def ack_all(self, *, client: ModelReader) -> None:
        """Acknowledge everything that the client has got."""
        expected = [
            row
            for row in self.kept(client.reader)
            if row.seq <= client.position and client.reader.user_id not in row.acked
        ]
        for row in expected:
            row.acked.add(client.reader.user_id)
        number, made = self.transact(lambda: self.store.ack_upto(client.reader, client.position))
        assert number == len(expected)
        assert (made is None) == (not expected)
        if expected:
            self.seq()

    @rule(step_ms=st.sampled_from([1, 10, 1_000]), sweep=st.booleans())
    def wait(self, *, step_ms: int, sweep: bool) -> None:
        """Let time pass; sometimes the store removes what has ended."""
        self.clock.now_ms += step_ms
        if not sweep:
            return
        self.transact(self.store.sweep)
        for row in self.rows:
            if row.expires_ms <= self.clock.now_ms:
                row.state = "gone"

    @rule()
    def restart(self) -> None:
        """Close the inbox and open it again."""
        self.close()
        self.open()

    @rule(client=readers, part=st.integers(1, 3))
    def resume(self, *, client: ModelReader, part: int) -> None:
        """A client returns: it gets each row once, in order, and every change of what it had; a loss is a gap."""
        resumed = self.store.resume(client.reader, Position(self.store.epoch, client.position))
        assert (resumed.from_seq, resumed.to_seq) == (client.position, self.last)
        missed = [row for row in self.kept(client.reader) if row.seq > client.position]
        assert resumed.gap == any(row.seq > client.position and row.is_for(client.reader) for row in self.lost)
        unread = [row for row in self.kept(client.reader) if client.reader.user_id not in row.acked]
        assert resumed.unread == len(unread)
        got: list[int] = []
        after, numbers = resumed.from_seq, []
        page = page_of([], is_last=False)
        while not page.is_last:
            page = self.store.replay(client.reader, resumed, after_seq=after, limit=part)
            for entry in page.read_entries():
                after = entry.seq
                numbers.append(entry.seq)
                if isinstance(entry, Row):
                    got.append(entry.seq)
                    client.seen[entry.seq] = "acked" if "acked_at" in json.loads(entry.text) else "unread"
                    [row] = [each for each in missed if each.seq == entry.seq]
                    assert json.loads(entry.text)["id"] == row.id
                self.apply(client, entry)
        assert got == [row.seq for row in missed]
        assert numbers == sorted(set(numbers))
        client.position = resumed.to_seq
        for row in self.rows:
            if row.seq in client.seen and row.state in ("kept", "withdrawn") and row.expires_ms > self.clock.now_ms:
                acked = "acked" if client.reader.user_id in row.acked else "unread"
                expected = "withdrawn" if row.state == "withdrawn" else acked
                assert client.seen[row.seq] == expected, row

    def apply(self, client: ModelReader, entry: object) -> None:
        """Change what the client shows.

        The frame of a withdrawal has the id only: a client cannot tell two rows with one id from two senders apart.
        """
        for row in self.rows:
            if row.seq not in client.seen or client.seen[row.seq] == "withdrawn":
                continue
            if isinstance(entry, Acknowledgement):
                if row.id == entry.notification_id or (entry.upto is not None and row.seq <= entry.upto):
                    client.seen[row.seq] = "acked" if client.reader.user_id in row.acked else client.seen[row.seq]
            elif isinstance(entry, Withdrawal) and (row.id, row.user, row.tenant, row.bound) == (
                entry.notification_id,
                entry.user_id,
                entry.tenant_id,
                entry.bound_tenant,
            ):
                client.seen[row.seq] = "withdrawn"

    def transact(self, run: Any) -> Any:
        """Run one committed transaction."""
        self.begin()
        result = run()
        self.commit()
        return result

    @invariant()
    def a_new_reader_gets_what_is_kept(self) -> None:
        """From the beginning on, and without what another may read."""
        for reader in EVERYBODY:
            resumed = self.store.resume(reader, BEGINNING)
            entries = self.store.replay(reader, resumed, after_seq=0).read_entries()
            assert [entry.seq for entry in entries if isinstance(entry, Row)] == [row.seq for row in self.kept(reader)]
            assert resumed.gap == any(row.is_for(reader) for row in self.lost)

    @invariant()
    def the_last_number_is_the_models(self) -> None:
        """No number is given unseen, none twice."""
        assert self.store.last_seq() == self.last


class SqliteMachine(StoreMachine):
    """The model with an inbox in a file."""

    store: Store

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        super().__init__()

    def open(self) -> None:
        """Open the file."""
        self.connection = open_inbox(Path(self.folder.name, "inbox.db"))
        self.store = Store(self.connection, limits=LIMITS, now_ms=self.clock)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def begin(self) -> None:
        """Begin a transaction."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit it."""
        self.connection.execute("COMMIT")

    @rule(
        sends=st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.sampled_from(["1", "2", "3", "4", "5"]),
                    "user": st.sampled_from([*USERS, None]),
                    "tenant": st.sampled_from(TENANTS),
                    "bound": st.booleans(),
                    "text": st.sampled_from(["x", "y"]),
                    "replaces": st.sampled_from([None, None, None, None, "1"]),
                }
            ),
            min_size=2,
            max_size=5,
        )
    )
    def send_several(self, *, sends: list[dict[str, Any]]) -> None:
        """Store rows with one call."""
        submissions = [
            submission(
                each["id"],
                user=each["user"],
                tenant=None if each["user"] else each["tenant"],
                at_ms=self.clock.now_ms,
                text=each["text"],
                ttl_ms=1_000,
                replaces=each["replaces"],
                bound=each["tenant"] if each["bound"] else None,
            )
            for each in sends
        ]
        appended = self.transact(lambda: self.store.append_all(submissions))
        for sent, (outcome, _undos) in zip(submissions, appended, strict=True):
            self.check_sent(sent, outcome)

    def teardown(self) -> None:
        """Close and remove the file."""
        super().teardown()
        self.folder.cleanup()


class PostgresMachine(StoreMachine):
    """The model with an inbox in PostgreSQL."""

    databases: Databases

    def __init__(self) -> None:
        self.url = self.databases.empty()
        super().__init__()

    def open(self) -> None:
        """Connect."""
        self.store: PostgresStore = PostgresStore(self.url, limits=LIMITS, now_ms=self.clock)
        self.commit()

    def close(self) -> None:
        """Close the connection."""
        self.store.connection.close()

    def begin(self) -> None:
        """Begin nothing: the first statement does."""

    def commit(self) -> None:
        """Commit the transaction."""
        self.store.connection.commit()


@pytest.mark.parametrize("examples", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_the_sqlite_store_is_as_the_model(examples: int) -> None:
    """Each answer, and all that is kept."""
    run_state_machine_as_test(
        SqliteMachine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None)
    )


@pytest.mark.postgres
@pytest.mark.parametrize("examples", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_the_postgres_store_is_as_the_model(postgres: Databases, examples: int) -> None:
    """The same rules and the same answers."""

    class Machine(PostgresMachine):
        databases = postgres

    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None))
