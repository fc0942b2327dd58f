"""What the kernel knows about a process."""

import os
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of all its threads, in steps of 10 ms (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Return its resident memory; what the kernel holds for its sockets is not in it."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """Return how many file descriptors it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
