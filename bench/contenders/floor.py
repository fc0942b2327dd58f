"""The floor: a C program that does one ``send()`` per message and socket, and nothing else."""

from contextlib import AbstractContextManager
from pathlib import Path

from bench.contenders import Broadcaster, line_broadcaster
from bench.load.build import compiled

SOURCE = Path(__file__).with_suffix(".c")


def floor() -> AbstractContextManager[Broadcaster]:
    """Compile it if needed, start it, stop it at the end."""
    return line_broadcaster("floor", [str(compiled(SOURCE))])
