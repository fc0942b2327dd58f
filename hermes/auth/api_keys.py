"""The API keys for ``POST /notify``, compared in constant time."""

import hmac
from collections.abc import Sequence


class ApiKeys:
    """The accepted keys: several, so that a key can be rotated. Falsy without any."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.replace(keys)

    def replace(self, keys: Sequence[str]) -> None:
        """Accept these keys from now on, and no others."""
        self._keys = tuple(key.encode() for key in keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def accepts(self, offered: str) -> bool:
        """Return whether this is one of the keys; each key is compared, in constant time."""
        raw = offered.encode("utf-8", "replace")
        matches = [hmac.compare_digest(raw, key) for key in self._keys]
        return any(matches)
