"""Languages of the console: one file of texts per language, selected per request."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

LANGUAGE_NAMES = {"en": "English", "es": "Español"}  # by BCP 47 tag; the first is the default
ACCEPTED_MAX = 32  # languages of Accept-Language that are read; a browser sends up to ten


@dataclass(frozen=True, slots=True)
class Language:
    """The texts of one language, by key; ``{name}`` in a text is a placeholder."""

    tag: str
    strings: Mapping[str, str]

    def translate(self, key: str) -> str:
        """Return the text of a key; raise KeyError instead of serving an incomplete page."""
        return self.strings[key]


@dataclass(frozen=True, slots=True)
class Languages:
    """All available languages."""

    by_tag: Mapping[str, Language]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``en.json`` and the others."""
        return cls({tag: Language(tag, orjson.loads((folder / f"{tag}.json").read_bytes())) for tag in LANGUAGE_NAMES})

    def pick(self, *, wanted: str | None, accepted: str) -> Language:
        """Return the chosen language, else the best accepted one, else the default.

        The accepted languages are those of ``Accept-Language`` (RFC 9110 §12.5.4).
        """
        tags = [wanted or "", *_by_preference(accepted)]
        return next((self.by_tag[tag] for tag in tags if tag in self.by_tag), self.by_tag[next(iter(LANGUAGE_NAMES))])


def _by_preference(header: str) -> list[str]:
    """Return the primary tags of the header, best first.

    Tags of equal weight keep their order. After `ACCEPTED_MAX` the rest is ignored.
    """
    weighted: list[tuple[float, str]] = []
    for part in header.split(",", ACCEPTED_MAX)[:ACCEPTED_MAX]:
        tag, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=") if parameter else "1"
        try:
            weighted.append((float(weight), tag.strip().lower().partition("-")[0]))
        except ValueError:
            continue  # not a weight: ignore this range
    return [tag for weight, tag in sorted(weighted, key=lambda each: -each[0]) if weight > 0]
