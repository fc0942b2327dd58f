"""Messages to the service manager, as systemd's ``sd_notify(3)`` describes them."""

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Self

logger = logging.getLogger(__name__)


class NotifySocket:
    """The socket on which systemd waits for messages of a ``Type=notify`` service.

    ``watchdog_s`` is the time after which systemd ends a silent service (``WatchdogSec=``); None without it.
    Each message is one datagram. A message that cannot be sent is lost: nothing here may stop the service.
    """

    def __init__(self, path: str, *, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = f"\0{path[1:]}" if path.startswith("@") else path  # @ stands for an abstract socket
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self | None:
        """Return the socket of ``NOTIFY_SOCKET``; None if the service manager gave none.

        The variables are removed, because they are not for the programs that Hermes starts. ``WATCHDOG_PID`` may be the
        parent: of the one-file program, that is the process that unpacked it.
        """
        path = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        watchdog_pid = environment.pop("WATCHDOG_PID", "")
        if not path.startswith(("/", "@")):
            return None
        for_us = watchdog_us.isdigit() and watchdog_pid in ("", str(os.getpid()), str(os.getppid()))
        return cls(path, watchdog_s=int(watchdog_us) / 1e6 if for_us else None)

    def ready(self, status: str) -> None:
        """Report that the service is started, or has reloaded its settings."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Report one line for ``systemctl status``."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Report that the settings are being read again, until the next `ready`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that the service is about to end."""
        self._send("STOPPING=1", "STATUS=closing sockets")

    def feed_watchdog(self) -> None:
        """Report that the service works."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, *fields: str) -> None:
        text = "\n".join(" ".join(field.split("\n")) for field in fields)
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError as error:
            logger.debug("cannot send %s to the service manager: %s", fields[0], error)
