"""``python -m tests.soak.traced_server FOLDER serve …``: a ``hermes`` that writes where its memory was allocated.

At each SIGUSR1 it writes a snapshot of tracemalloc into the folder, with the names ``1``, ``2`` and so on. At each
SIGUSR2 it gives memory back that it does not use.
"""

import ctypes
import gc
import itertools
import signal
import sys
import tracemalloc
from pathlib import Path

from hermes.cli.main import main

if __name__ == "__main__":
    folder, numbers = Path(sys.argv[1]), itertools.count(1)

    def write_snapshot(*_: object) -> None:
        """Write the next snapshot; its file appears when it is complete."""
        gc.collect()  # what only a cycle of references holds is not growth
        path = folder / str(next(numbers))
        tracemalloc.take_snapshot().dump(str(path.with_suffix(".part")))
        path.with_suffix(".part").rename(path)

    def give_back(*_: object) -> None:
        """Give free memory back to the system, as far as the C library can (malloc_trim of glibc)."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    signal.signal(signal.SIGUSR1, write_snapshot)
    signal.signal(signal.SIGUSR2, give_back)
    tracemalloc.start()
    sys.exit(main(sys.argv[2:]))
