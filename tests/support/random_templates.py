"""Random topic templates, and topics that look like them."""

import re
from collections.abc import Iterator
from itertools import permutations

from hypothesis import strategies as st

IDS = ("tenant_id", "device_id")
NAMES = tuple(tuple(order) for order in permutations((*IDS, "series", "a"), 4))  # then b, c, …
PATTERNS = ("a", "a|b", "a*", "*b", "?", "*a*b", "[ab]*", "!a", "!a*|*b", "!$*")
ACROSS = (*PATTERNS, "*/a", "!*/a|a", "*a/*b*")  # patterns of {name...}
# a level, with % for a field
PLAIN = ("a", "b", "ab", "%", "%", "%")
LEVELS = (*PLAIN, "", "a%", "%b", "%-%", "a%b", *(f"%:{pattern}" for pattern in PATTERNS))
TAILS = ("%...", "%?", "%...", "%.../%", "%.../a", *(f"%...:{pattern}" for pattern in ACROSS))
WORDS = ("", "a", "b", "-", "ab", "aab", "a-b", "$a", "a/b")


def filled(template: str, words: Iterator[str]) -> str:
    """The topic of a template with a word in place of each field."""
    return re.sub(r"\{[^{}]*\}", lambda _: next(words), template.partition(";")[0])


@st.composite
def templates(draw: st.DrawFn, *, plain: bool = False) -> str:
    """Any template without pointers; plain ones have only texts and fields that are a whole level or the last ones."""
    names = iter([*draw(st.sampled_from(NAMES)), *"bcdefghijkl"])
    levels = draw(st.lists(st.sampled_from(PLAIN if plain else LEVELS), max_size=3))
    topic = "/".join(_named(level, names) for level in levels)
    tail = draw(st.sampled_from(("", *TAILS[: 2 if plain else None])))
    if tail == "%?" and not topic:
        tail = ""
    if tail == "%?":
        names = (name for name in names if name not in IDS)
    topic = "/".join(part for part in (topic, _named(tail, names)) if part) or "a"
    constants = [f"{name}=x" for name in IDS if not re.search(rf"\{{{name}\W", topic)]
    return ";".join([topic, *constants])


def _named(level: str, names: Iterator[str]) -> str:
    return re.sub(r"%((?:\.\.\.|\?)?(?::.*)?)", lambda field: f"{{{next(names)}{field[1]}}}", level)


@st.composite
def topics_like(draw: st.DrawFn, *others: str) -> str:
    """A topic in the form of one of these templates, which may match it or not."""
    words = iter(lambda: draw(st.sampled_from(WORDS)), None)
    return filled(draw(st.sampled_from(others)), words) or "a"
