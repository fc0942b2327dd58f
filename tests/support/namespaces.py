"""A network of its own: a namespace with nothing but a loopback interface, and a firewall that drops packets."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import needs

CLONE_NEWNET = 0x4000_0000  # sched.h; os.setns exists since Python 3.12
DROP = """
table inet hermes {
  chain input { type filter hook input priority 0; tcp sport PORT drop; tcp dport PORT drop; }
}
"""
LINKS = """
table ip hermes_links
delete table ip hermes_links
table ip hermes_links {
  chain input {
    type filter hook input priority 0;
RULES
  }
}
"""
TCP_TIME_WAIT = 6  # as /proc/net/tcp writes the state, in hexadecimal


@dataclass(frozen=True)
class Namespace:
    """A network namespace; sockets that a thread creates within `entered` stay in it."""

    name: str

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Move this thread into the namespace until the end of the block."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as here:
            _set_namespace(here.fileno())
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    def drop(self, port: int) -> None:
        """Drop every packet from and to this TCP port from now on, without an answer to its sender."""
        rules = DROP.replace("PORT", str(port))
        subprocess.run([*self._inside, needs("nft"), "-f", "-"], input=rules, check=True, text=True)

    def drop_links(self, *, to: Collection[str] = (), back: Collection[str] = ()) -> None:
        """Drop every packet to the IPv4 addresses ``to`` and from the addresses ``back``, and no others, from now on.

        All of 127.0.0.0/8 is local. So a server that listens on every address can have one for each of its clients, and
        the link between the two is cut by it; a client has the address 127.0.0.1.
        """
        rules = [
            *(f"    ip daddr {address} drop" for address in to),
            *(f"    ip saddr {address} drop" for address in back),
        ]
        subprocess.run(
            [*self._inside, needs("nft"), "-f", "-"],
            input=LINKS.replace("RULES", "\n".join(rules)),
            check=True,
            text=True,
        )

    def connections(self, port: int) -> int:
        """Return how many connections to clients at this port the kernel has, also those that no program has open."""
        found = 0
        with self.entered():
            lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        for line in lines:
            remote, state = line.split()[2:4]
            found += int(remote.rpartition(":")[2], 16) == port and int(state, 16) != TCP_TIME_WAIT
        return found

    @property
    def _inside(self) -> list[str]:
        return [needs("ip"), "netns", "exec", self.name]


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """Create a namespace and delete it at the end; skip the test if this process may not."""
    ip, name = needs("ip"), f"hermes-test-{os.getpid()}"
    needs("nft")
    created = subprocess.run([ip, "netns", "add", name], capture_output=True, text=True, check=False)
    if created.returncode:
        pytest.skip(f"only root with CAP_SYS_ADMIN can create a network namespace: {created.stderr.strip()}")
    try:
        subprocess.run([ip, "-n", name, "link", "set", "lo", "up"], check=True)
        yield Namespace(name)
    finally:
        subprocess.run([ip, "netns", "delete", name], check=True)
