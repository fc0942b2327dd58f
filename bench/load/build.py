"""The load clients that Python would be too slow for: C programs, compiled when they are first needed."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from bench.processes import CHECKOUT, BenchError

FOLDER = CHECKOUT / "build" / "bench"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


def compiled(source: Path) -> Path:
    """The program of this one C file; compiled again when source or flags have changed.

    Raises `BenchError` if there is no C compiler, or if it refuses.
    """
    digest = hashlib.sha256(source.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
    program = FOLDER / f"{source.stem}-{digest}"
    if not program.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        _compile(source, program)
    return program


def _compile(source: Path, program: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BenchError(f"{source.name} needs a C compiler; on Debian: apt-get install gcc libc6-dev")
    unfinished = program.with_name(f"{program.name}.{os.getpid()}")  # two may build at once
    try:
        done = subprocess.run(
            [compiler, *FLAGS, "-o", str(unfinished), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{source.name} does not compile:\n{done.stderr}")
        unfinished.rename(program)
    finally:
        unfinished.unlink(missing_ok=True)
