"""Reasons why a topic does not match a template, for ``hermes topics explain``."""

import re
from collections.abc import Iterator, Sequence

from hermes.topics.template import Field, Level, Template, level_pattern

SHOWN_MAX_CHARS = 100


def mismatch(template: Template, topic: str) -> str | None:
    """Return the first difference in words, or None if the topic matches."""
    return next(_differences(template, topic), None)


def _differences(template: Template, topic: str) -> Iterator[str]:
    texts = topic.split("/")
    if topic.startswith("$") and template.starts_with_field:
        yield f"level 1 is {_shown(texts[0])}, but no field matches a first level that begins with $"
    yield from _in_levels(template.levels, texts, first=1)
    others = texts[len(template.levels) :]
    if template.rest is not None:
        yield from _in_rest(template, template.rest, others)
    elif template.optional is not None:
        yield from _in_levels([(template.optional,)], others[:1], first=len(template.levels) + 1, may_be_absent=True)
        yield from _too_many(len(texts), len(template.levels) + 1)
    else:
        yield from _too_many(len(texts), len(template.levels))


def _in_levels(
    levels: Sequence[Level], texts: Sequence[str], *, first: int, may_be_absent: bool = False
) -> Iterator[str]:
    for number, (level, text) in enumerate(zip(levels, texts, strict=False), start=first):
        if not re.match(level_pattern(level) + r"\Z", text):
            yield f"level {number} is {_shown(text)}, expected {_expected(level)}"
    if not may_be_absent and len(texts) < len(levels):
        yield f"too few levels: {'/'.join(map(_written, levels[len(texts) :]))} is missing"


def _in_rest(template: Template, rest: Field, texts: list[str]) -> Iterator[str]:
    after = len(template.after)
    needed = after + template.rest_needs_text
    if len(texts) < needed:
        missing = "/".join([_written_rest(rest), *map(_written, template.after)])
        yield f"too few levels: {missing} needs {needed} or more, but {len(texts)} are left"
        return
    border = len(texts) - after
    yield from _in_levels(template.after, texts[border:], first=len(template.levels) + border + 1)
    text = "/".join(texts[:border])
    if needed and not text:
        yield f"level {len(template.levels) + 1} is empty, expected {_written_rest(rest)}"
    elif rest.pattern and not rest.pattern.matches(text, across=True):
        yield f"from level {len(template.levels) + 1} on it is {_shown(text)}, expected {_written_rest(rest)}"


def _too_many(found: int, most: int) -> Iterator[str]:
    if found > most:
        yield f"too many levels: {found}, but the template has {most}"


def _expected(level: Level) -> str:
    return _written(level) if any(isinstance(part, Field) for part in level) else _shown(_written(level))


def _written(level: Level) -> str:
    return "".join(map(str, level))


def _written_rest(rest: Field) -> str:
    return str(rest).replace(rest.name, f"{rest.name}...", 1)


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_MAX_CHARS else text[:SHOWN_MAX_CHARS] + "…")
