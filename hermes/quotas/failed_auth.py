"""Count the wrong tokens and API keys of each client address.

An address that gave too many can only use what is known already, for some seconds: guessing is slow, costs Hermes no
signature check, and does not lock out the clients behind the same address.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from hermes.log import LogThrottle
from hermes.metrics import Metrics

WINDOW_S = 10.0
ADDRESSES_MAX = 10_000  # about 2 MB; past it the oldest address is forgotten


class FailedAuth:
    """Allow ``limit`` failures of one address in `WINDOW_S`; 0 means no limit.

    The limit may be changed. ``clock`` gives monotonic seconds.
    """

    def __init__(self, limit: int, *, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._refused = metrics.failed_auth.labels("refused")
        self._log_throttle = LogThrottle(WINDOW_S, clock=clock)
        self._unchecked = metrics.failed_auth.labels("unchecked")
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()  # begin of the window, failures in it

    def blocks(self, address: str) -> bool:
        """Return whether this address gave too many wrong credentials lately."""
        began_s, failures = self._failures.get(address, (0.0, 0))
        return 0 < self.limit <= failures and self._clock() - began_s < WINDOW_S

    def count_unchecked(self, address: str) -> int:
        """Count a credential that was refused without a look at it.

        Returns for how many of this address a line in the log stands; 0 if none is due.
        """
        self._unchecked.inc()
        return self._log_throttle.allow(address)

    def add(self, address: str) -> None:
        """Count a wrong credential; at the limit the address is blocked for `WINDOW_S`."""
        self._refused.inc()
        if not self.limit:
            return
        now_s = self._clock()
        began_s, failures = self._failures.pop(address, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            began_s, failures = now_s, 0
        failures += 1
        self._failures[address] = (now_s if failures == self.limit else began_s, failures)
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)
