"""``hermes topics explain``: how a topic is mapped to a device, or why it is not.

It reads only the topic templates of the settings: it opens no connection and needs no secret.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from hermes.cli.arguments import add_setting_flags, given
from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.errors import AddressNotFound, ConfigError, PayloadError
from hermes.ingest import extras
from hermes.ingest import payload as payloads
from hermes.ingest.parts import Parts
from hermes.ingest.payload import Payload
from hermes.ingest.presence import is_presence, presence
from hermes.metrics import Metrics
from hermes.mqtt.bridge import PAYLOAD_MAX_BYTES
from hermes.settings.load import load
from hermes.settings.model import TopicSettings
from hermes.topics import filters as topic_filters
from hermes.topics.exclusion import Exclusion
from hermes.topics.json_pointer import pointed_at
from hermes.topics.mismatch import mismatch
from hermes.topics.template import ADDRESS_FIELDS, TOPIC_MAX_BYTES, Template
from hermes.topics.topic_map import TopicMap, TopicMatch, matching_preset

EXAMPLES = """\
examples:
  hermes topics explain tenants/acme/devices/climate-01/temp
  hermes topics explain --topic zigbee2mqtt zigbee2mqtt/kitchen/lamp/availability '{"state":"online"}'
  hermes topics explain --config /etc/hermes/hermes.toml application/17/device/0102/event/up @uplink.json

Exit code 0 if Hermes would deliver the message, 1 if it would not."""

SHOWN_MAX_CHARS = 200
SHOWN_MAX_PARTS = 20
LABELS = ("tenant", "device", "series")
NO_SERIES = '"" (none)'
JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the parser of ``explain``."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, dest="verb")
    text = "print which template matches a topic and what Hermes makes of the message, or why none matches"
    command = verbs.add_parser(
        "explain",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("topic", metavar="TOPIC", help="a topic as a device publishes to it")
    command.add_argument(
        "payload", metavar="PAYLOAD", nargs="?", help="JSON or any text, @FILE, or - for standard input"
    )
    add_setting_flags(command, TopicSettings)


def run(options: argparse.Namespace) -> int:
    """Print the explanation. Raises `ConfigError`."""
    entries = load(TopicSettings, given(options)).topics
    _check_topic(options.topic)
    explanation = Explanation(TopicMap(entries), options.topic, _read(options.payload), _is_bytes(options.payload))
    print("\n".join(explanation.lines()))
    return 0 if explanation.delivered else 1


def _check_topic(topic: str) -> None:
    """Check a topic name by MQTT 5 §4.7.1.1 and §4.7.3. Raises `ConfigError`."""
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        raise ConfigError(["the topic is not UTF-8, so no broker accepts it"]) from None
    if not 0 < size <= TOPIC_MAX_BYTES or any(sign in topic for sign in "+#\0"):
        raise ConfigError([f"{topic[:SHOWN_MAX_CHARS]!r} is not a topic: 1 to 65,535 bytes without +, # and NUL"])


def _is_bytes(payload: str | None) -> bool:
    return payload is not None and (payload == "-" or payload.startswith("@"))


def _read(payload: str | None) -> bytes | None:
    if payload is None:
        return None
    if payload == "-":
        return sys.stdin.buffer.read()
    if not payload.startswith("@"):
        return os.fsencode(payload)  # the bytes as typed
    try:
        return Path(payload[1:]).read_bytes()
    except OSError as error:
        raise ConfigError([f"cannot read {payload[1:]}: {error.strerror}"]) from None


class Explanation:
    """What Hermes makes of one message.

    ``delivered``, once all `lines` are made: whether Hermes would deliver the message to sockets.
    """

    def __init__(self, topics: TopicMap, topic: str, payload: bytes | None, is_bytes: bool) -> None:
        self._topics = topics
        self._topic = topic
        self._raw = payload
        self._is_bytes = is_bytes
        self.delivered = True

    def lines(self) -> Iterator[str]:
        """Return the explanation, line by line."""
        yield _line("topic", self._topic)
        if self._topics.is_bridge(self._topic):
            yield _line("bridge", "its devices are offline while this topic reports that it is")
        match = self._topics.match(self._topic)
        yield from self._not_matched() if match is None else self._matched(match)
        for text in self._topics.filters:
            matches = re.match(topic_filters.pattern(text), self._topic)
            yield _line("subscribed", f"{text}  (matches this topic)" if matches else text)

    def _not_matched(self) -> Iterator[str]:
        self.delivered = False
        for exclusion in self._topics.exclusions:
            if re.match(exclusion.pattern, self._topic):
                yield _line("excluded", f"by {_named(exclusion)}")
                yield from self._shadowed(self._topics.templates)
                return
        yield _line("template", "none matches")
        preset = matching_preset(self._topic)
        if preset is not None:
            yield _line("preset", f"{preset} matches this topic: add --topic {preset}")
        for template in self._topics.templates:
            yield f"  {_named(template)}"
            yield f"      {mismatch(template, self._topic)}"

    def _matched(self, match: TopicMatch) -> Iterator[str]:
        yield _line("template", _named(match.template))
        templates = self._topics.templates
        yield from self._shadowed(templates[templates.index(match.template) + 1 :])
        try:
            if self._raw is not None and len(self._raw) > PAYLOAD_MAX_BYTES:
                yield self._dropped("too_large", f"{len(self._raw):,} bytes; at most {PAYLOAD_MAX_BYTES:,} are allowed")
            elif match.template.payload == "sparkplug":
                yield from self._sparkplug(match)
            else:
                yield from self._value(match, self._decoded(match.template))
        except AddressNotFound as error:
            yield self._dropped(error.reason, str(error))
        except PayloadError as error:
            yield self._dropped("undecodable", str(error))

    def _shadowed(self, templates: Sequence[Template]) -> Iterator[str]:
        """Name those templates that match the topic too; an entry before them decides."""
        for template in templates:
            if re.match(template.pattern, self._topic):
                yield _line("shadowed", f"{_named(template)}, which matches too")

    def _dropped(self, reason: str, text: str) -> str:
        self.delivered = False
        return _line("dropped", f"{text} (hermes_mqtt_dropped_total, reason {reason})")

    def _decoded(self, template: Template) -> Payload | None:
        """Return the payload, or None if there is none or it cannot be decoded here."""
        if self._raw is None or (template.payload == "cbor" and self._why_not(template)):
            return None
        if template.payload == "cbor" and self._raw:
            from hermes.ingest import cbor  # an extra

            return cbor.decode(self._raw)
        return payloads.decode(self._raw)

    def _why_not(self, template: Template) -> str:
        """Return why a binary payload cannot be decoded here, or an empty text."""
        if not self._is_bytes:
            return f"{template.payload}: to decode it, give its bytes as @FILE, or - for standard input"
        return "; ".join(extras.missing([template]))

    def _value(self, match: TopicMatch, payload: Payload | None) -> Iterator[str]:
        template = match.template
        if payload is None:
            yield from _unresolved(match)
            if template.payload != "json":
                yield _line("payload", self._why_not(template))
            if match.series is not None and is_presence(template, match.series):
                yield _line("presence", "this series reports whether the device is online")
            return
        yield _line("payload", _kind(self._raw or b"", payload, template))
        for name, pointer in _pointers(template):
            yield _line("pointer", f"{name}=/{'/'.join(pointer)} finds {_json(pointed_at(pointer, payload.value))}")
        if template.extended and self._raw:
            yield from self._parts(match, payload)
            yield from _bridge(match, payload)
            return
        tenant_id, device_id, series = match.resolve(payload.value)
        yield from _ids(tenant_id, device_id, series)
        yield from _bridge(match, payload)
        if is_presence(template, series):
            yield _line("presence", _presence(template, payload, cleared=not self._raw))

    def _parts(self, match: TopicMatch, payload: Payload) -> Iterator[str]:
        """Show the first frames of a message that may have several, or a name."""
        errors: list[AddressNotFound] = []
        parts = Parts(match, payload, topic=self._topic, on_error=errors.append)
        found = [part for part in parts if part is not None]
        self.delivered = bool(found)
        names: dict[tuple[str, str, str], None] = {}
        for part in found[:SHOWN_MAX_PARTS]:
            ids = part.tenant_id, part.device_id, part.device_name
            if ids not in names:
                names[ids] = None
                yield _line("tenant", part.tenant_id)
                yield _line("device", part.device_id)
                if part.device_name:
                    yield _line("name", part.device_name)
            yield _line("series", f"{part.series or NO_SERIES}  {_short(part.payload.data.decode())}")
            if part.presence is not None:
                yield _line("presence", _presence(match.template, part.presence, cleared=False))
        if len(found) > SHOWN_MAX_PARTS:
            yield _line("series", f"and {len(found) - SHOWN_MAX_PARTS:,} more")
        for error in errors[:SHOWN_MAX_PARTS]:
            yield _line("dropped", f"a part: {error} (hermes_mqtt_dropped_total, reason {error.reason})")
        if parts.left_out:
            yield _line("dropped", f"{parts.left_out:,} values (hermes_mqtt_dropped_total, reason too_many)")

    def _sparkplug(self, match: TopicMatch) -> Iterator[str]:
        tenant_id, device_id, _ = match.resolve(None)
        yield from _ids(tenant_id, device_id, None)
        why_not = self._why_not(match.template)
        if why_not:
            yield _line("payload", why_not)
            return
        from hermes.ingest.sparkplug.reader import Sparkplug  # an extra

        reader = Sparkplug(publish=lambda topic, payload: False, metrics=Metrics())
        steps = reader.read(
            self._topic, self._raw or b"", tenant_id=tenant_id, device_id=device_id, retained=False, timestamp_ms=0
        )
        found = [update for update in steps if update is not None]
        size = len(self._raw or b"")
        yield _line("payload", f"Sparkplug B, {size:,} bytes; metrics with a name in the birth only are not shown")
        yield from map(_reported, found)


def _bridge(match: TopicMatch, payload: Payload) -> Iterator[str]:
    if match.bridge is not None and (bridge := match.bridge.topic(payload.value)) is not None:
        yield _line("bridge", f"{bridge}: the device is offline while that topic reports offline")


def _pointers(template: Template) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return the pointers into the payload with the names of their settings.

    With ``devices`` the others lead into the message of each device.
    """
    if template.devices_pointer is not None:
        yield "devices", template.devices_pointer
        return
    yield from template.pointers.items()
    if template.members_pointer == ():
        yield "series", ()
    if template.name_pointer is not None:
        yield "name", template.name_pointer


def _named(entry: Template | Exclusion) -> str:
    return f"{entry.text}  (preset {entry.preset})" if entry.preset else entry.text


def _line(what: str, text: str) -> str:
    return f"{what:<12}{text}"


def _ids(tenant_id: str, device_id: str, series: str | None) -> Iterator[str]:
    yield _line("tenant", tenant_id)
    yield _line("device", device_id)
    yield _line("series", "one for each metric" if series is None else series or NO_SERIES)


def _unresolved(match: TopicMatch) -> Iterator[str]:
    """Return the lines for the ids and the series that the topic contains."""
    for name, label, known in zip(
        ADDRESS_FIELDS, LABELS, (match.tenant_id, match.device_id, match.series), strict=True
    ):
        pointer = match.template.pointers.get(name)
        if known is None and pointer is None:
            pointer = match.template.devices_pointer or ()
            yield _line(label, f"those in the payload, at /{'/'.join(pointer)}")
        elif known is None:
            yield _line(label, f"from the payload, at /{'/'.join(pointer or ())}")
        elif label == "series" and (members := match.template.members_pointer) is not None:
            each = f"{known}/MEMBER" if known else "MEMBER"
            where = "/".join(members)
            yield _line(label, f"{each} for each member of the object at /{where}, or else {known or NO_SERIES}")
        else:
            yield _line(label, known or NO_SERIES)


def _kind(raw: bytes, payload: Payload, template: Template) -> str:
    if not raw:
        return "empty: clears the last value"
    size = f"{len(raw):,} bytes"
    if payload.encoding:
        return f"{payload.encoding}, {size}" + (", because it is not JSON" if template.payload == "json" else "")
    name = JSON_TYPES.get(type(payload.value), "null")
    return f"{'JSON' if template.payload == 'json' else 'CBOR'} {name}, {size}"


def _presence(template: Template, payload: Payload, *, cleared: bool) -> str:
    if cleared:
        return "unknown, because the payload is empty"
    online = presence(template, payload)
    if online is None:
        return "this series can report it, but not this payload"
    return "online" if online else "offline"


def _json(value: object) -> str:
    if value is None:
        return "nothing"
    return _short(orjson.dumps(value).decode())


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_MAX_CHARS else text[:SHOWN_MAX_CHARS] + "…"


def _reported(each: DeviceMessage | DeviceStatus) -> str:
    if isinstance(each, DeviceStatus):
        return _line("presence", f"{each.device_id} is {'online' if each.online else 'offline'}")
    return _line("metric", f"{each.series}  {_short(each.data.decode())}")
