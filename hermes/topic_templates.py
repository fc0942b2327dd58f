"""Floor 1: one topic template, from its text to the topics that it matches."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hermes.errors import TemplateError

TENANT, DEVICE, SERIES = "tenant_id", "device_id", "series"
WANTED = (TENANT, DEVICE, SERIES)
TEMPLATE_MAX_BYTES = 65_535  # MQTT 5 §1.5.4: the longest string that a packet can hold

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PARTS = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_REST = "..."


@dataclass(frozen=True, slots=True)
class Field:
    """A place in the topic that takes any non-empty text without ``/``."""

    name: str


Level = tuple[str | Field, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. ``rest`` is the name of its ``{name...}``, ``pointers`` are lists of unescaped tokens."""

    text: str
    levels: tuple[Level, ...]
    rest: str | None
    constants: Mapping[str, str]
    pointers: Mapping[str, tuple[str, ...]]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, in the order of the groups of `pattern`."""
        names = [part.name for level in self.levels for part in level if isinstance(part, Field)]
        return (*names, self.rest) if self.rest else tuple(names)

    @property
    def filter(self) -> str:
        """The MQTT topic filter that brings at least the topics that it matches."""
        levels = ["+" if _has_field(level) else "".join(map(str, level)) for level in self.levels]
        return "/".join([*levels, "#"] if self.rest else levels)

    @property
    def pattern(self) -> str:
        """A regular expression for the topics that it matches, one group per field. It never backtracks far."""
        pattern = "/".join(_level_pattern(level) for level in self.levels)
        if self.rest:
            pattern += self._rest_pattern(self.rest)
        leading_field = not self.levels or isinstance(self.levels[0][0], Field)
        return (r"(?!\$)" if leading_field else "") + pattern + r"\Z"  # MQTT-4.7.2-1

    def _rest_pattern(self, name: str) -> str:
        is_id = name in (TENANT, DEVICE)
        if not self.levels:
            return r"([\s\S]++)"
        return r"/([\s\S]++)" if is_id else r"(?:/([\s\S]*+))?"

    def covers(self, other: "Template") -> bool:
        """Whether every topic that ``other`` matches is matched by this one. Exact.

        A character that neither text holds can only be taken by a field. Hence a topic of ``other`` in which each
        field is one such character stands for all of its topics, but for the number of levels in its rest.
        """
        if other.rest and (not self.rest or len(self.levels) > len(other.levels)):
            return False  # an empty level, or more levels than this one has
        mine = re.compile(self.pattern)
        return all(mine.match(topic) for topic in other.examples(_unused_in(self.text + other.text)))

    def examples(self, filler: str) -> Iterator[str]:
        """Topics that it matches, each field filled with ``filler``: with the least rest and with a longer one."""
        levels = ["".join(filler if isinstance(part, Field) else part for part in level) for level in self.levels]
        if self.rest:
            yield "/".join([*levels, filler])
        if self.levels and self.rest not in (TENANT, DEVICE):
            yield "/".join(levels)
        if self.levels and self.rest and self.rest not in (TENANT, DEVICE):
            yield "/".join([*levels, ""])


def parse_template(text: str) -> Template:
    """The template that the text describes. Raises `TemplateError`: what is wrong, and what to write."""
    try:
        return _parse(text)
    except _Fault as fault:
        raise TemplateError(f"template {_shown(text)}: {fault}") from None


class _Fault(Exception):
    """What is wrong with a template, and what to write."""


def _parse(text: str) -> Template:
    topic, *settings = text.split(";")
    _check_text(topic, text)
    *names, last = topic.split("/")
    levels = [_level(level) for level in names]
    rest = _rest_name(last)
    if rest is None:
        levels.append(_level(last))
    _check_dollar(topic, levels)
    constants, pointers = _settings(settings)
    template = Template(text, tuple(levels), rest, MappingProxyType(constants), MappingProxyType(pointers))
    _check_names([*template.fields, *constants, *pointers])
    return template


def _check_text(topic: str, text: str) -> None:
    if not topic:
        raise _Fault("the topic is empty; write one such as tenants/{tenant_id}/devices/{device_id}/{series...}")
    if "\0" in text:
        raise _Fault("a NUL character is not allowed in topics (MQTT-1.5.4-2); leave it out")
    if "+" in topic or "#" in topic:
        raise _Fault("the wildcards + and # are not allowed; write {name} for one level, {name...} for the rest")
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        raise _Fault("it is not valid UTF-8; write the topic's characters as they are") from None
    if size > TEMPLATE_MAX_BYTES:
        raise _Fault(f"it is longer than {TEMPLATE_MAX_BYTES:,} bytes, the longest topic that MQTT knows; shorten it")


def _check_dollar(topic: str, levels: list[Level]) -> None:
    if topic.startswith("$share/"):
        raise _Fault("$share/… is a kind of subscription, no topic; write the topic alone")
    if topic.startswith("$") and _has_field(levels[0]):
        raise _Fault("a first level that begins with $ cannot hold a field, for no wildcard matches it; write it out")


def _rest_name(level: str) -> str | None:
    """The name in a last level ``{name...}``, or None where it is an ordinary level."""
    if level.startswith("{") and level.endswith(_REST + "}") and level.count("{") == level.count("}") == 1:
        return _checked_name(level[1 : -len(_REST) - 1])
    return None


def _level(text: str) -> Level:
    parts: list[str | Field] = []
    for match in _PARTS.finditer(text):
        name, literal, stray = match.groups()
        if stray:
            raise _Fault(f"the braces in {text!r} are not in pairs; write {{name}}")
        if name is None:
            parts.append(literal)
            continue
        if parts and isinstance(parts[-1], Field):
            raise _Fault(f"two fields touch in {text!r}; put a character between them")
        if name.endswith(_REST):
            raise _Fault(f"{{{name}}} must be the whole of the last level; move it there, or write {{{name[:-3]}}}")
        parts.append(Field(_checked_name(name)))
    return tuple(parts) or ("",)


def _checked_name(name: str) -> str:
    if not name:
        raise _Fault("a field has no name; write {name}")
    if not _NAME.fullmatch(name):
        raise _Fault(f"{name!r} is no field name; use letters, digits and _, not beginning with a digit")
    return name


def _settings(texts: list[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    constants: dict[str, str] = {}
    pointers: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in WANTED:
            raise _Fault(f"{key!r} after ; is not known; write {TENANT}=…, {DEVICE}=… or {SERIES}=…")
        if not equals or not value:
            raise _Fault(f"{key} has no value; write {key}=constant or {key}=/json/pointer")
        if key in constants or key in pointers:
            raise _Fault(f"{key} is set twice; leave one out")
        if value.startswith("/"):
            pointers[key] = _pointer(key, value)
        else:
            constants[key] = value
    return constants, pointers


def _pointer(key: str, text: str) -> tuple[str, ...]:
    if re.search(r"~(?![01])", text):
        raise _Fault(f"{key}={text} is no JSON pointer (RFC 6901); write ~0 for ~ and ~1 for / inside a name")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def _check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise _Fault(f"{name} comes from two places; keep one of them")
    for name in (TENANT, DEVICE):
        if name not in names:
            choice = f"write {{{name}}} in the topic, or add ;{name}=constant or ;{name}=/json/pointer"
            raise _Fault(f"{name} is missing; {choice}")


def _level_pattern(level: Level) -> str:
    """Each field but the last ends at the first place where the text after it is found, and stays there.

    The atomic groups keep that: without them a hostile level of 64 KiB would take quadratic time.
    """
    texts = [re.escape(part) for part in level if isinstance(part, str)]
    if not _has_field(level):
        return "".join(texts)
    head = texts.pop(0) if isinstance(level[0], str) else ""
    tail = texts.pop() if isinstance(level[-1], str) else ""
    between = "".join(f"(?>([^/]+?){text})" for text in texts)
    return head + between + (f"([^/]+){tail}" if tail else "([^/]++)")


def _has_field(level: Level) -> bool:
    return any(isinstance(part, Field) for part in level)


def _unused_in(text: str) -> str:
    """A character that the text does not hold."""
    return next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")
