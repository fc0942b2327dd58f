"""A TLS connection that is used like a non-blocking TCP socket."""

import contextlib
import ssl
from typing import Any


class TlsSocket(ssl.SSLSocket):
    """An encrypted socket with the exceptions and the end of a plain one.

    ``handshake_s`` are the seconds that its handshake held the event loop. A record has at most 16 KiB: if `recv` asks
    for as much or more, nothing stays in OpenSSL's buffer, so that the event loop reports whatever is left.
    """

    handshake_s = 0.0

    def recv(self, buflen: int = 16_384, flags: int = 0) -> bytes:
        """Return decrypted bytes; raises BlockingIOError if none have arrived."""
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: Any, flags: int = 0) -> int:
        """Encrypt and send; raises BlockingIOError if the kernel takes nothing.

        After that error the next call must begin with the same bytes.
        """
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """End the sending side of TLS and of TCP.

        What arrives afterwards is not decrypted: it is only read to be thrown away.
        """
        self._say_goodbye()
        super().shutdown(how)

    def close(self) -> None:
        """Close the connection.

        A client that reads to the end can tell that the end is genuine.
        """
        if self.fileno() != -1:
            self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        """Send close_notify (RFC 8446 §6.1) if that is possible without waiting."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: it was sent before
            self.unwrap()
