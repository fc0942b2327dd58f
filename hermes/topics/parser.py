"""Parse topic templates.

Each error says what to write instead.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn, cast

from hermes.errors import TemplateError
from hermes.topics.bridge_topic import BridgeTopic, parse_bridge_topic
from hermes.topics.json_pointer import tokens_of
from hermes.topics.pattern import FieldPattern
from hermes.topics.template import (
    ADDRESS_FIELDS,
    DEVICE,
    ID_FIELDS,
    ID_MAX_CHARS,
    SERIES,
    TENANT,
    TOPIC_MAX_BYTES,
    Field,
    Level,
    PayloadKind,
    Template,
)

PAYLOADS = ("json", "cbor", "sparkplug")
ONLINE = frozenset({"online", "LWT"})  # series that report presence if a template does not name any
POINTERS = ("name", "devices")  # settings that can only be pointers
KEYS = (*ADDRESS_FIELDS, *POINTERS, "payload", "online", "bridge")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PARTS = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_LEVEL = re.compile(r"((?:[^/{]++|\{[^{}]*+\}|\{)*+)(?:/|\Z)")  # a / in the pattern of a field is not a separator
_REST, _OPTIONAL = "...", "?"
_CUT = re.compile(r"\{[^{}]*:[^{}]*\Z")  # the first part of a pattern with a comma
_COMMA = "; a comma ends an entry of HERMES_TOPICS, so give a pattern that contains one by --topic or in the TOML file"


def parse_template(text: str, *, preset: str = "") -> Template:
    """Return the template. Raises `TemplateError`: the problem, and what to write."""
    try:
        template = _parse(text, preset)
        _check_ids(template)
    except _InvalidTemplate as problem:
        raise TemplateError(f"template {_shown(text)}: {problem}") from None
    return template


def parse_exclusion(text: str, *, preset: str = "") -> Template:
    """Return a template of excluded topics, without ids. Raises `TemplateError`."""
    try:
        if ";" in text:
            _fail("excluded topics have no settings; remove the ; and the text after it")
        return _parse(text, preset)
    except _InvalidTemplate as problem:
        raise TemplateError(f"exclusion {_shown('!' + text)}: {problem}") from None


class _InvalidTemplate(Exception):
    """The problem of a template, and what to write."""


def _parse(text: str, preset: str) -> Template:
    topic, *settings = text.split(";")
    _check_text(topic, text)
    texts = _levels_of(topic)
    optional = _field(texts.pop()[1:-1].replace(_OPTIONAL, "", 1)) if _is_optional(texts[-1]) else None
    rests = [index for index, level in enumerate(texts) if _is_rest(level)]
    if len(rests) + (optional is not None) > 1:
        _fail("two fields end in ... or ?, so Hermes cannot know where the first one ends; only one may")
    at = rests[0] if rests else len(texts)
    rest = _field(texts[at][1:-1].replace(_REST, "", 1)) if rests else None
    levels, after = [_level(level) for level in texts[:at]], [_level(level) for level in texts[at + 1 :]]
    _check_parts(topic, levels, rest=rest, after=after, optional=optional)
    constants, pointers, others = _settings(settings)
    online, online_pointer = _online(others.get("online"))
    members = pointers.get(SERIES)
    if members == ():
        del pointers[SERIES]  # the whole payload can only be an object of members
    template = Template(
        text=text,
        levels=tuple(levels),
        rest=rest,
        after=tuple(after),
        optional=optional,
        constants=MappingProxyType(constants),
        pointers=MappingProxyType(pointers),
        payload=_payload(others.get("payload", "json")),
        online=online,
        online_pointer=online_pointer,
        name_pointer=_optional_pointer("name", others),
        members_pointer=members,
        devices_pointer=_optional_pointer("devices", others),
        preset=preset,
        bridge=_bridge(others.get("bridge"), [*levels, *after]),
    )
    _check_names(template)
    return template


def _fail(text: str) -> NoReturn:
    raise _InvalidTemplate(text)


def _check_text(topic: str, text: str) -> None:
    if not topic:
        _fail("the topic is empty; write one such as tenants/{tenant_id}/devices/{device_id}/{series...}")
    if "\0" in text:
        _fail("a NUL character is not allowed in topics (MQTT-1.5.4-2); leave it out")
    if "+" in re.sub(r"\{[^{}]*\}", "", topic) or "#" in topic:
        _fail("the wildcards + and # are not allowed; write {name} for one level, {name...} for the rest")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        _fail("it is not valid UTF-8; write the topic's characters as they are")
    if size > TOPIC_MAX_BYTES:
        _fail(f"it is longer than {TOPIC_MAX_BYTES:,} bytes, the longest topic of MQTT; shorten it")


def _levels_of(topic: str) -> list[str]:
    """Return the levels; a ``/`` in the pattern of a field is not a separator."""
    levels = _LEVEL.findall(topic)
    return levels if topic.endswith("/") else levels[:-1]  # otherwise the last match is the empty text at the end


def _is_whole_field(level: str) -> bool:
    return level.startswith("{") and level.endswith("}") and level.count("{") == level.count("}") == 1


def _is_rest(level: str) -> bool:
    return _is_whole_field(level) and level[1:-1].partition(":")[0].endswith(_REST)


def _is_optional(level: str) -> bool:
    return _is_whole_field(level) and level[1:-1].partition(":")[0].endswith(_OPTIONAL)


def _level(text: str) -> Level:
    parts: list[str | Field] = []
    for match in _PARTS.finditer(text):
        inside, literal, stray = match.groups()
        if stray:
            _fail(f"the braces in {text!r} are not in pairs; write {{name}}{_COMMA if _CUT.search(text) else ''}")
        if inside is None:
            parts.append(literal)
            continue
        if parts and isinstance(parts[-1], Field):
            _fail(f"two fields touch in {text!r}; put a character between them")
        parts.append(_plain_field(inside, text))
    if len(parts) > 1 and any(isinstance(part, Field) and part.pattern for part in parts):
        _fail(f"in {text!r} a field with a pattern is only a part of the level; remove the pattern, or the other part")
    return tuple(parts) or ("",)


def _plain_field(inside: str, level: str) -> Field:
    name = inside.partition(":")[0]
    if name.endswith(_REST) and not _is_whole_field(level):
        _fail(f"{{{name}}} must be the whole of a level; write {{{name[:-3]}}}")
    if name.endswith(_OPTIONAL):
        _fail(f"{{{name}}} must be the whole of the last level: only that may be absent; write {{{name[:-1]}}}")
    if "/" in inside:
        _fail(f"the pattern of {{{name}}} contains a /, but the field is one level; write {{{name}...}} for several")
    return _field(inside)


def _field(inside: str) -> Field:
    name, colon, text = inside.partition(":")
    if not name:
        _fail("a field has no name; write {name}")
    if not _NAME.fullmatch(name):
        _fail(f"{name!r} is not a field name; use letters, digits and _, not beginning with a digit")
    if not colon:
        return Field(name)
    pattern = FieldPattern(text)
    problem = pattern.problem()
    if problem is not None:
        _fail(problem)
    return Field(name, pattern)


def _check_parts(
    topic: str, levels: list[Level], *, rest: Field | None, after: list[Level], optional: Field | None
) -> None:
    if topic.startswith("$share/"):
        _fail("$share/… is a shared subscription, not a topic; write the topic alone")
    if topic.startswith("$") and len(levels) and len(levels[0]) > 1:
        _fail("a first level that begins with $ cannot contain a field, because no wildcard matches it; write it out")
    first = next((part for level in levels[:1] for part in level[:1]), rest)
    if (
        isinstance(first, Field)
        and first.pattern
        and not first.pattern.negated
        and "$" in _first_characters(first.pattern)
    ):
        _fail("no field matches a first level that begins with $; write that level out")
    if rest is not None and after and rest.pattern is not None:
        _fail(f"{{{rest.name}...}} has a pattern and levels after it; leave one out, or exclude topics with !filter")
    if optional is not None and (optional.name in ID_FIELDS or not levels):
        _fail(f"{{{optional.name}?}} may not be absent; write {{{optional.name}}}")


def _first_characters(pattern: FieldPattern) -> set[str]:
    return {alternative[0] for alternative in pattern.alternatives}


def _settings(texts: list[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]], dict[str, str]]:
    """Return constants, pointers, and the other settings."""
    constants: dict[str, str] = {}
    pointers: dict[str, tuple[str, ...]] = {}
    others: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in KEYS:
            _fail(f"{key!r} after ; is not known; write {', '.join(f'{name}=…' for name in KEYS)}")
        if not equals or not value:
            _fail(f"{key} has no value; {_example(key)}")
        if key in constants or key in pointers or key in others:
            _fail(f"{key} is set twice; leave one out")
        if key not in ADDRESS_FIELDS:
            others[key] = value
        elif value.startswith("/"):
            pointers[key] = () if (key, value) == (SERIES, "/") else _pointer(key, value)
        else:
            constants[key] = _constant(key, value)
    return constants, pointers, others


def _constant(key: str, value: str) -> str:
    if len(value) > ID_MAX_CHARS:
        _fail(f"{key} has more than {ID_MAX_CHARS:,} characters; shorten it")
    return value


def _example(key: str) -> str:
    if key in POINTERS:
        return f"write {key}=/json/pointer, or {key}=/ for the whole payload"
    if key == "payload":
        return f"write payload={' or payload='.join(PAYLOADS)}"
    if key == "bridge":
        return "write bridge=TOPIC, the topic on which the bridge of the devices reports whether it is online"
    if key == "online":
        return "write online=SERIES, online=ONE|OTHER or online=/json/pointer"
    return f"write {key}=constant or {key}=/json/pointer"


def _payload(text: str) -> PayloadKind:
    if text not in PAYLOADS:
        _fail(f"payload={text} is not known; {_example('payload')}")
    return cast(PayloadKind, text)


def _online(text: str | None) -> tuple[frozenset[str], tuple[str, ...] | None]:
    if text is None:
        return ONLINE, None
    if text.startswith("/"):
        return frozenset(), _pointer("online", text)
    names = text.split("|")
    if not all(names):
        _fail(f"online={text} has an empty name; {_example('online')}")
    return frozenset(names), None


def _bridge(text: str | None, levels: list[Level]) -> BridgeTopic | None:
    if text is None:
        return None
    try:
        return parse_bridge_topic(
            text, fields=[part.name for level in levels for part in level if isinstance(part, Field)]
        )
    except ValueError as problem:
        _fail(str(problem))


def _optional_pointer(key: str, others: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the pointer of a setting of `POINTERS`; ``/`` alone is the whole payload."""
    text = others.get(key)
    if text is None or text == "/":
        return None if text is None else ()
    if not text.startswith("/"):
        _fail(f"{key}={text} is not a JSON pointer; {_example(key)}")
    return _pointer(key, text)


def _pointer(key: str, text: str) -> tuple[str, ...]:
    try:
        return tokens_of(text)
    except ValueError as problem:
        _fail(f"{key}={problem}")


def _check_names(template: Template) -> None:
    fields = template.fields
    for name in (*fields, *template.constants):
        if (*fields, *template.constants).count(name) > 1:
            _fail(f"{name} comes from two places; remove one of them")


def _check_ids(template: Template) -> None:
    if template.payload == "sparkplug" and template.bridge:
        _fail("payload=sparkplug has births and deaths of its own; leave out bridge=")
    others = template.online_pointer, template.name_pointer, template.members_pointer, template.devices_pointer
    if template.payload == "sparkplug" and (template.pointers or any(pointer is not None for pointer in others)):
        _fail("payload=sparkplug has no JSON for pointers; leave them out (births and deaths report presence)")
    has_devices = template.devices_pointer is not None
    if has_devices and DEVICE in (*template.fields, *template.constants):
        _fail(f"{DEVICE} comes from two places, because devices= reads the devices from the payload; rename the field")
    for name in (TENANT, DEVICE):
        known = (*template.fields, *template.constants, *template.pointers)
        if name not in known and not (has_devices and name == DEVICE):
            choice = f"write {{{name}}} in the topic, or add ;{name}=constant or ;{name}=/json/pointer"
            _fail(f"{name} is missing; {choice}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")
