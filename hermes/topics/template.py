"""Parsed topic template: the topics that it matches, and their MQTT filters."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hermes.ids import DeviceId, TenantId
from hermes.topics import filters as topic_filters
from hermes.topics.bridge_topic import BridgeTopic
from hermes.topics.pattern import FieldPattern

TENANT, DEVICE, SERIES = "tenant_id", "device_id", "series"
ADDRESS_FIELDS = (TENANT, DEVICE, SERIES)
ID_FIELDS = (TENANT, DEVICE)
ID_MAX_CHARS = 1_024  # ids are kept in keys, in URLs and in the memory of last values
TOPIC_MAX_BYTES = 65_535  # MQTT 5 §1.5.4: the longest string of a packet
LITERALS_MAX = 32  # combinations of listed texts that get a filter each; above this, + replaces a level

NOT_IN_MAPPING = ("online=", "bridge=", "name=")

PayloadKind = Literal["json", "cbor", "sparkplug"]

_END, _LEVEL_END = r"\Z", r"(?:/|\Z)"
_LEGAL = re.compile(r"[^+#\0\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Field:
    """Placeholder for a non-empty text without ``/`` that its pattern accepts."""

    name: str
    pattern: FieldPattern | None = None

    def __str__(self) -> str:
        return f"{{{self.name}:{self.pattern.text}}}" if self.pattern else f"{{{self.name}}}"


Level = tuple[str | Field, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """Parsed template.

    Its topic is ``levels``, then ``rest`` (the field ``{name...}``), then ``after``; or it is ``levels`` and
    ``optional``, a last level that may be absent. ``pointers`` maps names to unescaped JSON pointer tokens; the topic
    may contain such a name too, and then both values must be equal. ``bridge`` is the topic of the devices' bridge.

    A message may contain several values: ``members_pointer`` leads to an object of which each member is a series,
    ``devices_pointer`` to an object or array with a message of each device. Then the other pointers lead into that
    message. ``name_pointer`` leads to the device's name. The empty pointer is the whole payload. ``extended`` is False
    if a message is always one value without a name, which needs none of this.
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
    name_pointer: tuple[str, ...] | None = None
    members_pointer: tuple[str, ...] | None = None
    devices_pointer: tuple[str, ...] | None = None
    preset: str = ""
    bridge: BridgeTopic | None = None
    extended: bool = field(init=False)

    def __post_init__(self) -> None:
        """Compute once what each message is asked for."""
        pointers = self.name_pointer, self.members_pointer, self.devices_pointer
        extended = self.payload == "sparkplug" or any(pointer is not None for pointer in pointers)
        object.__setattr__(self, "extended", extended)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, in the order of the groups of `pattern`."""
        return tuple(field.name for field in self._all_fields())

    @property
    def mapping(self) -> str:
        """The text without the settings that change neither an address nor a value."""
        return ";".join(part for part in self.text.split(";") if not part.startswith(NOT_IN_MAPPING))

    @property
    def starts_with_field(self) -> bool:
        """Whether the topic begins with a field; then topics with ``$`` do not match."""
        return not self.levels or isinstance(self.levels[0][0], Field)

    @property
    def rest_needs_text(self) -> bool:
        """Whether ``rest`` has at least one character; otherwise it may be absent."""
        rest = self.rest
        return rest is not None and bool(self.after or rest.pattern or rest.name in ID_FIELDS or not self.levels)

    @property
    def is_plain(self) -> bool:
        """Whether it matches all topics of its filters except those with an empty level.

        True if each level is a text or one field without a pattern, and ``rest`` comes last.
        """
        whole = all(len(level) == 1 for level in self.levels) and not self.after
        return whole and all(field.pattern is None for field in self._all_fields())

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
        """The MQTT topic filters that cover every topic of the template."""
        return self._filters({})

    def filters_for(self, tenant_id: TenantId, device_id: DeviceId | None = None) -> tuple[str, ...]:
        """Return filters for the topics of this tenant, or of this device of the tenant.

        They cover all these topics and as few others as possible. If only the payload contains an id, they cover the
        topics of all ids. An empty result means that the template has no topic for these ids.
        """
        known: dict[str, str] = {TENANT: tenant_id} | ({} if device_id is None else {DEVICE: device_id})
        if any(self.constants.get(name, value) != value for name, value in known.items()):
            return ()
        fields = {field.name: field for field in self._all_fields()}
        if not all(self._accepts(fields[name], value) for name, value in known.items() if name in fields):
            return ()
        if not all(_can_contain(level, known) for level in (*self.levels, *self.after)):
            return ()
        found = self._filters(known)
        return found if self.text.startswith("$") else tuple(text for text in found if not text.startswith("$"))

    def _accepts(self, field: Field, value: str) -> bool:
        across = field is self.rest
        legal = _LEGAL.fullmatch(value) is not None and (across or "/" not in value)
        return (
            legal
            and len(value) <= ID_MAX_CHARS
            and (field.pattern is None or field.pattern.matches(value, across=across))
        )

    def _filters(self, known: Mapping[str, str]) -> tuple[str, ...]:
        tails: list[list[Level]] = [[]]
        if self.rest is not None and self.rest.name not in known:
            tails = [[("#",)]]
        elif self.rest is not None:
            tails = [[(self.rest,), *self.after]]
        elif self.optional is not None:
            tails = [[], [(self.optional,)]]
        found = (text for tail in tails for text in _combined([*self.levels, *tail], known))
        return topic_filters.uncovered(text for text in found if 0 < len(text.encode()) <= TOPIC_MAX_BYTES)

    # -- matching -------------------------------------------------------------------------------------------------

    @property
    def pattern(self) -> str:
        """A regular expression with one group per field; matching takes linear time."""
        pattern = "/".join(level_pattern(level) for level in self.levels)
        if self.rest:
            pattern += self._rest_pattern(self.rest)
        pattern += "".join(f"/{level_pattern(level)}" for level in self.after)
        if self.optional:
            pattern += f"(?:/{level_pattern((self.optional,))})?"
        return (r"(?!\$)" if self.starts_with_field else "") + pattern + _END  # MQTT-4.7.2-1

    def _rest_pattern(self, rest: Field) -> str:
        slash = "/" if self.levels else ""
        if rest.pattern is not None:
            return f"{slash}({rest.pattern.regex(_END, across=True)})"
        if self.after:
            return rf"{slash}([\s\S]+)"
        return rf"{slash}([\s\S]++)" if self.rest_needs_text else r"(?:/([\s\S]*+))?"


def level_pattern(level: Level) -> str:
    """Return a regular expression for one level.

    Each field except the last ends before the first occurrence of the text after it. The atomic groups prevent the
    regular expression from trying another end: without them, an attacker's level of 64 KiB would take quadratic time.
    """
    texts = [re.escape(part) for part in level if isinstance(part, str)]
    if len(level) == len(texts):
        return "".join(texts)
    if isinstance(level[0], Field) and level[0].pattern is not None:
        return f"({level[0].pattern.regex(_LEVEL_END)})"
    head = texts.pop(0) if isinstance(level[0], str) else ""
    tail = texts.pop() if isinstance(level[-1], str) else ""
    between = "".join(f"(?>([^/]+?){text})" for text in texts)
    return head + between + (f"([^/]+){tail}" if tail else "([^/]++)")


def _fields(levels: Iterable[Level]) -> Iterator[Field]:
    return (part for level in levels for part in level if isinstance(part, Field))


def _combined(levels: Iterable[Level], known: Mapping[str, str]) -> Iterator[str]:
    """Return the combinations of the levels' texts.

    ``+`` replaces a level if its texts would make more than `LITERALS_MAX` combinations. Combinations are counted
    without ``known``, so that the filters with ``known`` are never wider than those without it: `hermes.broker.acl`
    relies on that.
    """
    count = 1
    limited: list[tuple[str, ...]] = []
    for level in levels:
        number, texts = len(_level_texts(level, {})), _level_texts(level, known)
        listed = count * number <= LITERALS_MAX
        count *= number if listed else 1
        limited.append(texts if listed or len(texts) == 1 else ("+",))
    return ("/".join(texts) for texts in itertools.product(*limited))


def _can_contain(level: Level, known: Mapping[str, str]) -> bool:
    """Return whether a topic level can be read as these values.

    Each field except the last ends before the first occurrence of the text after it.
    """
    return all(
        (known[field.name] + text).find(text, 1) == len(known[field.name])
        for field, text in itertools.pairwise(level[:-1])
        if isinstance(field, Field) and isinstance(text, str) and field.name in known
    )


def _level_texts(level: Level, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the texts of a level in filters: its text, the listed texts, or ``+``."""
    if all(isinstance(part, str) or part.name in known for part in level):
        return ("".join(part if isinstance(part, str) else known[part.name] for part in level),)
    (first, *more) = level
    literals = None if more or isinstance(first, str) or first.pattern is None else first.pattern.literals
    return literals or ("+",)
