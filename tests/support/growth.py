"""How the cost of a function grows with its input, without a verdict that depends on the machine's speed."""

import time
from collections.abc import Callable

FACTOR = 8
LINEAR_MAX = 24.0  # a linear function takes 8 times as long for an input 8 times as large, a quadratic one 64 times
RUNS = 5
ROUNDS = 8


def growth(run: Callable[[int], object], size: int, limit: float = LINEAR_MAX) -> float:
    """Return how many times the CPU time grows when the input grows 8 times, from ``size`` to ``8 * size``.

    The time is that of this thread alone (time.thread_time): that of other programs does not count, but they slow down
    this thread too. So a growth of ``limit`` or more is measured again, after longer and longer pauses: what grows too
    much does so each time. For the small input it is the least of several runs: a first run that is slow would hide a
    growth. ``run(n)`` handles an input of n units; n = ``size`` takes at least 0.1 ms.
    """
    least = float("inf")
    for again in range(ROUNDS):
        small = min(_cpu_s(run, size) for _ in range(RUNS))
        least = min(least, _cpu_s(run, FACTOR * size) / max(small, 1e-6))
        if least < limit:
            break
        time.sleep(0.01 * 2**again)
    return least


def _cpu_s(run: Callable[[int], object], size: int) -> float:
    began_s = time.thread_time()
    run(size)
    return time.thread_time() - began_s
