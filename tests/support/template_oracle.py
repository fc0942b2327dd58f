"""Random templates, and a matcher for them that is slow and simple: it tries every way to divide a topic."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from hypothesis import strategies as st

NAMES = ("tenant_id", "device_id", "series", *"abcdefghijklmnopq")
ONE_LEVEL = ("a", "a|b", "a*", "*b", "*", "?", "??", "*a*", "a*b", "[ab]*", "[!a]?", "!a", "!a*|*b", "!$*", "[ -b]*")
ACROSS = (*ONE_LEVEL, "*/a", "a/b|b", "!*/a|a", "!a/*", "*a/*b*", "?/?")


@dataclass(frozen=True)
class Place:
    """A field: ``kind`` is empty, ``...`` or ``?``."""

    name: str
    kind: str = ""
    pattern: str = ""

    def __str__(self) -> str:
        return "{" + self.name + self.kind + (f":{self.pattern}" if self.pattern else "") + "}"

    def takes(self, text: str) -> bool:
        """Whether the field takes this text; each alternative as `fnmatch` has it."""
        if not self.pattern or not text:
            return bool(text)
        taken = any(fnmatchcase(text, each) for each in self.pattern.removeprefix("!").split("|"))
        return taken != self.pattern.startswith("!")


@dataclass(frozen=True)
class Shape:
    """A template as a list of levels, each of texts and fields."""

    levels: tuple[tuple[str | Place, ...], ...]

    @property
    def places(self) -> list[Place]:
        """Its fields."""
        return [part for level in self.levels for part in level if isinstance(part, Place)]

    @property
    def topic(self) -> str:
        """The template's text but for the settings."""
        return "/".join("".join(map(str, level)) for level in self.levels)

    @property
    def text(self) -> str:
        """A template that parses: what no field holds is a constant."""
        held = {place.name for place in self.places}
        return ";".join([self.topic, *(f"{name}={name[0]}" for name in NAMES[:2] if name not in held)])

    def read(self, topic: str) -> dict[str, str] | None:
        """What each field holds; None where the topic does not match."""
        if topic.startswith("$") and (not self.levels[0] or isinstance(self.levels[0][0], Place)):
            return None
        return next(_readings(self.levels, topic.split("/")), None)

    def ids(self, topic: str) -> tuple[str, str, str] | None:
        """Tenant, device and series."""
        found = self.read(topic)
        if found is None:
            return None
        return found.get("tenant_id", "t"), found.get("device_id", "d"), found.get("series", "")


def _readings(levels: Sequence[tuple[str | Place, ...]], texts: list[str]) -> Iterator[dict[str, str]]:
    if not levels:
        yield from [{}] if not texts else []
        return
    level, *others = levels
    first = level[0] if level else ""
    if isinstance(first, Place) and first.kind == "...":
        last_may_be_nothing = not others and first.name not in NAMES[:2] and not first.pattern
        for count in range(len(texts), 0, -1):
            text = "/".join(texts[:count])
            if first.takes(text) or (last_may_be_nothing and not text):
                yield from ({first.name: text} | more for more in _readings(others, texts[count:]))
        if last_may_be_nothing and not texts:
            yield {first.name: ""}
    elif isinstance(first, Place) and first.kind == "?" and not texts:
        yield {first.name: ""}
    elif texts:
        for found in _divisions(level, texts[0]):
            yield from (found | more for more in _readings(others, texts[1:]))


def _divisions(level: tuple[str | Place, ...], text: str) -> Iterator[dict[str, str]]:
    """Every way to read one level; those in which earlier fields are shorter come first."""
    if not level:
        yield from [{}] if not text else []
    elif isinstance(level[0], str):
        if text.startswith(level[0]):
            yield from _divisions(level[1:], text[len(level[0]) :])
    else:
        for size in range(1, len(text) + 1):
            if level[0].takes(text[:size]):
                yield from ({level[0].name: text[:size]} | more for more in _divisions(level[1:], text[size:]))


SHAPES = ("", "a", "b", "-", "ab", "F", "F", "F", "P", "P", "aF", "Fb", "F-F", "F-F-F", "aFab", "FabF", "Fa-Fb")
WORDS = ("", "a", "b", "-", "ab", "aab", "ba", "a-b", "--", "-b-", "$a", "c", "abab", "aa-bb")


@st.composite
def shapes(draw: st.DrawFn, patterns: bool = True) -> Shape:
    """Any template that the parser takes, but for pointers."""
    names = iter(draw(st.permutations(NAMES)))
    levels = [_level(draw, names, patterns) for _ in range(draw(st.integers(0, 3)))]
    last = draw(st.sampled_from(["", "rest", "rest", "rest in the middle", "optional"]))
    if last.startswith("rest"):
        middle = last != "rest"
        pattern = draw(st.sampled_from(["", *ACROSS])) if patterns and not middle else ""
        levels.append((Place(next(names), "...", pattern),))
        levels += [_level(draw, names, patterns) for _ in range(draw(st.integers(1, 2)) if middle else 0)]
    elif last and levels:
        name = next(name for name in names if name not in NAMES[:2])
        levels.append((Place(name, "?", draw(st.sampled_from(["", *ONE_LEVEL])) if patterns else ""),))
    return Shape(tuple(levels) if any(levels) else (("a",), *levels))


def _level(draw: st.DrawFn, names: Iterator[str], patterns: bool) -> tuple[str | Place, ...]:
    shape = draw(st.sampled_from(SHAPES))
    if shape == "P":
        return (Place(next(names), "", draw(st.sampled_from(ONE_LEVEL)) if patterns else ""),)
    cuts = [0, *(index for index in range(1, len(shape)) if "F" in shape[index - 1 : index + 1]), len(shape)]
    parts = [shape[one:other] for one, other in pairwise(cuts) if shape[one:other]]
    return tuple(Place(next(names)) if part == "F" else part for part in parts)


TOPICS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map("/".join).filter(bool)


@st.composite
def topics_of(draw: st.DrawFn, shape: Shape) -> str:
    """A topic in the form of the template, or nearly."""
    texts: list[str] = []
    for level in shape.levels:
        first = level[0] if level else ""
        if isinstance(first, Place) and first.kind:
            texts += draw(st.lists(st.sampled_from(WORDS), max_size=3 if first.kind == "..." else 1))
        else:
            texts.append("".join(part if isinstance(part, str) else draw(st.sampled_from(WORDS)) for part in level))
    return "/".join(texts) or "a"


@st.composite
def shapes_and_topics(draw: st.DrawFn, patterns: bool = True) -> tuple[Shape, str]:
    """A template and a topic that it is likely to match."""
    shape = draw(shapes(patterns))
    return shape, draw(st.one_of(topics_of(shape), topics_of(shape), TOPICS))
