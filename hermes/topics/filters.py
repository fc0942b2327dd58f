"""Comparisons of MQTT topic filters by the topics that they match.

A filter is a text as in a SUBSCRIBE packet (MQTT 5 §4.7): ``+`` matches one level, ``#`` the rest, and at the beginning
neither matches a topic that begins with ``$`` (MQTT-4.7.2-1).
"""

import re
from collections.abc import Iterable, Sequence


def problem(text: str) -> str | None:
    """Return why the text is not a valid filter (§4.7.1, §4.7.3), or None."""
    levels = text.split("/")
    if not text:
        return "it is empty"
    if "\0" in text:
        return "a NUL character is not allowed"
    if any("#" in level for level in levels[:-1]) or (levels[-1] not in ("#",) and "#" in levels[-1]):
        return "# must be the whole of the last level"
    if any("+" in level and level != "+" for level in levels):
        return "+ must be the whole of a level"
    return None


def covers(general: str, special: str) -> bool:
    """Return whether ``general`` matches every topic that ``special`` matches."""
    if _differ_in_dollar(general, special):
        return False
    wide, narrow = general.split("/"), special.split("/")
    for index, level in enumerate(wide):
        if level == "#":
            return True
        if index == len(narrow) or narrow[index] == "#" or level not in ("+", narrow[index]):
            return False
    return len(wide) == len(narrow)


def overlap(one: str, other: str) -> bool:
    """Return whether a topic exists that both match."""
    if _differ_in_dollar(one, other):
        return False
    left, right = one.split("/"), other.split("/")
    for a, b in zip(left, right, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = max(left, right, key=len)
    shorter = min(len(left), len(right))
    return len(left) == len(right) or longer[shorter] == "#"  # "a/#" matches "a" as well (§4.7.1.2)


def generalisation(one: str, other: str) -> str:
    """Return a filter that covers two overlapping ones."""
    levels: list[str] = []
    for a, b in zip(one.split("/"), other.split("/"), strict=False):
        if "#" in (a, b):
            return "/".join([*levels, "#"])
        levels.append(a if a == b else "+")
    longer = max(one.count("/"), other.count("/")) + 1
    return "/".join(levels if len(levels) == longer else [*levels, "#"])


def uncovered(filters: Iterable[str]) -> tuple[str, ...]:
    """Return the filters, in order, without those that another one covers."""
    kept: list[str] = []
    for candidate in filters:
        if not any(covers(other, candidate) for other in kept):
            kept = [other for other in kept if not covers(candidate, other)]
            kept.append(candidate)
    return tuple(kept)


def any_overlap(filters: Sequence[str]) -> bool:
    """Return whether any two filters overlap."""
    return _overlapping_pair(filters) is not None


def disjoint(filters: Iterable[str]) -> tuple[str, ...]:
    """Return filters that cover the given ones and do not overlap."""
    merged = uncovered(filters)
    while (pair := _overlapping_pair(merged)) is not None:
        merged = uncovered([generalisation(*pair), *(other for other in merged if other not in pair)])
    return merged


def pattern(topic_filter: str) -> str:
    """Return a regular expression for the topics that the filter matches."""
    levels = topic_filter.split("/")
    dollar = r"(?!\$)" if levels[0] in ("+", "#") else ""
    if levels == ["#"]:
        return rf"{dollar}[\s\S]*+\Z"
    rest = r"(?:/[\s\S]*+)?" if levels[-1] == "#" else ""
    named = levels[:-1] if levels[-1] == "#" else levels
    return dollar + "/".join("[^/]*+" if level == "+" else re.escape(level) for level in named) + rest + r"\Z"


def _differ_in_dollar(one: str, other: str) -> bool:
    return (one[:1] in ("+", "#") and other[:1] == "$") or (other[:1] in ("+", "#") and one[:1] == "$")


def _overlapping_pair(filters: Sequence[str]) -> tuple[str, str] | None:
    for index, one in enumerate(filters):
        for other in filters[index + 1 :]:
            if overlap(one, other):
                return one, other
    return None
