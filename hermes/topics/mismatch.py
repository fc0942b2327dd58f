"""Floor 1: why a topic does not match a template, level by level: for `hermes topics explain`."""

import re
from collections.abc import Iterator, Sequence

from hermes.topics.template import IDS, Field, Level, Template, level_pattern


def miss(template: Template, topic: str) -> str | None:
    """The first reason, in words; None where the topic matches."""
    return next(_misses(template, topic), None)


def _misses(template: Template, topic: str) -> Iterator[str]:
    texts = topic.split("/")
    if topic.startswith("$") and template.starts_with_field:
        yield f"level 1 is {_shown(texts[0])}, and no field takes a first level that begins with $"
    yield from _levels_missed(template.levels, texts, first=1)
    others = texts[len(template.levels) :]
    if template.rest is not None:
        yield from _rest_missed(template, template.rest, others)
    elif template.optional is not None:
        yield from _levels_missed([(template.optional,)], others[:1], first=len(template.levels) + 1, all_of_them=False)
        yield from _too_many(len(texts), len(template.levels) + 1)
    else:
        yield from _too_many(len(texts), len(template.levels))


def _levels_missed(
    levels: Sequence[Level], texts: Sequence[str], *, first: int, all_of_them: bool = True
) -> Iterator[str]:
    for number, (level, text) in enumerate(zip(levels, texts, strict=False), start=first):
        if not re.match(level_pattern(level) + r"\Z", text):
            yield f"level {number} is {_shown(text)}, expected {_expected(level)}"
    if all_of_them and len(texts) < len(levels):
        missing = "/".join(map(_written, levels[len(texts) :]))
        yield f"too few levels: {missing} is missing"


def _rest_missed(template: Template, rest: Field, texts: list[str]) -> Iterator[str]:
    after = len(template.after)
    needed = after + (1 if after or rest.pattern or rest.name in IDS or not template.levels else 0)
    if len(texts) < needed:
        missing = "/".join([_written_rest(rest), *map(_written, template.after)])
        yield f"too few levels: {missing} takes {needed} or more, and {len(texts)} are left"
        return
    border = len(texts) - after
    yield from _levels_missed(template.after, texts[border:], first=len(template.levels) + border + 1)
    text = "/".join(texts[:border])
    if needed and not text:
        yield f"level {len(template.levels) + 1} is empty, expected {_written_rest(rest)}"
    elif rest.pattern and not rest.pattern.matches(text, across=True):
        yield f"from level {len(template.levels) + 1} on it is {_shown(text)}, expected {_written_rest(rest)}"


def _too_many(found: int, most: int) -> Iterator[str]:
    if found > most:
        yield f"too many levels: {found}, and the template has {most}"


def _expected(level: Level) -> str:
    """What the level should be: a text, or a field."""
    return _written(level) if any(isinstance(part, Field) for part in level) else _shown("".join(map(str, level)))


def _written(level: Level) -> str:
    return "".join(str(part) for part in level)


def _written_rest(rest: Field) -> str:
    return str(rest).replace(rest.name, f"{rest.name}...", 1)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")
