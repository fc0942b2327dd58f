"""The certificate that new connections get, read again when its files change."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from hermes.metrics import Metrics
from hermes.settings.tls import ServerCertificate, certificate_expiry, file_stamp
from hermes.web.tls.tls_socket import TlsSocket

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 3_600.0  # a renewal that no reload followed is used within an hour
WARN_BEFORE_S = 14 * 86_400  # Let's Encrypt is renewed 30 days before the end: something is wrong by then
DAY_S = 86_400.0

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class LoadedCertificate:
    """A certificate, its context, and the state of its files before they were read."""

    files: ServerCertificate
    context: ssl.SSLContext
    stamp: Stamp


def load_certificate(files: ServerCertificate) -> LoadedCertificate:
    """Read a certificate and its key.

    Raises ValueError that names the files and their problem.
    """
    stamp = _stamp(files)
    context = files.context()
    context.sslsocket_class = TlsSocket
    return LoadedCertificate(files, context, stamp)


class CurrentCertificate:
    """The certificate of new connections; open ones keep theirs.

    ``clock`` gives Unix seconds.
    """

    def __init__(self, loaded: LoadedCertificate, *, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._expires = metrics.certificate_expires.labels("tls")
        self._clock = clock
        self._warned_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.install(loaded)

    @property
    def context(self) -> ssl.SSLContext:
        """The context of the next connection."""
        return self._loaded.context

    def install(self, loaded: LoadedCertificate) -> None:
        """Use this certificate from now on."""
        self._loaded = loaded
        self._seen = loaded.stamp
        self._look_at_expiry()

    def start(self) -> None:
        """Look at the files every hour; call it on the event loop."""
        self._timer = asyncio.get_running_loop().call_later(LOOK_INTERVAL_S, self._look_again)

    def stop(self) -> None:
        """Look no more; may be repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self.start()
        self.look()

    def look(self) -> None:
        """Use the files if they have changed; if they cannot be used, keep what there is."""
        files = self._loaded.files
        stamp = _stamp(files)
        if stamp == self._seen:
            self._look_at_expiry()
            return
        self._seen = stamp  # also of files that cannot be used: one line for each change
        try:
            self.install(load_certificate(files))
        except ValueError as error:
            logger.error("new connections still get the previous certificate: %s", error)
            self._look_at_expiry()
        else:
            logger.info("new connections get the changed certificate %s", files.cert_file)

    def _look_at_expiry(self) -> None:
        expires_s = certificate_expiry(self._loaded.files.cert_file)
        if expires_s is None or self._seen != self._loaded.stamp:  # the file is not what connections get
            return
        self._expires.set(expires_s)
        now_s = self._clock()
        due = self._warned_s is None or now_s - self._warned_s >= DAY_S
        if expires_s - now_s < WARN_BEFORE_S and due:
            self._warned_s = now_s
            days = (expires_s - now_s) / DAY_S
            when = f"expires in {days:.0f} days" if days > 0 else "has expired"
            logger.warning("the certificate %s %s: renew it", self._loaded.files.cert_file, when)


def _stamp(files: ServerCertificate) -> Stamp:
    return file_stamp(files.cert_file), file_stamp(files.key_file)
