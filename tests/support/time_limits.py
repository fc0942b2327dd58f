"""The times after which Hermes gives something up, for tests on a machine of any speed."""

import pytest

from hermes.cluster import deliveries
from hermes.inbox.sqlite import inbox as sqlite_inbox
from hermes.quotas import failed_auth

try:
    from hermes.inbox.postgres import inbox as postgres_inbox
    from hermes.inbox.postgres import session, writer
except ImportError:
    session = None  # type: ignore[assignment] # an extra

ENOUGH_S = 60.0  # reached only in a test that fails


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Hermes wait for other nodes and for commits, and count failures, longer than any test takes.

    A busy machine is neither a node nor a database that hangs.
    """
    monkeypatch.setattr(deliveries, "ANSWER_TIMEOUT_S", ENOUGH_S)
    monkeypatch.setattr(failed_auth, "WINDOW_S", 3_600.0)
    monkeypatch.setattr(sqlite_inbox, "COMMIT_MAX_S", ENOUGH_S)
    if session is not None:
        monkeypatch.setattr(postgres_inbox, "COMMIT_MAX_S", ENOUGH_S)
        monkeypatch.setattr(session, "STATEMENT_MAX_S", ENOUGH_S)
        monkeypatch.setattr(writer, "STALL_MAX_S", ENOUGH_S)
