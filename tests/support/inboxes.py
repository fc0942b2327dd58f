"""Open inboxes, submissions and a clock for the tests of hermes/inbox."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from hermes.delivery.messages import Broadcast, Notification, now_ms
from hermes.ids import TenantId, UserId
from hermes.inbox.inbox import InboxStore, StoreLimits, Submission
from hermes.inbox.sqlite.file import open_inbox
from hermes.inbox.sqlite.inbox import SqliteInbox
from hermes.inbox.sqlite.store import Store
from hermes.metrics import Metrics

HOUR_MS = 3_600_000


class FakeClock:
    """Unix milliseconds that only the test moves."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def submission(
    id: str,
    *,
    user: str | None = None,
    tenant: str | None = None,
    at_ms: int,
    text: str = "hello",
    ttl_ms: int | None = HOUR_MS,
    replaces: str | None = None,
    bound: str | None = None,
    sender: str = "",
) -> Submission:
    """Return a notification to a user or a broadcast to a tenant; the same values have the same digest."""
    message: Notification | Broadcast
    if user is not None:
        message = Notification(UserId(user), id, text, "", "info", at_ms)
    else:
        assert tenant is not None
        message = Broadcast(TenantId(tenant), id, text, "", "info", at_ms)
    return Submission(
        message=message,
        text=json.dumps({"id": id, "title": text}).encode(),
        digest=json.dumps([text, ttl_ms, replaces]).encode(),
        expires_ms=None if ttl_ms is None else at_ms + ttl_ms,
        replaces=replaces,
        bound_tenant=None if bound is None else TenantId(bound),
        sender=sender,
    )


@contextlib.contextmanager
def open_store(path: Path, clock: FakeClock, limits: StoreLimits | None = None) -> Iterator[Store]:
    """Open the inbox; all that the test does is one transaction, which is committed at the end."""
    connection = open_inbox(path)
    try:
        store = Store(connection, limits=limits or StoreLimits(), now_ms=clock)
        connection.execute("BEGIN IMMEDIATE")
        yield store
        connection.execute("COMMIT")
    finally:
        connection.close()


def inbox_at(place: str) -> InboxStore:
    """Return the inbox in a file, or in the database of a URL; it is not started."""
    if "://" not in place:
        return SqliteInbox(Path(place), limits=StoreLimits(), now_ms=now_ms, metrics=Metrics())
    from hermes.inbox.postgres.inbox import PostgresInbox  # it imports an extra
    from hermes.inbox.postgres.session import parameters_of

    return PostgresInbox(
        place, lambda: parameters_of(place, lambda: None), limits=StoreLimits(), now_ms=now_ms, metrics=Metrics()
    )
