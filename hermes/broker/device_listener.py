"""What the embedded broker needs to let real devices in: its second listener, passwords, access rules, certificate.

The accounts' file and the certificate are looked at once a second; what mosquitto reads is derived from them.
"""

import json
import logging
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from hermes import private_file
from hermes.broker.accounts import Account, AccountsFile, hashed, lines_of
from hermes.broker.acl import AclBuilder
from hermes.errors import AccountError, BrokerUnavailable
from hermes.metrics import Metrics
from hermes.settings.broker import BrokerListen
from hermes.topics.topic_map import TopicMap

logger = logging.getLogger(__name__)

HERMES, SIMULATOR = "hermes", "hermes-simulator"  # no device is called so: its name has a slash
NOTE_NAME = "broker.json"

Stamp = tuple[tuple[int, int, int] | None, ...]


class DeviceListener:
    """Passwords, access rules and certificate as mosquitto is to read them. `look` brings them up to date."""

    def __init__(self, listen: BrokerListen, *, topics: Sequence[str], metrics: Metrics) -> None:
        self.listen = listen
        self.password = secrets.token_urlsafe()  # Hermes' own, another one at each start
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
        self._complained: set[str] = set()

    def open(self) -> None:
        """Make the folder, say there what `hermes device` is to know, and look for the first time.

        A note that cannot be written, as on a full disk, keeps nobody out. Raises `BrokerUnavailable`: an address or
        a file that cannot be used, and what to mend.
        """
        note = {"listen": str(self.listen), "tls": self.listen.encrypted, "topics": self._topics}
        try:
            self._file.ensure_folder()
            private_file.write(self.listen.folder / NOTE_NAME, json.dumps(note, ensure_ascii=False, indent=1) + "\n")
        except AccountError as fault:
            raise BrokerUnavailable(str(fault)) from None
        except OSError as error:
            logger.warning(
                "cannot write %s: %s; hermes device may judge by older templates",
                self.listen.folder / NOTE_NAME,
                error.strerror,
            )
        self.check()

    def check(self) -> int:
        """Look without writing anything: how many accounts there are. Raises `BrokerUnavailable` as `open`."""
        self._stamp = self._stamps()
        try:
            bind_once(self.listen.address, self.listen.port)
        except OSError as error:
            raise BrokerUnavailable(f"cannot listen on {self.listen}: {error.strerror}; see --broker-listen") from None
        try:
            self._read_certificate()
            return self._read_accounts()
        except (AccountError, ValueError) as fault:
            raise BrokerUnavailable(str(fault)) from None

    def look(self) -> bool:
        """Whether there is something new for mosquitto to read. What cannot be read leaves all as it was."""
        stamp = self._stamps()
        if stamp == self._stamp:
            return False
        before = (self.passwords, self.rules, self.certificate, self.key)
        self._stamp = stamp
        for read in (self._read_accounts, self._read_certificate):
            try:
                read()
            except (AccountError, ValueError) as fault:
                logger.warning("what devices may do stays as it was: %s", fault)
        return before != (self.passwords, self.rules, self.certificate, self.key)

    def _stamps(self) -> Stamp:
        """What changes when a file does."""
        paths = (self._file.path, self.listen.cert_file, self.listen.key_file)
        return tuple(_stamp(path) for path in paths if path is not None)

    def _read_accounts(self) -> int:
        accounts = self._file.read()
        for account in accounts:
            self._complain(account)
        users = self._own | {account.user: kept for account, kept in accounts.items()}
        self.passwords = lines_of(users).encode()
        self.rules = self._access.text(accounts, unrestricted=self._own).encode()
        self._metrics.device_accounts.set(len(accounts))
        return len(accounts)

    def _complain(self, account: Account) -> None:
        """Once of each account that may publish nothing."""
        try:
            self._access.filters(account)
        except AccountError as fault:
            if account.user not in self._complained:
                self._complained.add(account.user)
                logger.warning("a device may publish nothing: %s", fault)

    def _read_certificate(self) -> None:
        if self.listen.encrypted:
            self.certificate, self.key = self.listen.certificate()


def bind_once(address: str, port: int) -> None:
    """Raises OSError where nobody can listen there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mosquitto does: TIME_WAIT is no obstacle
        if ":" in address:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((address, port))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
