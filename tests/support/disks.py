"""Small disks of their own, which a test fills or makes read-only."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import needs

HANGING = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd) {
    const char *hangs = getenv("HANGS");
    while (hangs && access(hangs, F_OK) == 0)
        usleep(10000);
    return (int)syscall(SYS_fdatasync, fd);
}
"""
CHUNK = b"\0" * 65_536


@dataclass(frozen=True)
class Disk:
    """A mounted file system."""

    folder: Path

    def fill(self) -> None:
        """Write until no byte is left."""
        for size in (len(CHUNK), 1):
            with contextlib.suppress(OSError), (self.folder / "filler").open("ab", buffering=0) as file:
                while True:
                    file.write(CHUNK[:size])

    def leave(self, size: int) -> None:
        """Write until this many bytes are left."""
        with (self.folder / "filler").open("wb") as file:
            file.write(bytes(shutil.disk_usage(self.folder).free - size))

    def empty(self) -> None:
        """Remove what `fill` has written."""
        (self.folder / "filler").unlink()

    def make_read_only(self) -> None:
        """Let every write fail from now on, as ext4 does after an error of the disk."""
        _mount("-o", "remount,abort", str(self.folder))

    def read_only(self) -> None:
        """Mount it read-only, before a file is open."""
        _mount("-o", "remount,ro", str(self.folder))


def hanging_disk(folder: Path) -> Path:
    """Return a library for ``LD_PRELOAD``: a sync of the disk waits while the file of the variable ``HANGS`` exists."""
    source, library = folder / "hanging.c", folder / "hanging.so"
    source.write_text(HANGING)
    subprocess.run([needs("gcc"), "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


@contextlib.contextmanager
def memory_disk(folder: Path, size: str) -> Iterator[Disk]:
    """Mount a tmpfs of this size; skip the test if this process may not."""
    with _mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder=folder) as disk:
        yield disk


@contextlib.contextmanager
def database_disk(size: str) -> Iterator[Disk]:
    """Mount a tmpfs for a PostgreSQL server: it runs as a user who may not enter the folder of a test."""
    folder = Path(tempfile.mkdtemp(prefix="hermes-disk-"))
    folder.chmod(0o755)
    try:
        with memory_disk(folder / "disk", size) as disk:
            disk.folder.chmod(0o755)
            yield disk
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def file_disk(folder: Path, image: Path, size: int) -> Iterator[Disk]:
    """Mount an ext4 file system in a file of this many bytes; skip the test if this process may not."""
    image.touch()
    os.truncate(image, size)
    subprocess.run([needs("mkfs.ext4"), "-q", "-m", "0", str(image)], check=True)
    with _mounted("-o", "loop,errors=remount-ro", str(image), folder=folder) as disk:
        yield disk


@contextlib.contextmanager
def _mounted(*arguments: str, folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    if os.geteuid():
        pytest.skip("only root can mount a file system")
    made = subprocess.run([needs("mount"), *arguments, str(folder)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a file system cannot be mounted here: {made.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run([needs("umount"), "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run([needs("mount"), *arguments], check=True)
