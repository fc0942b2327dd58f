"""The delay that clients get when the server closes their sockets, so that they do not all reconnect at once."""

import random

RETRY_MIN_MS = 1_000  # the first back-off of the client library
RETURNS_PER_S = 1_000  # well under the 2,800 handshakes/s that one core of bare Tornado accepts


def retry_ms(live_sockets: int) -> int:
    """Return a random delay in milliseconds; over all live sockets, reconnections spread evenly at `RETURNS_PER_S`."""
    spread_ms = live_sockets * 1_000 / RETURNS_PER_S
    return round(RETRY_MIN_MS + random.uniform(0, max(RETRY_MIN_MS, spread_ms)))
