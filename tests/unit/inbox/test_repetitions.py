"""What is known of requests without a row."""

import pytest

from hermes.inbox.inbox import IDS_KEPT_MS
from hermes.inbox.repetitions import Repetitions
from tests.support.inboxes import FakeClock, submission

KEY = ("notification", "ana", None, "a")


@pytest.mark.gen_test
async def test_the_sockets_of_a_request_without_a_row_are_those_of_the_latest() -> None:
    """For 24 hours; later its id is free."""
    clock = FakeClock()
    known = Repetitions(clock)
    request = submission("a", user="ana", at_ms=clock(), ttl_ms=None)
    for sockets in (2, 0, 1):
        assert await known.begin(request) is None
        assert known.delivered(request, sockets)
        known.end(request)
        assert await known.sockets_without_row(*KEY) == sockets
    clock.now_ms += IDS_KEPT_MS
    assert await known.sockets_without_row(*KEY) == 0
