"""Split an MQTT message into values, and read the names of its devices.

Settings of its template say where they are: ``series=/pointer`` an object of which each member is a series,
``devices=/pointer`` an object or array with a message of each device, ``name=/pointer`` the name of a device. Values
are cut out of the text of the payload, so that they are passed on unchanged.

The work and the memory of one message are bounded: it becomes at most `FRAMES_MAX` frames.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from hermes.errors import AddressNotFound
from hermes.ids import DeviceId, TenantId, id_text
from hermes.ingest.payload import Payload
from hermes.ingest.presence import is_presence
from hermes.json_nesting import has_more_parts
from hermes.log import UNPRINTABLE
from hermes.topics.json_pointer import elements, members, text_at
from hermes.topics.template import ID_MAX_CHARS
from hermes.topics.topic_map import TopicMatch

FRAMES_MAX = 1_000
FRAMES_MAX_BYTES = 2 * 1_048_576  # of these frames together: each repeats the topic, which may have 64 KiB
SPLIT_MAX = 10_000  # members or elements; about 3 ms
NAME_MAX_CHARS = 256

Split = TypeVar("Split", dict[str, bytes], list[bytes])


class Part(NamedTuple):
    """One value of a message, for one frame.

    ``presence`` is a payload that says whether the device is online; None if there is none, or if another part has it.
    """

    tenant_id: TenantId
    device_id: DeviceId
    series: str
    device_name: str
    payload: Payload
    presence: Payload | None


class Parts:
    """The values of one message, to iterate over once.

    None stands for a value that has no frame; ``on_error`` gets the reason. ``left_out`` is the number of values above
    the limits; those of a device that is left out as a whole count as one. Iteration raises `AddressNotFound` if no
    part of the message can be delivered.
    """

    def __init__(
        self, match: TopicMatch, payload: Payload, *, topic: str, on_error: Callable[[AddressNotFound], None]
    ) -> None:
        self.left_out = 0
        self._match = match
        self._payload = payload
        self._topic = topic
        self._on_error = on_error
        self._frames = 0
        self._bytes = 0

    def __iter__(self) -> Iterator[Part | None]:
        """Return the parts in the order of the payload."""
        if self._match.template.devices_pointer is None:
            yield from self._values(self._match, self._payload)
            return
        for match, payload in self._messages():
            try:
                yield from self._values(match, payload)
            except AddressNotFound as error:
                self._reject(error)
                yield None

    def _messages(self) -> Iterator[tuple[TopicMatch, Payload]]:
        """Return the messages of each device.

        A device of which the value is an array has one for each element.
        """
        devices = _devices(text_at(self._match.template.devices_pointer or (), self._payload.data))
        for number, (device_id, text) in enumerate(devices):
            if self._is_full:
                self.left_out += len(devices) - number
                return
            try:
                values = _messages_of(device_id, text)
            except AddressNotFound as error:
                self._reject(error)
                continue
            for index, value in enumerate(values):
                if self._is_full:
                    self.left_out += len(values) - index
                    break
                yield self._match.of_device(device_id), Payload(value)

    def _values(self, match: TopicMatch, payload: Payload) -> Iterator[Part | None]:
        """Return the values of one device's message.

        Raises `AddressNotFound`.
        """
        template = match.template
        found = _members(payload, template.members_pointer)
        if found:
            match = match.of_members()
        tenant_id, device_id, series = match.resolve(payload.selected(template.pointers.values()))
        name = "" if template.name_pointer is None else device_name(payload.at(template.name_pointer))
        reports = is_presence(template, series)  # the message as a whole, for its first part; otherwise a member may
        whole = payload if reports else None
        if not found:
            self._count(len(payload.data))
            yield Part(tenant_id, device_id, series, name, payload, whole)
        prefix = f"{series}/" if series else ""
        for index, (member, text) in enumerate(found.items()):
            if self._is_full:
                self.left_out += len(found) - index
                return
            if len(prefix) + len(member) > ID_MAX_CHARS:
                self._reject(AddressNotFound("too_long", f"a series has more than {ID_MAX_CHARS:,} characters"))
                yield None
                continue
            part = Part(tenant_id, device_id, prefix + member, name, Payload(text), None)
            self._count(len(text) + len(part.series))
            if reports:
                part, whole = part._replace(presence=whole), None
            elif is_presence(template, part.series):
                part = part._replace(presence=part.payload)
            yield part

    @property
    def _is_full(self) -> bool:
        return self._frames >= FRAMES_MAX or self._bytes >= FRAMES_MAX_BYTES

    def _count(self, size: int) -> None:
        self._frames += 1
        self._bytes += size + len(self._topic)

    def _reject(self, error: AddressNotFound) -> None:
        self._count(0)
        self._on_error(error)


def device_name(value: object) -> str:
    """Return the name of a device; empty if the value is neither text nor an integer.

    Characters that are invisible or change the order of text become blanks, and a long name is cut off.
    """
    text = (id_text(value) or "")[: NAME_MAX_CHARS + 1]
    text = UNPRINTABLE.sub(" ", text).strip()
    return text if len(text) <= NAME_MAX_CHARS else text[: NAME_MAX_CHARS - 1] + "…"


def _devices(text: bytes) -> list[tuple[str | None, bytes]]:
    """Return the name and the value of each device.

    The elements of an array have no names, so they get None.
    """
    found: list[tuple[str | None, bytes]] = []
    if text.startswith(b"{"):
        found = list(_split(text, members).items())
    elif text.startswith(b"["):
        found = [(None, element) for element in _split(text, elements)]
    if not found:
        raise AddressNotFound("pointer", "the pointer of devices= finds no object or array with devices")
    return found


def _messages_of(device_id: str | None, text: bytes) -> list[bytes]:
    if device_id == "":
        raise AddressNotFound("pointer", "the name of a device is empty")
    return _split(text, elements) if device_id is not None and text.startswith(b"[") else [text]


def _members(payload: Payload, pointer: tuple[str, ...] | None) -> dict[str, bytes]:
    """Return the members of the object at the pointer; empty if there is none."""
    text = b"" if pointer is None else text_at(pointer, payload.data)
    return _split(text, members) if text.startswith(b"{") else {}


def _split(text: bytes, split: Callable[[bytes], Split]) -> Split:
    if has_more_parts(text, SPLIT_MAX):
        raise AddressNotFound("too_large", f"an object or array of over {SPLIT_MAX:,} parts is not split")
    return split(text)
