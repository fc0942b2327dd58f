"""The last good answers of identity providers, kept in files for the next start."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hermes.auth.oidc import Discovery
from hermes.errors import ConfigError

VERSION = 1


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """One good answer, its time in Unix seconds, and its usable keys as JSON objects."""

    url: str
    fetched_s: float
    entries: tuple[Mapping[str, Any], ...]
    discovery: Discovery | None = None


class KeyFile:
    """The file of one source.

    ``write`` replaces a private file as a whole; it raises OSError.
    """

    def __init__(self, path: Path, *, write: Callable[[Path, str], None]) -> None:
        self.path = path
        self._write = write

    def save(self, stored: StoredKeys) -> None:
        """Replace the content. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(self.path, json.dumps({"version": VERSION} | asdict(stored)))

    def load(self, url: str) -> StoredKeys | None:
        """Return the stored answer of this URL; None without one, or if it cannot be used.

        Raises `ConfigError` for a file that a newer Hermes wrote, and OSError.
        """
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or not isinstance(version := found.get("version"), int):
            return None
        if version > VERSION:
            raise ConfigError([f"{self.path} is of a newer Hermes (version {version}): remove it, or use that Hermes"])
        if found.get("url") != url:  # the setting has changed
            return None
        try:
            discovery = found["discovery"]
            return StoredKeys(
                url=url,
                fetched_s=float(found["fetched_s"]),
                entries=tuple(found["entries"]),
                discovery=None if discovery is None else Discovery(**discovery),
            )
        except (KeyError, TypeError, ValueError):
            return None
