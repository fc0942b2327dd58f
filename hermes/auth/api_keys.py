"""The API keys that may call ``POST /notify``, compared in constant time."""

import hmac
from collections.abc import Sequence


class ApiKeys:
    """The keys that may call ``/notify``; several at once, so that one can be rotated out."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def accepts(self, offered: str) -> bool:
        """Whether this is one of the keys; every key is compared, each in constant time."""
        raw = offered.encode("utf-8", "replace")
        matches = [hmac.compare_digest(raw, key) for key in self._keys]
        return any(matches)
