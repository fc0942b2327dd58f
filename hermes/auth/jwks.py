"""Read a JSON Web Key Set (RFC 7517).

It says which keys verify tokens, and why others do not.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from hermes.auth.keys import Source, VerificationKey, public_key
from hermes.json_nesting import nested_too_deeply

SET_MAX_BYTES = 524_288  # 512 KiB: 100 keys with their certificates need a fifth of it
SET_MAX_KEYS = 100
KID_MAX_CHARS = 256  # of the names that are in use: UUIDs, SHA-1 and SHA-256 digests

# The public members of each type (RFC 7518 §6, RFC 8037 §2); those of private keys are neither used nor stored.
PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_STORED = ("kty", "kid", "use", "key_ops", "alg")
_READERS = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a set, and how many others it has, by reason.

    ``entries`` are the usable keys as JSON objects, without members that are private.
    """

    keys: tuple[VerificationKey, ...]
    entries: tuple[Mapping[str, Any], ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)


class _Skipped(Exception):
    """A key does not verify tokens."""


def parse_key_set(text: bytes, *, source: Source, issuer: str | None = None) -> KeySet:
    """Return the keys of a JWK set.

    Raises ValueError with the reason if it is not one, or without a usable key.
    """
    if len(text) > SET_MAX_BYTES:
        raise ValueError(f"it has more than {SET_MAX_BYTES // 1024} KiB")
    entries = _entries(text)
    keys: list[VerificationKey] = []
    usable: list[Mapping[str, Any]] = []
    skipped: Counter[str] = Counter()
    for entry in entries[:SET_MAX_KEYS]:
        try:
            keys.append(_key(entry, source=source, issuer=issuer))
            usable.append({name: entry[name] for name in (*_STORED, *PUBLIC_MEMBERS[entry["kty"]]) if name in entry})
        except _Skipped as reason:
            skipped[str(reason)] += 1
    if len(entries) > SET_MAX_KEYS:
        skipped["too_many"] += len(entries) - SET_MAX_KEYS
    if not keys:
        others = ", ".join(f"{number} {reason}" for reason, number in skipped.items()) or "none at all"
        raise ValueError(f"it has no key that verifies tokens ({others})")
    return KeySet(tuple(keys), tuple(usable), dict(skipped))


def _entries(text: bytes) -> list[Any]:
    if nested_too_deeply(text):
        raise ValueError("it is nested too deeply")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ValueError('it is not a JWK set: an object with a list "keys"')
    return entries


def _key(entry: Any, *, source: Source, issuer: str | None) -> VerificationKey:
    """Return the key of one entry; raise `_Skipped` with the reason as a word."""
    if not isinstance(entry, dict):
        raise _Skipped("malformed")
    kind = entry.get("kty")
    if not isinstance(kind, str) or kind not in PUBLIC_MEMBERS:
        raise _Skipped("kty")
    if entry.get("use", "sig") != "sig":
        raise _Skipped("use")
    operations = entry.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise _Skipped("key_ops")
    kid, algorithm = entry.get("kid"), entry.get("alg")
    if not isinstance(kid, str | None) or len(kid or "") > KID_MAX_CHARS or not isinstance(algorithm, str | None):
        raise _Skipped("malformed")
    members = {name: entry.get(name) for name in PUBLIC_MEMBERS[kind]}
    if not all(isinstance(value, str) for value in members.values()):
        raise _Skipped("malformed")
    try:
        key = _READERS[kind].from_jwk({"kty": kind} | members)  # type: ignore[attr-defined]
    except (PyJWTError, ValueError, TypeError, ArithmeticError):  # the last of numbers that no key has
        raise _Skipped("malformed") from None
    try:
        return public_key(key, source=source, kid=kid, only=algorithm, issuer=issuer)
    except ValueError:
        raise _Skipped("unusable") from None
