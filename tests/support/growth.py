"""How the cost of a function grows with its input, without a verdict that depends on the machine's speed."""

import time
from collections.abc import Callable

FACTOR = 8
LINEAR_MAX = 24.0  # a linear function takes 8 times as long for an input 8 times as large, a quadratic one 64 times
RUNS = 5
ROUNDS = 5


def growth(run: Callable[[int], object], size: int) -> float:
    """Return how many times the CPU time grows when the input grows 8 times, from ``size`` to ``8 * size``.

    The time is that of this thread alone (time.thread_time), and the least of several runs, so that other work on the
    machine does not count. It also slows down what this thread does, so a growth that is too large is measured again:
    more than linear work grows too much each time. ``run(n)`` handles an input of n units; n = ``size`` takes at least
    0.1 ms.
    """
    least = float("inf")
    for _ in range(ROUNDS):
        small, large = (min(_cpu_s(run, n) for _ in range(RUNS)) for n in (size, FACTOR * size))
        least = min(least, large / max(small, 1e-6))
        if least < LINEAR_MAX:
            break
    return least


def _cpu_s(run: Callable[[int], object], size: int) -> float:
    began_s = time.thread_time()
    run(size)
    return time.thread_time() - began_s
