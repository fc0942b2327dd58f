"""The topic on which the bridge of a device reports whether it is online.

It is a setting of a template, ``;bridge=zigbee2mqtt/bridge/state``. ``{name}`` in it stands for a field of the
template's topic, and ``{/pointer}`` for a text in the payload (RFC 6901)::

    home/{gateway}/BTtoMQTT/{device_id};tenant_id=home;bridge=home/{gateway}/LWT
    homie/5/{device_id}/{series...};tenant_id=home;bridge=homie/5/{/root}/$state
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hermes.topics.json_pointer import pointed_at, tokens_of

_PARTS = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_LEVEL = re.compile(r"[^/+#\0\ud800-\udfff]+")
LEVEL_MAX_CHARS = 1_024

Pointer = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldName:
    """The name of a field of the template's topic."""

    name: str


@dataclass(frozen=True, slots=True)
class BridgeTopic:
    """The parts of the topic.

    They are texts, fields of the template's topic, and unescaped JSON pointers into the payload.
    """

    parts: tuple[str | FieldName | Pointer, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields in it."""
        return tuple(part.name for part in self.parts if isinstance(part, FieldName))

    @property
    def pattern(self) -> str:
        """A regular expression for the topics of all bridges."""
        return "".join(re.escape(part) if isinstance(part, str) else "[^/]+" for part in self.parts) + r"\Z"

    def filter(self, known: Mapping[str, str]) -> str:
        """Return the MQTT topic filter for the bridges, with these values of fields."""
        text = "".join(
            part if isinstance(part, str) else known.get(part.name, "+") if isinstance(part, FieldName) else "+"
            for part in self.parts
        )
        return "/".join("+" if "+" in level else level for level in text.split("/"))


class BridgeMatch:
    """The topic of a bridge in a match.

    Its parts are texts, numbers of groups, and pointers into the payload.
    """

    __slots__ = ("_parts", "_text", "is_complete", "needs_payload")

    def __init__(self, parts: Sequence[str | int | Pointer]) -> None:
        self._parts = parts
        self.is_complete = not any(isinstance(part, int) for part in parts)
        self.needs_payload = any(isinstance(part, tuple) for part in parts)
        self._text = "".join(map(str, parts)) if self.is_complete and not self.needs_payload else None

    @classmethod
    def of(cls, topic: BridgeTopic, positions: Mapping[str, int]) -> "BridgeMatch":
        """Return the bridge's topic with the groups of its fields."""
        return cls([positions[part.name] if isinstance(part, FieldName) else part for part in topic.parts])

    def completed(self, found: re.Match[str]) -> "BridgeMatch":
        """Return it with the texts of its groups."""
        if self.is_complete:
            return self
        return BridgeMatch([found[part] if isinstance(part, int) else part for part in self._parts])

    def topic(self, value: object) -> str | None:
        """Return the topic; ``value`` is the parsed payload.

        None if a pointer finds no text that can be a topic level.
        """
        if self._text is not None:
            return self._text
        texts = [_level_at(part, value) if isinstance(part, tuple) else part for part in self._parts]
        return None if None in texts else "".join(map(str, texts))


def _level_at(pointer: Pointer, value: object) -> str | None:
    found = pointed_at(pointer, value)
    if isinstance(found, str) and len(found) <= LEVEL_MAX_CHARS and _LEVEL.fullmatch(found):
        return found
    return None


def parse_bridge_topic(text: str, *, fields: Sequence[str]) -> BridgeTopic:
    """Return the parsed topic; it may have these fields.

    Raises ValueError: the problem, and what to write.
    """
    parts: list[str | FieldName | Pointer] = []
    for inside, literal, stray in _PARTS.findall(text):
        if stray:
            raise ValueError(f"the braces in bridge={text} are not in pairs; write {{name}}")
        if literal:
            if "+" in literal or "#" in literal:
                raise ValueError(f"bridge={text} has a wildcard; write the topic, with {{name}} for a field of it")
            parts.append(literal)
        elif inside.startswith("/"):
            parts.append(tokens_of(inside))
        elif inside in fields:
            parts.append(FieldName(inside))
        else:
            known = ", ".join(f"{{{name}}}" for name in fields) or "none"
            raise ValueError(f"{{{inside}}} in bridge={text} is no single level of the topic; there are: {known}")
    return BridgeTopic(tuple(parts))
