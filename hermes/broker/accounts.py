"""Device accounts: who may publish to the embedded broker, kept as a file that mosquitto itself could read.

One account is one line, ``user:$7$iterations$salt$hash`` (mosquitto_passwd(1)); the file is the only place where
accounts are. The user's name is ``tenant/device``, percent-encoded wherever it is not letters, digits or ``-._~``: so
no id can end a line, begin a comment or divide a name otherwise, and each name reads back as exactly one account.
"""

import base64
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from hermes import private_file
from hermes.errors import AccountError
from hermes.ids import DeviceId, TenantId

FILE_NAME = "device-passwords"
LOCK_NAME = ".device-passwords.lock"
USER_MAX_BYTES = 1_024

# Without 0 and O, 1 and l and I: passwords are typed into devices. 24 of them are 139 random bits.
PASSWORD_SIGNS = "23456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
PASSWORD_LENGTH = 24
# As mosquitto_passwd: nobody guesses 139 bits however fast the hash is, and mosquitto computes it, in its one thread,
# at every connect and for every connected device at every reload (0.06 ms each: 10,000 devices stop it for 0.6 s).
ITERATIONS = 101
SALT_BYTES = 12  # mosquitto takes no other length

_HASH = re.compile(r"\$(?:7\$[1-9][0-9]{0,8}|6)\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==", re.ASCII)


class Account(NamedTuple):
    """Whose account it is."""

    tenant_id: TenantId
    device_id: DeviceId

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.device_id}"

    @property
    def user(self) -> str:
        """The MQTT user name."""
        return f"{quote(self.tenant_id, safe='')}/{quote(self.device_id, safe='/')}"


def parse_account(text: str) -> Account:
    """The account that ``TENANT/DEVICE`` means; the device's id may hold further slashes.

    Raises `AccountError`: what is not allowed in ids here, and why.
    """
    tenant_id, _, device_id = text.partition("/")
    if not tenant_id or not device_id:
        raise AccountError(f"{text!r} is no device: write TENANT/DEVICE, as in acme/climate-01")
    for name, value in (("tenant", tenant_id), ("device", device_id)):
        if re.search(r"[+#]", value):
            raise AccountError(f"the {name} {value!r} holds + or #, the wildcards of MQTT: it cannot be in a topic")
        if not value.isprintable() or value != value.strip():
            raise AccountError(f"the {name} {value!r} begins or ends with a space, or holds what cannot be printed")
    account = Account(TenantId(tenant_id), DeviceId(device_id))
    if len(account.user) > USER_MAX_BYTES:
        raise AccountError(f"the ids take {len(account.user)} bytes as a user name; {USER_MAX_BYTES} are allowed")
    return account


def account_of(user: str) -> Account:
    """The account of an MQTT user name. Raises `AccountError` where it is none."""
    tenant_id, _, device_id = user.partition("/")
    try:
        account = parse_account(f"{unquote(tenant_id, errors='strict')}/{unquote(device_id, errors='strict')}")
    except (UnicodeDecodeError, AccountError):
        account = None
    if account is None or account.user != user:
        raise AccountError(f"{user!r} is no device's user name")
    return account


def hashed(password: str) -> str:
    """The password as mosquitto keeps it: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def new_password() -> str:
    """A password that nobody guesses."""
    return "".join(secrets.choice(PASSWORD_SIGNS) for _ in range(PASSWORD_LENGTH))


def parse_lines(text: str) -> dict[Account, str]:
    """The accounts and their hashes; blank lines and ``# comments`` do not count. Raises `AccountError`."""
    found: dict[Account, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        user, _, kept = line.partition(":")
        account = _account_in(number, user)
        if not _HASH.fullmatch(kept):
            raise AccountError(f"line {number}: no password hash as mosquitto_passwd writes it")
        if account in found:
            raise AccountError(f"line {number}: {user} a second time")
        found[account] = kept
    return found


def lines_of(hashes: Mapping[str, str]) -> str:
    """A password file for these users."""
    return "".join(f"{user}:{kept}\n" for user, kept in hashes.items())


class AccountsFile:
    """The accounts in a folder. Whoever reads sees a whole file, and two writers at once wait for each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME

    def read(self) -> dict[Account, str]:
        """All accounts and their hashes; none where there is no file. Raises `AccountError`."""
        try:
            return parse_lines(self.path.read_bytes().decode())
        except FileNotFoundError:
            return {}
        except AccountError as fault:
            raise AccountError(f"{self.path}, {fault}; mend or delete it") from None
        except UnicodeDecodeError:
            raise AccountError(f"{self.path} is not UTF-8 text; mend or delete it") from None
        except OSError as error:
            raise AccountError(f"cannot read {self.path}: {error.strerror}; {advice(error)}") from None

    def add(self, account: Account) -> str:
        """A new account; its password, which nobody can tell again. Raises `AccountError` where it exists."""
        password = new_password()
        with self._changing() as accounts:
            if account in accounts:
                raise AccountError(f"{account} has an account; for a new password remove it and add it again")
            accounts[account] = hashed(password)
        return password

    def remove(self, account: Account) -> None:
        """End an account. Raises `AccountError` where there is none."""
        with self._changing() as accounts:
            if accounts.pop(account, None) is None:
                raise AccountError(f"{account} has no account in {self.path}")

    def ensure_folder(self) -> None:
        """Make the folder if it is missing; it belongs to whom the folder above it belongs. Raises `AccountError`."""
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
                if os.geteuid() == 0:
                    owner = self.folder.parent.stat()
                    os.chown(self.folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
        except OSError as error:
            raise AccountError(f"cannot make {self.folder}: {error.strerror}; {advice(error)}") from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[Account, str]]:
        """The accounts, to be changed; written back where nothing is raised."""
        self.ensure_folder()
        try:
            lock_path = self.folder / LOCK_NAME
            with private_file.opened(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as lock:
                private_file.give_to_owner_of(self.folder, lock)
                fcntl.flock(lock, fcntl.LOCK_EX)
                private_file.remove_drafts(self.path)
                accounts = self.read()
                yield accounts
                users = {account.user: kept for account, kept in sorted(accounts.items())}
                private_file.write(self.path, lines_of(users))
        except OSError as error:
            raise AccountError(f"cannot write {self.path}: {error.strerror}; {advice(error)}") from None


def advice(error: OSError) -> str:
    """What to do where the folder cannot be used."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "run this as root or as the user that Hermes runs as, or name another folder: --broker-state-dir"
    return "mend that, or name another folder: --broker-state-dir"


def _account_in(number: int, user: str) -> Account:
    try:
        return account_of(user)
    except AccountError as fault:
        raise AccountError(f"line {number}: {fault}") from None
