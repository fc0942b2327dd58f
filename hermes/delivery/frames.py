"""Encode a message as a WebSocket frame, once for all its receivers.

A `Frame` is one unfragmented, unmasked text frame (RFC 6455 §5.2) in plain form and, for sockets that negotiated
permessage-deflate, in deflated form (RFC 7692 §7.2.1, without context takeover, so that all can share it). A `Batch` is
the frames of one channel in one iteration of the loop, joined once for all its sockets.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import orjson

from hermes.delivery.messages import (
    PRIORITY_DEFAULT,
    Acknowledgement,
    Broadcast,
    DeviceMessage,
    DeviceStatus,
    EncodedMessage,
    LinkStatus,
    Message,
    Notification,
    Series,
    Withdrawal,
)

TEXT_FRAME = 0x81  # FIN and opcode 1
RSV1 = 0x40  # set on a deflated message
DEFLATE_MIN_BYTES = 256  # below this, deflating costs more than it saves
DEFLATE_MAX_BYTES = 65_536  # above this, deflating holds the event loop for milliseconds
DEFLATE_LEVEL = 3


class Frame:
    """One message as a finished frame: the text of a JSON object.

    On a slow socket a newer frame with the same ``series`` replaces this one: tenant, device and series of telemetry,
    tenant and device of a device status, an empty tuple for the link status; None is never replaced. ``counts`` is
    False if a replaced frame is not counted in ``skipped``: a snapshot's value was published before.
    """

    __slots__ = ("_deflated", "_header_bytes", "counts", "plain", "series")

    def __init__(self, payload: bytes, series: Series | None = None, *, counts: bool = True) -> None:
        header = _header(TEXT_FRAME, len(payload))
        self.plain = header + payload
        self.series = series
        self.counts = counts
        self._header_bytes = len(header)
        self._deflated: bytes | None = None

    def __len__(self) -> int:
        """Return its size in plain form with the header, as the outbox counts it."""
        return len(self.plain)

    @property
    def payload(self) -> bytes:
        """The JSON text in UTF-8."""
        return self.plain[self._header_bytes :]

    @property
    def deflated(self) -> bytes:
        """The frame for sockets with compression; plain if small or very large."""
        if self._deflated is None:
            worth = DEFLATE_MIN_BYTES <= len(self.plain) - self._header_bytes <= DEFLATE_MAX_BYTES
            self._deflated = _deflate(self.payload) if worth else self.plain
        return self._deflated

    def with_skipped(self, number: int) -> "Frame":
        """Return the same value with the number of older values that it replaces.

        ``"skipped":number`` is added to the object. The frame is for one socket, and so is never deflated: a socket
        that negotiated compression accepts plain frames too.
        """
        frame = Frame(b'%b,"skipped":%d}' % (self.payload[:-1], number))
        frame.never_deflate()
        return frame

    def never_deflate(self) -> None:
        """Send the plain form to every socket.

        One that negotiated compression accepts it too.
        """
        self._deflated = self.plain


class Batch:
    """Frames that are written together; each form is joined at most once."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames

    @property
    def frames(self) -> Sequence[Frame]:
        """The frames, in order."""
        return self._frames

    @cached_property
    def plain(self) -> bytes:
        """All frames in plain form, in order."""
        return b"".join([frame.plain for frame in self.frames])

    @cached_property
    def deflated(self) -> bytes:
        """All frames for sockets with compression, in order."""
        return b"".join([frame.deflated for frame in self.frames])


class TextBatch(Batch):
    """Texts of frames for one socket.

    It is mostly ready to take them: then no frame is made of each. They are not deflated: that is worth its time only
    for a frame that many sockets share.
    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        super().__init__(())
        self._texts = texts

    @property
    def frames(self) -> Sequence[Frame]:
        """The frames, in order, for a socket that is slow now."""
        if not self._frames:
            self._frames = [Frame(text) for text in self._texts]
            for frame in self._frames:
                frame.never_deflate()
        return self._frames

    @cached_property
    def plain(self) -> bytes:
        """All frames in plain form, in order."""
        return b"".join(chain.from_iterable(zip(map(_text_header, map(len, self._texts)), self._texts, strict=True)))

    @property
    def deflated(self) -> bytes:
        """The plain form."""
        return self.plain


def _header(first_byte: int, length: int) -> bytes:
    if length < 126:
        return struct.pack("!BB", first_byte, length)
    if length <= 0xFFFF:
        return struct.pack("!BBH", first_byte, 126, length)
    return struct.pack("!BBQ", first_byte, 127, length)


@lru_cache(1_024)
def _text_header(length: int) -> bytes:
    return _header(TEXT_FRAME, length)


def _deflate(payload: bytes) -> bytes:
    compressor = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    body = body[:-4]  # RFC 7692 §7.2.1: without the 00 00 ff ff of the empty block
    return _header(TEXT_FRAME | RSV1, len(body)) + body


def encode(message: Message, *, snapshot: bool = False, stale: bool = False) -> Frame:
    """Return the frame of a message.

    With ``snapshot``, it is the frame for sockets that subscribe later. ``stale`` marks a value or a presence that was
    not confirmed since an outage.
    """
    if isinstance(message, DeviceMessage):
        fields = _device_fields(message)
        if snapshot:
            fields["snapshot"] = True
        if stale:
            fields["stale"] = True
        return Frame(orjson.dumps(fields), message.series_key, counts=not snapshot)
    if isinstance(message, DeviceStatus):
        fields = _device_status_fields(message)
        if stale and message.online is not None:
            fields["stale"] = True
        return Frame(orjson.dumps(fields), message.series_key, counts=False)
    if isinstance(message, Acknowledgement | Withdrawal):
        return Frame(orjson.dumps(change_fields(message)))
    if isinstance(message, LinkStatus):
        return Frame(orjson.dumps(_link_status_fields(message)), message.series_key, counts=False)
    if isinstance(message, EncodedMessage):
        return Frame(message.text)
    return Frame(notification_text(message))


def notification_text(message: Notification | Broadcast) -> bytes:
    """Return the JSON text of the frame of a notification or a broadcast."""
    return orjson.dumps(_notification_fields(message))


def with_seq(text: bytes, seq: int) -> bytes:
    """Return the JSON text of a frame with the number of its row."""
    return b'%b,"seq":%d}' % (text[:-1], seq)


def reply(fields: Mapping[str, object]) -> Frame:
    """Return the frame that answers one client's action.

    Raises `orjson.JSONEncodeError` (a TypeError) if echoed values are nested too deeply to encode.
    """
    return Frame(orjson.dumps(fields))


def _device_fields(message: DeviceMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "channel": "device",
        "tenant_id": message.tenant_id,
        "device_id": message.device_id,
        "series": message.series,
        "topic": message.topic,
        "data": orjson.Fragment(message.data),
        "timestamp": message.timestamp_ms,
    }
    if message.device_name:
        fields["device_name"] = message.device_name
    if message.encoding:
        fields["encoding"] = message.encoding
    if message.retained:
        fields["retained"] = True
    if message.clears:
        fields["cleared"] = True
    return fields


def _device_status_fields(message: DeviceStatus) -> dict[str, Any]:
    return {
        "channel": "status",
        "tenant_id": message.tenant_id,
        "device_id": message.device_id,
        "online": message.online,
        "since": message.since_ms,
    }


def _link_status_fields(message: LinkStatus) -> dict[str, Any]:
    return {"channel": "status", "mqtt": "up" if message.up else "down", "since": message.since_ms}


def _notification_fields(message: Notification | Broadcast) -> dict[str, Any]:
    fields: dict[str, Any] = (
        {"channel": "notifications"}
        if isinstance(message, Notification)
        else {"channel": "tenant", "tenant_id": message.tenant_id}
    )
    fields |= {
        "id": message.id,
        "title": message.title,
        "message": message.message,
        "type": message.type,
        "timestamp": message.timestamp_ms,
    }
    if message.data is not None:
        fields["data"] = orjson.Fragment(message.data)
    if message.expires_ms is not None:
        fields["expires"] = message.expires_ms
    if message.priority != PRIORITY_DEFAULT:
        fields["priority"] = message.priority
    if message.replaces is not None:
        fields["replaces"] = message.replaces
    return fields


def change_fields(change: Acknowledgement | Withdrawal) -> dict[str, Any]:
    """Return the fields of the frame that reports an acknowledgement or a withdrawal."""
    if isinstance(change, Withdrawal):
        return {"action": "withdrawn", "notification_id": change.notification_id, "seq": change.seq}
    what = {"upto": change.upto} if change.notification_id is None else {"notification_id": change.notification_id}
    return {"action": "acked", **what, "seq": change.seq, "acked_at": change.acked_ms}
