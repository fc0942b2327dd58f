"""API keys: who sends a request, and what this caller may do.

`parse_keys` reads the file of ``--api-key-file``; `ApiKeys` finds the caller of a request.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote

from hermes.ids import TenantId
from hermes.metrics import Counter, Metrics

KEY_MIN_CHARS = 16  # 80 bits in base 32: more than can be guessed at 100 failures in 10 s
KEY_FORM = "write KEY, or NAME KEY [SCOPE,…] [tenant=ID], separated by blanks"
MAKE_KEY = "make one with: openssl rand -hex 24"
NAME = re.compile(r"[A-Za-z0-9._-]{1,32}")
TENANT_FIELD = "tenant="
DIGEST_BYTES = 16
_INCOMPLETE_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Scope(StrEnum):
    """What an API key may do."""

    NOTIFY = "notify"
    RECEIPTS = "receipts"
    STATUS = "status"
    PRESENCE = "presence"
    METRICS = "metrics"
    DISCONNECT = "disconnect"
    INBOX = "inbox"
    TAP = "tap"


DEFAULT_SCOPES = frozenset(Scope) - {Scope.TAP}  # of a line that names none
TENANT_SCOPES = frozenset({Scope.NOTIFY, Scope.RECEIPTS, Scope.PRESENCE, Scope.DISCONNECT})  # what can be bound


@dataclass(frozen=True, slots=True)
class Caller:
    """Name, scopes and tenant of the key of a request.

    A caller with a tenant is *bound* to it: what it sends and closes reaches only sockets of that tenant.
    """

    name: str
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    tenant_id: TenantId | None = None

    @property
    def is_unrestricted(self) -> bool:
        """Whether it may do all that a key without named scopes may do."""
        return self.tenant_id is None and self.scopes >= DEFAULT_SCOPES


LOCAL = Caller("(local)")  # a client on this machine without a key; no key has such a name


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One line of the file: the text to send, and who sends it."""

    text: str = field(repr=False)
    caller: Caller


class ApiKeys:
    """The accepted keys: several, so that a key can be rotated. Falsy without any.

    ``version`` changes whenever the keys are replaced.
    """

    version = 0

    def __init__(self, keys: Sequence[ApiKey], *, metrics: Metrics) -> None:
        self._requests = metrics.key_requests
        self._digest_key = os.urandom(DIGEST_BYTES)
        self._callers: dict[bytes, tuple[Caller, Counter]] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[ApiKey]) -> None:
        """Accept these keys from now on, and no others."""
        self.version += 1
        names = {key.caller.name for key in keys}
        for caller, _ in self._callers.values():
            if caller.name not in names:
                self._requests.remove(caller.name)
        self._callers = {self._digest(key.text): (key.caller, self._requests.labels(key.caller.name)) for key in keys}

    def __bool__(self) -> bool:
        return bool(self._callers)

    def find(self, offered: str) -> Caller | None:
        """Return the caller with this key and count the request; None if no key is equal.

        The time that it takes tells nothing about the keys: what is compared is a digest with a random key.
        """
        found = self._callers.get(self._digest(offered))
        if found is None:
            return None
        caller, requests = found
        requests.inc()
        return caller

    def _digest(self, text: str) -> bytes:
        raw = text.encode("utf-8", "replace")
        return hashlib.blake2b(raw, key=self._digest_key, digest_size=DIGEST_BYTES).digest()


# -- the file ----------------------------------------------------------------------------------------------------------


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Return the keys of a file, one a line.

    Raises ValueError that begins with the number of the line, and never has a part of a key: a field of the wrong place
    may be one.
    """
    keys: list[ApiKey] = []
    lines: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#") or not line.strip(" \t\r"):
            continue
        try:
            key = _parse_line(re.split(r"[ \t]+", line.strip(" \t\r")))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        for unique in (("key", key.text), ("name", key.caller.name)):
            if unique in lines:
                raise ValueError(f"line {number}: its {unique[0]} is that of line {lines[unique]}; change one of them")
            lines[unique] = number
        keys.append(key)
    return tuple(keys)


def _parse_line(fields: Sequence[str]) -> ApiKey:
    if fields[0].startswith("#"):
        raise ValueError("a comment begins with # as the first character of its line")
    if len(fields) == 1:
        _check_key(fields[0])
        return ApiKey(fields[0], Caller(f"key-{hashlib.sha256(fields[0].encode()).hexdigest()[:6]}"))
    name, text, *rest = fields
    if NAME.fullmatch(name) is None:
        raise ValueError(f"the name may have 1 to 32 letters, digits, dots, underscores and dashes; {KEY_FORM}")
    _check_key(text)
    tenant_id = _tenant(rest.pop()) if rest and rest[-1].startswith(TENANT_FIELD) else None
    if len(rest) > 1:
        raise ValueError(f"too many fields, or scopes that are not separated by commas alone; {KEY_FORM}")
    allowed = DEFAULT_SCOPES if tenant_id is None else TENANT_SCOPES
    return ApiKey(text, Caller(name, _scopes(rest[0], tenant_id) if rest else allowed, tenant_id))


def _check_key(text: str) -> None:
    if not text.isascii() or not text.isprintable():
        raise ValueError("the key has a character that is invisible or not ASCII, so no client can send it")
    if len(text) < KEY_MIN_CHARS:
        raise ValueError(f"the key has {len(text)} characters, less than {KEY_MIN_CHARS}; {MAKE_KEY}; {KEY_FORM}")


def _scopes(text: str, tenant_id: TenantId | None) -> frozenset[Scope]:
    allowed = frozenset(Scope) if tenant_id is None else TENANT_SCOPES
    named = text.split(",")
    unknown = [scope for scope in named if scope not in allowed]
    if unknown:
        known = ", ".join(scope for scope in Scope if scope in allowed)
        a_key = "a key with a tenant" if tenant_id is not None else "a key"
        raise ValueError(f"the scopes of {a_key} are {known}; {_shown(unknown)}")
    return frozenset(map(Scope, named))


def _shown(unknown: Iterable[str]) -> str:
    """Name a wrong scope, unless it may be a key."""
    word = next(iter(unknown))
    return f"{word!r} is none of them" if re.fullmatch(r"[a-z]{1,15}", word) else "one that is named is none of them"


def _tenant(text: str) -> TenantId:
    quoted = text.removeprefix(TENANT_FIELD)
    try:
        tenant_id = unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the tenant is not UTF-8, percent-encoded") from None
    if not tenant_id or _INCOMPLETE_ESCAPE.search(quoted):
        raise ValueError("write tenant=ID; blanks and % in the id are percent-encoded, as in tenant=my%20site")
    return TenantId(tenant_id)
