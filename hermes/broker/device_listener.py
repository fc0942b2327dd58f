"""Listener of the embedded broker for devices: passwords, rules, certificate.

The file of the accounts and the certificate are checked once a second; the files that mosquitto reads are derived from
them.
"""

import json
import logging
import secrets
import socket
from collections.abc import Sequence

from hermes.broker.accounts import Account, AccountsFile, hashed, lines_of
from hermes.broker.acl import AclBuilder
from hermes.broker.certificate import read_certificate
from hermes.errors import AccountError, BrokerUnavailable, ConfigError
from hermes.log import LogThrottle
from hermes.metrics import Metrics
from hermes.settings import private_file
from hermes.settings.broker import BrokerListen
from hermes.settings.tls import file_stamp
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

HERMES, SIMULATOR = "hermes", "hermes-simulator"  # never the user name of a device: that contains a slash
NOTE_NAME = "broker.json"
NOTE_VERSION = 1

Stamp = tuple[tuple[int, int, int] | None, ...]


class DeviceListener:
    """Passwords, rules and certificate as mosquitto reads them; see `refresh`."""

    def __init__(self, listen: BrokerListen, *, topics: Sequence[str], metrics: Metrics) -> None:
        self.listen = listen
        self.password = secrets.token_urlsafe()  # of Hermes itself, a new one at each start
        self.passwords = b""
        self.rules = b""
        self.certificate = b""
        self.key = b""
        self._topics = tuple(topics)
        self._metrics = metrics
        self._file = AccountsFile(listen.folder)
        self._access = AclBuilder(TopicMap(topics))
        self._own = {user: hashed(self.password) for user in (HERMES, SIMULATOR)}
        self._stamp: Stamp = ()
        self._log_throttle = LogThrottle()

    def open(self) -> None:
        """Create the folder and the note for ``hermes device``; read all files.

        A note that cannot be written, as on a full disk, is only logged. Raises `BrokerUnavailable`: the address or
        the file that cannot be used, and what to do.
        """
        try:
            self._file.ensure_folder()
        except AccountError as error:
            raise BrokerUnavailable(str(error)) from None
        self.check()
        note = {
            "version": NOTE_VERSION,
            "listen": str(self.listen),
            "tls": self.listen.encrypted,
            "topics": self._topics,
        }
        path = self.listen.folder / NOTE_NAME
        try:
            private_file.write(path, json.dumps(note, ensure_ascii=False, indent=1) + "\n")
        except OSError as error:
            logger.warning("cannot write %s: %s; hermes device may use older templates", path, error.strerror)

    def check(self) -> int:
        """Read all files without writing; return the number of accounts.

        Raises `BrokerUnavailable` as `open`, and `ConfigError` if a newer Hermes wrote the accounts.
        """
        self._stamp = self._stamps()
        try:
            bind_once(self.listen.address, self.listen.port)
        except OSError as error:
            raise BrokerUnavailable(f"cannot listen on {self.listen}: {error.strerror}; see --broker-listen") from None
        try:
            self._read_certificate()
            return self._read_accounts()
        except (AccountError, ValueError) as error:
            raise BrokerUnavailable(str(error)) from None

    def refresh(self) -> bool:
        """Read changed files; return whether mosquitto must reload.

        An unreadable file changes nothing.
        """
        stamp = self._stamps()
        if stamp == self._stamp:
            return False
        before = (self.passwords, self.rules, self.certificate, self.key)
        self._stamp = stamp
        for read in (self._read_accounts, self._read_certificate):
            try:
                read()
            except (AccountError, ConfigError, ValueError) as error:
                logger.warning("accounts or certificate unchanged: %s", error)
        return before != (self.passwords, self.rules, self.certificate, self.key)

    def _stamps(self) -> Stamp:
        """Return values that change whenever a file changes."""
        paths = (self._file.path, self.listen.cert_file, self.listen.key_file)
        return tuple(file_stamp(path) for path in paths if path is not None)

    def _read_accounts(self) -> int:
        accounts = self._file.read()
        for account in accounts:
            self._report_without_topics(account)
        users = self._own | {account.user: stored for account, stored in accounts.items()}
        self.passwords = lines_of(users).encode()
        self.rules = self._access.text(accounts, unrestricted=self._own).encode()
        self._metrics.device_accounts.set(len(accounts))
        return len(accounts)

    def _report_without_topics(self, account: Account) -> None:
        """Log an account that may publish nothing, once."""
        try:
            self._access.filters(account)
        except AccountError as error:
            if self._log_throttle.allow(account.user):
                logger.warning("device account %s may not publish: %s", account.user, error)

    def _read_certificate(self) -> None:
        if self.listen.encrypted:
            self.certificate, self.key = read_certificate(self.listen)


def bind_once(address: str, port: int) -> None:
    """Bind a socket there and close it. Raises OSError if that is impossible."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mosquitto does: TIME_WAIT does not matter
        if ":" in address:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((address, port))
