"""Floor 2: when a client that must leave may come back, so that thousands do not return in the same instant."""

import random

RETRY_MIN_MS = 1_000  # the clients' own first back-off
RETURNS_PER_S = 1_000  # well under the 2,800 handshakes/s that one core of bare Tornado accepts


def retry_ms(live_sockets: int) -> int:
    """A random wait in milliseconds; over all live sockets the returns spread evenly at the rate above."""
    spread_ms = live_sockets * 1_000 / RETURNS_PER_S
    return round(RETRY_MIN_MS + random.uniform(0, max(RETRY_MIN_MS, spread_ms)))
