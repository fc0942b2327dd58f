"""Protocol of an inbox, and its values.

A *row* is a stored notification or broadcast. Rows, acknowledgements and withdrawals share one rising series of
numbers, ``seq``; each is given at a commit and never again. An *epoch* is the name of one series: a restored or
repaired inbox has a new one, so that an old position is recognised.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from hermes.delivery.channels import Channel
from hermes.delivery.messages import Acknowledgement, Broadcast, EncodedMessage, Notification, Withdrawal
from hermes.ids import TenantId, UserId
from hermes.inbox.position import Position

FailureReason = Literal["disk_full", "corrupt", "timeout", "busy"]

COMMIT_MAX_S = 2.0  # a longer one is a failed store
CATCH_UP_INTERVAL_S = 1.0  # until an entry of another process is found without a wake-up
PAGE_ENTRIES = 128  # of a replay: about 1 ms of the event loop
PAGE_BYTES = 262_144  # a quarter of what may wait for one socket
REPLAY_MAX_ROWS = 1_000  # of one resume; a reader gets older ones from GET /inbox


IDS_KEPT_MS = 24 * 3_600_000  # how long an id is recognised
ROWS_PER_OWNER = 10_000
LOSSES_MAX = 100_000  # readers with a loss of their own; one for all readers replaces the oldest


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How much an inbox keeps: accounted bytes, and rows of one user or tenant."""

    max_bytes: int = 1_073_741_824
    rows_per_owner: int = ROWS_PER_OWNER
    losses_max: int = LOSSES_MAX


class InboxUnavailable(Exception):
    """The inbox cannot read or write now; ``reason`` says why.

    ``disk_full``: the disk is full, nearly full, read-only or broken; ``corrupt``: the file is damaged; ``timeout``: no
    commit within 2 s, or no database that answers; ``busy``: too many operations wait.
    """

    def __init__(self, reason: FailureReason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reader:
    """A user, and, with ``broadcasts``, a member of a tenant.

    A row that was sent with the key of a tenant is only for tokens of that tenant.
    """

    user_id: UserId
    tenant_id: TenantId | None = None
    broadcasts: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """One notification or broadcast to store.

    ``text`` is the JSON text of its frame. ``digest`` identifies the values of the request without its id: the same id
    with another digest is a conflict. ``expires_ms`` is in Unix milliseconds; None stores no row, only the id.
    ``bound_tenant`` is the tenant of the caller's key, ``sender`` its name. ``replaces`` is the id of the row to
    withdraw in the same commit: one with the same ``bound_tenant``, as the same user of another tenant is another
    person.
    """

    message: Notification | Broadcast
    text: bytes
    digest: bytes
    expires_ms: int | None
    replaces: str | None = None
    bound_tenant: TenantId | None = None
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """The row's number, None if only its id was stored; and the row that it replaced."""

    seq: int | None
    replaced: Withdrawal | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same request was accepted before: its number, and the sockets that took it.

    ``acked_ms`` is when its row was acknowledged, in Unix milliseconds; None if it was not. ``reason`` says why it
    could not be stored.
    """

    seq: int | None
    sockets: int
    replaced: bool
    acked_ms: int | None = None
    reason: FailureReason | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another request with the same id was accepted before."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The answer to a position: ``from_seq`` < rows ≤ ``to_seq``.

    ``gap`` is True if rows of this reader after its position are lost. ``unread`` is the number of rows that are kept
    and not acknowledged. ``after_seq`` is where the rows begin: later than ``from_seq`` if more than `REPLAY_MAX_ROWS`
    are kept.
    """

    epoch: str
    from_seq: int
    to_seq: int
    after_seq: int
    gap: bool
    unread: int


class Row(NamedTuple):
    """A row as a reader gets it.

    ``text`` is the JSON text of its frame, with ``"replayed":true``, and with ``acked_at`` if that reader has
    acknowledged it.
    """

    seq: int
    text: bytes


Entry = Row | Acknowledgement | Withdrawal


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in rising order; with ``is_last``, no more are committed.

    ``texts`` are the JSON texts of their frames; ``last_seq`` is the number of the last one, and 0 without entries.
    ``read_entries`` returns them one by one: a page of rows does not need that.
    """

    texts: Sequence[bytes]
    last_seq: int
    is_last: bool
    read_entries: Callable[[], Sequence[Entry]]


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """What is known of a stored row, for its sender; times are Unix milliseconds.

    ``bound_tenant`` is the only tenant that may read it: that of the sender's key.
    """

    id: str
    user_id: UserId | None
    tenant_id: TenantId | None
    seq: int
    sockets: int
    acked_ms: int | None
    withdrawn: bool
    expires_ms: int
    sender: str
    bound_tenant: TenantId | None = None


@dataclass(frozen=True, slots=True)
class InboxStats:
    """Size and age of an inbox.

    ``bytes`` is the size of the file, ``oldest_ms`` the Unix milliseconds of the oldest row.
    """

    epoch: str
    rows: int
    bytes: int
    oldest_ms: int | None
    last_seq: int


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """What another process has committed to the same inbox.

    ``seq`` is its number, ``only_tenant`` that of `Hub.publish`.
    """

    seq: int
    message: EncodedMessage | Acknowledgement | Withdrawal
    only_tenant: TenantId | None


class Inbox(Protocol):
    """A store of notifications. Every method may raise `InboxUnavailable`.

    Several processes can share one that is in a database. Each of them calls its functions (``publish`` of `append`,
    ``then`` of `replay`, that of `follow`) in the order of ``seq``, for its own entries and for those of the others: so
    every socket gets rising numbers, and what is true of one process is true of all.
    """

    async def append(self, submission: Submission, publish: Callable[[Stored], None]) -> Stored | Duplicate | Conflict:
        """Store a row, durably, or find that its id is known.

        ``publish`` is called after the commit, in the order of the commits and of the pages of `replay`: so that a row
        is either in a page or published after it.
        """

    def delivered(self, submission: Submission, sockets: int | None) -> None:
        """Note how many sockets took it; None if it was refused.

        To be called after `Stored` and after `InboxUnavailable`. The number may be lost in a crash.
        """

    async def sockets_without_row(self, kind: str, owner: str, bound_tenant: str | None, id: str) -> int:
        """Return how many sockets took a request of this process without a row.

        After its answer. ``kind`` is that of the message, ``owner`` its user or tenant. 0 if the request is not known
        here.
        """

    async def resume(
        self,
        reader: Reader,
        position: Position | None,
        *,
        capped: bool = True,
        then: Callable[[Resumed, Page], None] | None = None,
    ) -> Resumed:
        """Return what a reader at this position has missed.

        None is a position that cannot be parsed. Without ``capped``, all rows that are kept will be read. ``then`` gets
        the same and the first page of it, as that of `replay`; without it no page is read.
        """

    async def replay(
        self,
        reader: Reader,
        resumed: Resumed,
        *,
        after_seq: int,
        then: Callable[[Page], None],
        limit: int = PAGE_ENTRIES,
    ) -> None:
        """Give ``then`` the next entries of a resume, in rising order.

        It is called in the order of the commits, as ``publish`` of `append`.
        """

    async def ack(
        self, reader: Reader, notification_id: str, publish: Callable[[list[Acknowledgement]], None]
    ) -> list[Acknowledgement]:
        """Acknowledge the user's row and the tenant's broadcast with this id.

        Empty if nothing changed. ``publish`` is called in the order of the commits, as that of `append`.
        """

    async def ack_upto(
        self, reader: Reader, upto: int, publish: Callable[[tuple[int, Acknowledgement | None]], None]
    ) -> tuple[int, Acknowledgement | None]:
        """Acknowledge all rows up to this number; return how many there were."""

    async def withdraw(
        self,
        *,
        user_id: UserId | None,
        tenant_id: TenantId | None,
        notification_id: str,
        sender: str | None,
        bound_tenant: TenantId | None,
        publish: Callable[[Withdrawal | None], None],
    ) -> Withdrawal | None:
        """Withdraw a row; None if there is none of this sender.

        ``sender`` None is any sender; ``bound_tenant`` None means a row that is not bound to a tenant.
        """

    async def receipts(
        self,
        notification_id: str,
        *,
        user_id: UserId | None = None,
        tenant_id: TenantId | None = None,
        sender: str | None = None,
        bound_tenant: TenantId | None = None,
    ) -> list[ReceiptRecord]:
        """Return the receipts of this id.

        Of one recipient, or, without one, of at most two. None is any sender, and any ``bound_tenant``.
        """

    async def purge(self, user_id: UserId) -> int:
        """Remove everything about a user; return the number of rows."""

    async def stats(self) -> InboxStats:
        """Return the size of the inbox."""

    def follow(self, publish: Callable[[RemoteEntry], None], wants: Callable[[Channel], bool]) -> None:
        """Call ``publish`` with each entry that another process commits from now on.

        Only if ``wants`` is True for its channel at that moment. To be called once, before `InboxStore.start`. The
        store looks for entries with each of its transactions, and at least once in `CATCH_UP_INTERVAL_S`; who knows of
        one earlier calls `catch_up`.
        """

    async def catch_up(self) -> int:
        """Read what other processes have committed; return the highest number.

        Everything up to it was given to the functions of its callers before this returns. Without something new it
        costs a look at one row and at the end of one index.
        """


class InboxStore(Inbox, Protocol):
    """An inbox with its beginning and its end, and how it is."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the inbox now, in words; None if it works."""

    @property
    def epoch(self) -> str:
        """The name of the present series of numbers."""

    @property
    def waiting(self) -> int:
        """The number of operations that wait."""

    @property
    def place(self) -> str:
        """The file or the database, without a password, for messages."""

    @property
    def backup_folder(self) -> Path | None:
        """The folder for a copy by `back_up`; None if the inbox is not a file."""

    def on_new_epoch(self, call: Callable[[], None]) -> None:
        """Call this when another series begins while the inbox is open.

        On the loop, before anything of the new series is published. To be called once, before `start`.
        """

    async def start(self) -> None:
        """Open the inbox.

        Raises `HermesError` if it must not be used as it is.
        """

    async def stop(self) -> None:
        """Commit what was accepted and close the inbox; may be repeated."""

    def stuck_for_s(self, now: float) -> float:
        """Return for how long its thread has not answered.

        In seconds; ``now`` is the monotonic clock. A restart of the process may help against it.
        """

    async def back_up(self, path: Path) -> None:
        """Copy the inbox into a new private file.

        Raises `InboxUnavailable`.
        """
