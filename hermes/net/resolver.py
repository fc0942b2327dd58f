"""Resolve host names, with a time limit.

``getaddrinfo`` has none, and a resolver that does not answer takes a minute or more. asyncio runs it in a small pool of
threads that other work needs too, and waits for them when the process ends. Here each name has at most one thread, of
its own, for which nothing waits.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading

RESOLVE_TIMEOUT_S = 2.0

_Found = list[str] | OSError


class Resolver:
    """The names that are being resolved."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, int], asyncio.Future[_Found]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, an address unchanged.

        A name that is still being resolved for an earlier call is not asked for again. Raises OSError, and
        UnicodeError for a text that is no name.
        """
        if _is_address(host):
            return [host]
        key = (host, port)
        pending = self._pending.get(key)
        if pending is None:
            pending = asyncio.get_running_loop().create_future()
            arguments = (key, host.encode("ascii" if host.isascii() else "idna"), pending)
            threading.Thread(target=self._resolve, args=arguments, name="hermes-resolver", daemon=True).start()
            self._pending[key] = pending
        done, _ = await asyncio.wait((pending,), timeout=RESOLVE_TIMEOUT_S)
        if not done:
            raise OSError(f"the name {host} is not resolved within {RESOLVE_TIMEOUT_S:g} s")
        found = pending.result()
        if isinstance(found, OSError):
            raise OSError(f"the name {host} cannot be resolved: {found.strerror or found}")
        return found

    def _resolve(self, key: tuple[str, int], name: bytes, pending: "asyncio.Future[_Found]") -> None:
        """Run in a thread."""
        found: _Found
        try:
            answers = socket.getaddrinfo(name, key[1], proto=socket.IPPROTO_TCP, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(address[0]) for *_, address in answers))
        except OSError as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: no request waits
            pending.get_loop().call_soon_threadsafe(self._end, key, pending, found)

    def _end(self, key: tuple[str, int], pending: "asyncio.Future[_Found]", found: _Found) -> None:
        del self._pending[key]
        pending.set_result(found)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
