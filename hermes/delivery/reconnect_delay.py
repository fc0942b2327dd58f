"""The delay after which clients reconnect, so that not all do it at once."""

import random

RETRY_MIN_MS = 1_000  # the first back-off of the client library
RETURNS_PER_S = 1_000  # far below the 2,800 handshakes/s that one core of bare Tornado accepts


def retry_ms(live_sockets: int) -> int:
    """Return a random delay in milliseconds.

    Over all live sockets, the reconnections are spread evenly at `RETURNS_PER_S`.
    """
    spread_ms = live_sockets * 1_000 / RETURNS_PER_S
    return round(RETRY_MIN_MS + random.uniform(0, max(RETRY_MIN_MS, spread_ms)))
