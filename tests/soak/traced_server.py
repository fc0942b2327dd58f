"""``python -m tests.soak.traced_server FOLDER serve …``: a ``hermes`` that writes where its memory was allocated.

At each SIGUSR1 it writes a snapshot of tracemalloc into the folder, with the names ``1``, ``2`` and so on.
"""

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

    signal.signal(signal.SIGUSR1, write_snapshot)
    tracemalloc.start()
    sys.exit(main(sys.argv[2:]))
