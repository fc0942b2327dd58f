"""Floor 3: the console's languages: a file of words for each, and which of them a reader gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

NAMES = {"en": "English", "es": "Español"}  # by BCP 47 tag; the first is for everybody else


@dataclass(frozen=True, slots=True)
class Language:
    """The words of one language, by key; ``{name}`` in them is a place to fill."""

    tag: str
    strings: Mapping[str, str]

    def words(self, key: str) -> str:
        """The words of this key; raises KeyError, so that a page with a hole is never served."""
        return self.strings[key]


@dataclass(frozen=True, slots=True)
class Languages:
    """All languages there are."""

    by_tag: Mapping[str, Language]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``en.json`` and the others."""
        return cls({tag: Language(tag, orjson.loads((folder / f"{tag}.json").read_bytes())) for tag in NAMES})

    def pick(self, *, wanted: str | None, accepted: str) -> Language:
        """What the reader chose, else the best of ``Accept-Language`` (RFC 9110 §12.5.4), else the first."""
        tags = [wanted or "", *_by_preference(accepted)]
        return next((self.by_tag[tag] for tag in tags if tag in self.by_tag), self.by_tag[next(iter(NAMES))])


def _by_preference(header: str) -> list[str]:
    """The primary tags of the header, best first; ranges of equal weight stay in their order."""
    weighted: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=") if parameter else "1"
        try:
            weighted.append((float(weight), tag.strip().lower().partition("-")[0]))
        except ValueError:
            continue  # no weight: no wish
    return [tag for weight, tag in sorted(weighted, key=lambda each: -each[0]) if weight > 0]
