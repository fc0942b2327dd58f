"""A message is encoded as one finished frame."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.delivery.frames import DEFLATE_MIN_BYTES, Batch, Frame, encode, reply
from hermes.delivery.messages import Broadcast, DeviceMessage, Notification
from hermes.ids import DeviceId, TenantId, UserId

TEXT = st.text(max_size=300)
FIN_TEXT = 0x81
RSV1 = 0x40


def unframe(data: bytes) -> list[tuple[int, bytes]]:
    """Return the first byte and the payload of each frame (RFC 6455 §5.2)."""
    frames = []
    while data:
        first, length, start = data[0], data[1], 2
        assert length < 128, "a server's frame is not masked"
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        frames.append((first, data[start : start + length]))
        assert len(data) >= start + length
        data = data[start + length :]
    return frames


def inflate(payload: bytes) -> bytes:
    """Return the text of a deflated message (RFC 7692 §7.2.2)."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + b"\x00\x00\xff\xff")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_048_576])
def test_a_frame_carries_its_payload_at_every_length(size: int) -> None:
    """All three forms of the length field."""
    payload = b"x" * size
    assert unframe(Frame(payload).plain) == [(FIN_TEXT, payload)]


@given(st.binary(max_size=2_000))
def test_the_deflated_form_inflates_to_the_same_text(payload: bytes) -> None:
    """Whatever the payload; below the threshold it stays plain."""
    ((first, body),) = unframe(Frame(payload).deflated)
    if len(payload) < DEFLATE_MIN_BYTES:
        assert (first, body) == (FIN_TEXT, payload)
    else:
        assert first == FIN_TEXT | RSV1
        assert inflate(body) == payload


def test_small_and_very_large_messages_are_sent_plain() -> None:
    """Compression would cost more than it saves, or hold the event loop for milliseconds."""
    for size, deflates in ((255, False), (256, True), (65_536, True), (65_537, False)):
        ((first, _),) = unframe(Frame(b"x" * size).deflated)
        assert bool(first & RSV1) is deflates


def test_a_frame_is_deflated_once() -> None:
    """For all its sockets."""
    frame = Frame(b"x" * 1_000)
    assert frame.deflated is frame.deflated
    assert len(frame.deflated) < 100


@given(st.lists(st.binary(max_size=600), max_size=8))
def test_a_batch_is_its_frames_in_order(payloads: list[bytes]) -> None:
    """In both forms."""
    batch = Batch([Frame(payload) for payload in payloads])
    assert [payload for _, payload in unframe(batch.plain)] == payloads
    inflated = [inflate(body) if first & RSV1 else body for first, body in unframe(batch.deflated)]
    assert inflated == payloads


@given(user=TEXT, title=TEXT, message=TEXT, notification_id=TEXT, data=st.dictionaries(TEXT, st.integers() | TEXT))
def test_no_text_breaks_a_notification_frame(
    user: str, title: str, message: str, notification_id: str, data: dict[str, object]
) -> None:
    """Every field is unchanged after decoding."""
    raw = json.dumps(data).encode()
    frame = encode(Notification(UserId(user), notification_id, title, message, "error", 17, raw))
    assert json.loads(frame.payload) == {
        "channel": "notifications",
        "id": notification_id,
        "title": title,
        "message": message,
        "type": "error",
        "timestamp": 17,
        "data": data,
    }


@given(
    tenant=TEXT, device=TEXT, series=TEXT, topic=TEXT, value=st.recursive(st.none() | st.integers() | TEXT, st.lists)
)
def test_no_text_breaks_a_device_frame(tenant: str, device: str, series: str, topic: str, value: object) -> None:
    """Every field is unchanged after decoding, the data byte for byte."""
    raw = json.dumps(value).encode()
    frame = encode(DeviceMessage(TenantId(tenant), DeviceId(device), series, topic, raw, 17))
    assert raw in frame.payload
    assert json.loads(frame.payload) == {
        "channel": "device",
        "tenant_id": tenant,
        "device_id": device,
        "series": series,
        "topic": topic,
        "data": value,
        "timestamp": 17,
    }


def test_optional_keys_appear_only_with_a_value() -> None:
    """``encoding`` and ``retained`` on a value that has them; a retained value has no time."""
    message = DeviceMessage(
        TenantId("acme"), DeviceId("d1"), "door", "t", b'"open"', None, encoding="text", retained=True
    )
    fields = json.loads(encode(message).payload)
    assert (fields["encoding"], fields["retained"], fields["timestamp"]) == ("text", True, None)
    assert "device_name" not in fields
    named = DeviceMessage(TenantId("acme"), DeviceId("d1"), "door", "t", b"1", 1, device_name="Hall")
    assert json.loads(encode(named, snapshot=True).payload)["device_name"] == "Hall"


def test_a_broadcast_names_its_tenant() -> None:
    """The third kind of frame."""
    fields = json.loads(encode(Broadcast(TenantId("acme"), "n1", "t", "m", "info", 17)).payload)
    assert fields == {
        "channel": "tenant",
        "tenant_id": "acme",
        "id": "n1",
        "title": "t",
        "message": "m",
        "type": "info",
        "timestamp": 17,
    }


def test_a_reply_is_its_fields() -> None:
    """In a frame of the same form."""
    assert reply({"action": "pong"}).payload == b'{"action":"pong"}'


def test_a_value_that_replaces_others_has_their_number() -> None:
    """As a further member of its object; never deflated, because it is for one socket only."""
    series = (TenantId("acme"), DeviceId("d1"), "t")
    frame = Frame(json.dumps({"data": "x" * 1_000}).encode(), series).with_skipped(7)
    assert json.loads(frame.payload) == {"data": "x" * 1_000, "skipped": 7}
    assert unframe(frame.deflated) == [(FIN_TEXT, frame.payload)]
