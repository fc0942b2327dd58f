"""Accounts of devices at the embedded broker, in the file format of mosquitto.

The file begins with a comment that has the version of what Hermes writes. One account is one line,
``user:$7$iterations$salt$hash`` (mosquitto_passwd(1)). The accounts are stored nowhere else.
The user name is ``tenant/device``, percent-encoded except for letters, digits and ``-._~``. So an id cannot end a line,
begin a comment or move the slash, and each user name is exactly one account.
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

from hermes.errors import AccountError
from hermes.ids import DeviceId, TenantId
from hermes.settings import private_file

FILE_NAME = "device-passwords"
LOCK_NAME = ".device-passwords.lock"
USER_MAX_BYTES = 1_024
VERSION = 1  # a file without the comment is older
HEADER = "# device accounts of Hermes, version {}\n"

# Without 0, O, 1, l and I: passwords are typed into devices. 24 characters are 139 random bits.
PASSWORD_CHARS = "23456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
PASSWORD_LENGTH = 24
# As mosquitto_passwd. 139 bits cannot be guessed however fast the hash is, and mosquitto computes it, in its only
# thread, at every connect and for every connected device at every reload (0.06 ms each: 0.6 s for 10,000 devices).
ITERATIONS = 101
SALT_BYTES = 12  # mosquitto accepts no other length

_HEADER = re.compile(r"# device accounts of Hermes, version ([0-9]{1,9})")
_HASH = re.compile(r"\$(?:7\$[1-9][0-9]{0,8}|6)\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==", re.ASCII)


class Account(NamedTuple):
    """An account: the tenant and the device that it belongs to."""

    tenant_id: TenantId
    device_id: DeviceId

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.device_id}"

    @property
    def user(self) -> str:
        """The MQTT user name."""
        return f"{quote(self.tenant_id, safe='')}/{quote(self.device_id, safe='/')}"


def parse_account(text: str) -> Account:
    """Return the account of ``TENANT/DEVICE``.

    The device id may contain further slashes. Raises `AccountError`: which id is not allowed, and why.
    """
    tenant_id, _, device_id = text.partition("/")
    if not tenant_id or not device_id:
        raise AccountError(f"{text!r} is not a device: write TENANT/DEVICE, as in acme/climate-01")
    for name, value in (("tenant", tenant_id), ("device", device_id)):
        if re.search(r"[+#]", value):
            raise AccountError(f"the {name} {value!r} contains + or #, the wildcards of MQTT: it cannot be in a topic")
        if not value.isprintable() or value != value.strip():
            raise AccountError(
                f"the {name} {value!r} begins or ends with a space, or contains a character that cannot be printed"
            )
    account = Account(TenantId(tenant_id), DeviceId(device_id))
    if len(account.user) > USER_MAX_BYTES:
        raise AccountError(
            f"the user name of the ids has {len(account.user)} bytes; at most {USER_MAX_BYTES} are allowed"
        )
    return account


def account_of(user: str) -> Account:
    """Return the account of an MQTT user name.

    Raises `AccountError` if it is not the user name of a device.
    """
    tenant_id, _, device_id = user.partition("/")
    try:
        account = parse_account(f"{unquote(tenant_id, errors='strict')}/{unquote(device_id, errors='strict')}")
    except (UnicodeDecodeError, AccountError):
        account = None
    if account is None or account.user != user:
        raise AccountError(f"{user!r} is not the user name of a device")
    return account


def hashed(password: str) -> str:
    """Return the password as mosquitto stores it: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def new_password() -> str:
    """Return a random password."""
    return "".join(secrets.choice(PASSWORD_CHARS) for _ in range(PASSWORD_LENGTH))


def parse_lines(text: str) -> dict[Account, str]:
    """Return accounts and their hashes; skip blank lines and ``# comments``.

    Raises `AccountError`.
    """
    found: dict[Account, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        user, _, stored = line.partition(":")
        account = _account_in(number, user)
        if not _HASH.fullmatch(stored):
            raise AccountError(f"line {number}: not a password hash as mosquitto_passwd writes it")
        if account in found:
            raise AccountError(f"line {number}: a second line for {user}")
        found[account] = stored
    return found


def lines_of(hashes: Mapping[str, str]) -> str:
    """Return a password file for these users."""
    return "".join(f"{user}:{stored}\n" for user, stored in hashes.items())


class AccountsFile:
    """The accounts in a folder.

    Readers always see a complete file, and writers wait for each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME

    def read(self) -> dict[Account, str]:
        """Return all accounts and their hashes; none if the file is missing.

        Raises `AccountError`, and `ConfigError` if a newer Hermes wrote the file.
        """
        try:
            text = self.path.read_bytes().decode()
            if (header := _HEADER.match(text)) is not None:
                private_file.check_version(self.path, int(header[1]), known=VERSION)
            return parse_lines(text)
        except FileNotFoundError:
            return {}
        except AccountError as error:
            raise AccountError(f"{self.path}, {error}; fix or delete it") from None
        except UnicodeDecodeError:
            raise AccountError(f"{self.path} is not UTF-8 text; fix or delete it") from None
        except OSError as error:
            raise AccountError(f"cannot read {self.path}: {error.strerror}; {advice(error)}") from None

    def add(self, account: Account) -> str:
        """Create an account; return its password, which is stored nowhere.

        Raises `AccountError` if the account exists.
        """
        password = new_password()
        with self._changing() as accounts:
            if account in accounts:
                raise AccountError(f"{account} already has an account; for a new password remove it and add it again")
            accounts[account] = hashed(password)
        return password

    def remove(self, account: Account) -> None:
        """Delete an account. Raises `AccountError` if there is none."""
        with self._changing() as accounts:
            if accounts.pop(account, None) is None:
                raise AccountError(f"{account} has no account in {self.path}")

    def ensure_folder(self) -> None:
        """Create the folder if it is missing, with the owner of the folder above it.

        Raises `AccountError`.
        """
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
                if os.geteuid() == 0:
                    owner = self.folder.parent.stat()
                    os.chown(self.folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
        except OSError as error:
            raise AccountError(f"cannot create {self.folder}: {error.strerror}; {advice(error)}") from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[Account, str]]:
        """Yield the accounts for a change; write them unless an exception is raised."""
        self.ensure_folder()
        try:
            lock_path = self.folder / LOCK_NAME
            with private_file.opened(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as lock:
                private_file.give_to_owner_of(self.folder, lock)
                fcntl.flock(lock, fcntl.LOCK_EX)
                private_file.remove_drafts(self.path)
                accounts = self.read()
                yield accounts
                users = {account.user: stored for account, stored in sorted(accounts.items())}
                private_file.write(self.path, HEADER.format(VERSION) + lines_of(users))
        except OSError as error:
            raise AccountError(f"cannot write {self.path}: {error.strerror}; {advice(error)}") from None


def advice(error: OSError) -> str:
    """Return what to do if the folder cannot be used."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "run this as root or as the user of Hermes, or choose another folder: --broker-state-dir"
    return "fix that, or choose another folder: --broker-state-dir"


def _account_in(number: int, user: str) -> Account:
    try:
        return account_of(user)
    except AccountError as error:
        raise AccountError(f"line {number}: {error}") from None
