"""Floor 1: one topic template, parsed: the topics that it matches, and the filters that bring them."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from hermes.ids import DeviceId, TenantId
from hermes.topics import filters as topic_filters
from hermes.topics.pattern import FieldPattern

TENANT, DEVICE, SERIES = "tenant_id", "device_id", "series"
WANTED = (TENANT, DEVICE, SERIES)
IDS = (TENANT, DEVICE)
ID_MAX_CHARS = 1_024  # what stands in keys, in URLs and in the memory of last values
TOPIC_MAX_BYTES = 65_535  # MQTT 5 §1.5.4: the longest string that a packet can hold
LITERALS_MAX = 32  # combinations of listed texts that are subscribed to one by one; beyond, + stands for a level

PayloadKind = Literal["json", "cbor", "sparkplug"]

_ANY = "\ud800"  # in examples: any text, where no pattern says which
_FIRST_MARK = 0xD801
_END, _LEVEL_END = r"\Z", r"(?:/|\Z)"
_LEGAL = re.compile(r"[^+#\0\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Field:
    """A place in the topic that takes a non-empty text without ``/``, which the pattern must take as well."""

    name: str
    pattern: FieldPattern | None = None

    def __str__(self) -> str:
        return f"{{{self.name}:{self.pattern.text}}}" if self.pattern else f"{{{self.name}}}"


Level = tuple[str | Field, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: ``levels``, then ``rest`` (its ``{name...}``), then ``after``; or ``levels`` and ``optional``,
    a last level that may be absent. ``pointers`` are lists of unescaped tokens, of names that the topic may hold too:
    then both must agree.
    """

    text: str
    levels: tuple[Level, ...]
    rest: Field | None
    after: tuple[Level, ...]
    optional: Field | None
    constants: Mapping[str, str]
    pointers: Mapping[str, tuple[str, ...]]
    payload: PayloadKind
    online: frozenset[str]
    online_pointer: tuple[str, ...] | None
    preset: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, in the order of the groups of `pattern`."""
        return tuple(field.name for field in self._all_fields())

    @property
    def starts_with_field(self) -> bool:
        """Whether its first level is one, or begins with one: then it matches no topic that begins with ``$``."""
        return not self.levels or isinstance(self.levels[0][0], Field)

    def _all_fields(self) -> Iterator[Field]:
        yield from _fields(self.levels)
        if self.rest:
            yield self.rest
        yield from _fields(self.after)
        if self.optional:
            yield self.optional

    # -- filters --------------------------------------------------------------------------------------------------

    @property
    def filters(self) -> tuple[str, ...]:
        """The MQTT topic filters that bring at least the topics that it matches."""
        return self._filters({})

    def filled(self, tenant_id: TenantId, device_id: DeviceId | None = None) -> tuple[str, ...]:
        """The filters that bring the topics of this tenant, or of this device of it, and as few others as they can.

        None where no topic of the template can be theirs; as for everybody where only the payload names them.
        """
        known: dict[str, str] = {TENANT: tenant_id} | ({} if device_id is None else {DEVICE: device_id})
        if any(self.constants.get(name, value) != value for name, value in known.items()):
            return ()
        fields = {field.name: field for field in self._all_fields()}
        if not all(self._takes(fields[name], value) for name, value in known.items() if name in fields):
            return ()
        if not all(_divides(level, known) for level in (*self.levels, *self.after)):
            return ()
        found = self._filters(known)
        return found if self.text.startswith("$") else tuple(text for text in found if not text.startswith("$"))

    def _takes(self, field: Field, value: str) -> bool:
        across = field is self.rest
        legal = _LEGAL.fullmatch(value) is not None and (across or "/" not in value)
        return (
            legal
            and len(value) <= ID_MAX_CHARS
            and (field.pattern is None or field.pattern.matches(value, across=across))
        )

    def confines(self, name: str) -> bool:
        """Whether `filled` with tenant and device brings this tenant's, or device's, topics and no others: it is a
        constant, or stands in the topic beside nothing that is unknown and behind no rest that is.
        """
        if name in self.constants or (self.rest is not None and self.rest.name == name):
            return True
        held = self.after if self.rest is not None and self.rest.name in IDS else ()
        return any(
            any(field.name == name for field in _fields([level]))
            and all(field.name in IDS for field in _fields([level]))
            for level in (*self.levels, *held)
        )

    def _filters(self, known: Mapping[str, str]) -> tuple[str, ...]:
        head = [_level_texts(level, known) for level in self.levels]
        tails: list[list[tuple[str, ...]]] = [[]]
        if self.rest is not None and self.rest.name not in known:
            tails = [[("#",)]]
        elif self.rest is not None:
            tails = [[(known[self.rest.name],), *(_level_texts(level, known) for level in self.after)]]
        elif self.optional is not None:
            tails = [[], [_level_texts((self.optional,), known)]]
        found = (text for tail in tails for text in _products(_few([*head, *tail], itertools.repeat("+"))))
        return topic_filters.uncovered(text for text in found if 0 < len(text.encode()) <= TOPIC_MAX_BYTES)

    # -- matching -------------------------------------------------------------------------------------------------

    @property
    def pattern(self) -> str:
        """A regular expression for the topics that it matches, one group per field. It never backtracks far."""
        return self._pattern(None)

    def _pattern(self, marks: Mapping[str, str] | None) -> str:
        pattern = "/".join(level_pattern(level, marks) for level in self.levels)
        if self.rest:
            pattern += self._rest_pattern(self.rest, marks)
        pattern += "".join(f"/{level_pattern(level, marks)}" for level in self.after)
        if self.optional:
            pattern += f"(?:/{level_pattern((self.optional,), marks)})?"
        return (r"(?!\$)" if self.starts_with_field else "") + pattern + r"\Z"  # MQTT-4.7.2-1

    def _rest_pattern(self, rest: Field, marks: Mapping[str, str] | None) -> str:
        slash = "/" if self.levels else ""
        if rest.pattern is not None:
            return f"{slash}({rest.pattern.regex(_END, across=True, marks=marks)})"
        if self.after:
            return rf"{slash}([\s\S]+)"
        if rest.name in IDS or not self.levels:
            return rf"{slash}([\s\S]++)"
        return r"(?:/([\s\S]*+))?"

    # -- comparing ------------------------------------------------------------------------------------------------

    def covers(self, other: "Template") -> bool:
        """Whether every topic that ``other`` matches is matched by this one. Exact but for patterns: where they are not
        the same and cannot be listed, the answer may be False where True would be right.

        A text that neither template holds can only be taken by a field. Hence topics of ``other`` in which each field
        is one such character stand for all of its topics, but for the number of levels in its rest.
        """
        mine = re.compile(self._pattern(other._marks()))
        return other.is_within(mine, depth=len(self.levels) + len(self.after))

    def is_within(self, expression: re.Pattern[str], *, depth: int) -> bool:
        """Whether an expression of so many levels, of a template or of a topic filter, takes every topic of this one;
        with patterns no may be said for yes, as in `covers`.
        """
        return all(expression.match(topic) for topic in self._examples(self._marks(), depth + 2))

    def _marks(self) -> Mapping[str, str]:
        texts = sorted({field.pattern.text for field in self._all_fields() if field.pattern})
        return {text: chr(_FIRST_MARK + index) for index, text in enumerate(texts)}

    def _examples(self, marks: Mapping[str, str], deepest: int) -> Iterator[str]:
        """Topics that it matches, with a rest of up to so many levels."""
        own = re.compile(self._pattern(marks))
        tails: list[tuple[Level, ...]] = [()]
        if self.rest is not None:
            tails += [((rest,), *self.after) for rest in _rest_examples(self.rest, marks, deepest)]
        if self.optional is not None:
            tails.append(((self.optional,),))
        for tail in tails:
            levels = (*self.levels, *tail)
            texts = _few(
                [_level_examples(level, marks) for level in levels], [_example(level, marks) for level in levels]
            )
            yield from (topic for topic in _products(texts) if own.match(topic))


def _fields(levels: Iterable[Level]) -> Iterator[Field]:
    return (part for level in levels for part in level if isinstance(part, Field))


def _products(levels: list[tuple[str, ...]]) -> Iterator[str]:
    return ("/".join(texts) for texts in itertools.product(*levels))


def _few(levels: list[tuple[str, ...]], instead: Iterable[str]) -> list[tuple[str, ...]]:
    """For each level its texts, or what stands for all of them where the combinations would be too many."""
    kept: list[tuple[str, ...]] = []
    count = 1
    for texts, one in zip(levels, instead, strict=False):
        kept.append(texts if len(texts) == 1 or count * len(texts) <= LITERALS_MAX else (one,))
        count *= len(kept[-1])
    return kept


def _divides(level: Level, known: Mapping[str, str]) -> bool:
    """Whether a topic's level can be read as these values: each field but the last ends where the text after it is
    found first.
    """
    return all(
        (known[field.name] + text).find(text, 1) == len(known[field.name])
        for field, text in itertools.pairwise(level[:-1])
        if isinstance(field, Field) and isinstance(text, str) and field.name in known
    )


def _level_texts(level: Level, known: Mapping[str, str]) -> tuple[str, ...]:
    """What stands for this level in a filter: itself, the texts that its pattern lists, or ``+``."""
    if all(isinstance(part, str) or part.name in known for part in level):
        return ("".join(part if isinstance(part, str) else known[part.name] for part in level),)
    (first, *more) = level
    literals = None if more or isinstance(first, str) or first.pattern is None else first.pattern.literals
    return literals or ("+",)


def _level_examples(level: Level, marks: Mapping[str, str]) -> tuple[str, ...]:
    (first, *more) = level
    literals = None if more or isinstance(first, str) or first.pattern is None else first.pattern.literals
    return literals or (_example(level, marks),)


def _example(level: Level, marks: Mapping[str, str]) -> str:
    """A text that stands for all that the level takes."""
    return "".join(
        part if isinstance(part, str) else marks[part.pattern.text] if part.pattern else _ANY for part in level
    )


def _rest_examples(rest: Field, marks: Mapping[str, str], deepest: int) -> Iterator[str | Field]:
    """Texts of up to so many levels, some of them empty; the field itself where its pattern lists what it takes."""
    if rest.pattern is not None and rest.pattern.literals:
        yield rest
        return
    mark = _example((rest,), marks)
    for count in range(1, deepest + 1):
        yield from ("/".join([mark] * count), "/" * (count - 1))
    yield from (f"/{mark}", f"{mark}/")


def level_pattern(level: Level, marks: Mapping[str, str] | None = None) -> str:
    """A regular expression for one level.

    Each field but the last ends at the first place where the text after it is found, and stays there. The atomic groups
    keep that: without them a hostile level of 64 KiB would take quadratic time.
    """
    texts = [re.escape(part) for part in level if isinstance(part, str)]
    if len(level) == len(texts):
        return "".join(texts)
    if isinstance(level[0], Field) and level[0].pattern is not None:
        return f"({level[0].pattern.regex(_LEVEL_END, marks=marks)})"
    head = texts.pop(0) if isinstance(level[0], str) else ""
    tail = texts.pop() if isinstance(level[-1], str) else ""
    between = "".join(f"(?>([^/]+?){text})" for text in texts)
    return head + between + (f"([^/]+){tail}" if tail else "([^/]++)")
