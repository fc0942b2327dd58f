"""The results of operations, and the failure of those that are late."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from hermes.inbox.inbox import InboxUnavailable


def set_result(
    future: "asyncio.Future[Any]", result: Any, error: Exception | None, then: Callable[[Any], None] | None
) -> None:
    """Give the future its result, after ``then`` got it, or the error.

    Nothing happens if its caller has left, or got an error before.
    """
    if future.done():
        return
    if error is None and then is not None:
        try:
            then(result)
        except Exception as failure:  # noqa: BLE001 - the caller gets it
            error = failure
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class Deadlines:
    """Futures in the order of their deadlines; one timer for all of them."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, asyncio.Future[Any], Callable[[], bool]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: "asyncio.Future[Any]", within_s: float, is_late: Callable[[], bool]) -> None:
        """Fail the future after this time if ``is_late`` returns True.

        With `InboxUnavailable` ``timeout``; otherwise it gets as much time again. The time is the same for all.
        """
        loop = future.get_loop()
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((loop.time() + within_s, future, is_late))
        if self._timer is not None and self._timer.when() > waiting[0][0]:
            self.stop()
        if self._timer is None:
            self._timer = loop.call_at(waiting[0][0], self._end_late, within_s)

    def _end_late(self, within_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= loop.time()):
            _deadline, future, is_late = self._waiting.popleft()
            if future.done():
                continue
            if is_late():
                future.set_exception(InboxUnavailable("timeout"))
            else:
                self._waiting.append((loop.time() + within_s, future, is_late))
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._end_late, within_s)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
