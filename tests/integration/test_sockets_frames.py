"""Frames of clients: strictly by RFC 6455, within a budget, and nothing after a close."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from hermes.errors import TOKEN_EXPIRED
from hermes.metrics import total
from hermes.quotas.work_budget import WorkBudget
from hermes.testing import FakeClock
from hermes.web.sockets import protocol
from hermes.web.sockets.protocol import MESSAGE_MAX_BYTES
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.raw_socket import BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, RawSocket, deflated, open_raw

ACME = token(tenant_id="acme")
DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}
RSV2, RSV3, CONTINUATION = 0x20, 0x10, 0x0
ASK = b'{"action":"ping"}'
PROTOCOL_ERROR = (1002, "protocol_error")
INVALID_TEXT = (1007, "invalid_text")
TOO_BIG = (1009, "message_too_big")

Send = Callable[[RawSocket], Awaitable[None]]


def raw(data: bytes) -> Send:
    """Send these bytes as they are."""
    return lambda socket: socket.send_bytes(data)


def frame(opcode: int, payload: bytes = b"", *, flags: int = FIN) -> Send:
    """Send one masked frame."""
    return lambda socket: socket.send(opcode, payload, flags=flags)


def header(first: int, *length: int, mask: bool = True) -> bytes:
    """Return a header with this first byte; the length in any form, and a mask of zeros."""
    code = 0x80 if mask else 0
    if len(length) == 1:
        return bytes((first, code | length[0])) + (bytes(4) if mask else b"")
    form = {126: "!H", 127: "!Q"}[length[0]]
    return bytes((first, code | length[0])) + struct.pack(form, length[1]) + (bytes(4) if mask else b"")


def close_with(code: int, reason: bytes = b"") -> Send:
    """Send a close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


FAULTS: dict[str, tuple[Send, tuple[int, str]]] = {
    "not masked": (raw(header(FIN | TEXT, len(ASK), mask=False) + ASK), PROTOCOL_ERROR),
    "RSV1 without compression": (frame(TEXT, ASK, flags=FIN | RSV1), PROTOCOL_ERROR),
    "RSV2": (frame(TEXT, ASK, flags=FIN | RSV2), PROTOCOL_ERROR),
    "RSV3": (frame(TEXT, ASK, flags=FIN | RSV3), PROTOCOL_ERROR),
    **{f"opcode {opcode}": (frame(opcode), PROTOCOL_ERROR) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a continuation of nothing": (frame(CONTINUATION, ASK), PROTOCOL_ERROR),
    "a fragmented ping": (frame(PING, b"", flags=0), PROTOCOL_ERROR),
    "a ping of 126 bytes": (frame(PING, bytes(126)), PROTOCOL_ERROR),
    "a close of 126 bytes": (close_with(1000, b"r" * 124), PROTOCOL_ERROR),
    "a long form of 125": (raw(header(FIN | TEXT, 126, 125)), PROTOCOL_ERROR),
    "a very long form of 65,535": (raw(header(FIN | TEXT, 127, 65_535)), PROTOCOL_ERROR),
    "a length of 2 to the 63rd": (raw(header(FIN | TEXT, 127, 2**63)), TOO_BIG),
    "one byte too many": (raw(header(FIN | TEXT, 127, MESSAGE_MAX_BYTES + 1)), TOO_BIG),
    "a binary frame": (frame(BINARY, ASK), (1003, "binary_not_supported")),
    "text that is not UTF-8": (frame(TEXT, b"\xff"), INVALID_TEXT),
    "text with a surrogate": (frame(TEXT, b"\xed\xa0\x80"), INVALID_TEXT),
    "a close of one byte": (frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
    "a reason that is not UTF-8": (close_with(1000, b"\xff"), INVALID_TEXT),
    **{
        f"close code {code}": (close_with(code), PROTOCOL_ERROR)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_frame_against_the_protocol_closes_the_socket(hermes: Hermes, fault: str) -> None:
    """With the code that RFC 6455 §7.4.1 has for it; the connection ends."""
    send, expected = FAULTS[fault]
    socket = await open_raw(hermes, "/ws", ACME)
    await send(socket)
    assert await socket.first_close() == expected
    assert await socket.frame() is None
    socket.writer.close()
    await eventually(lambda: not hermes.gateway.hub.sessions)


@pytest.mark.gen_test
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1014, 3000, 4999])
async def test_a_close_is_answered_with_its_code(hermes: Hermes, code: int) -> None:
    """RFC 6455 §5.5.1; an empty close is answered with an empty one."""
    socket = await open_raw(hermes, "/ws", ACME)
    await close_with(code, "Adiós".encode())(socket)
    assert await socket.frame() == (FIN | CLOSE, struct.pack("!H", code))
    assert await socket.frame() is None
    empty = await open_raw(hermes, "/ws", ACME)
    await empty.send(CLOSE, b"")
    assert await empty.frame() == (FIN | CLOSE, b"")


@pytest.mark.gen_test
async def test_fragments_with_control_frames_between_are_one_message(hermes: Hermes) -> None:
    """RFC 6455 §5.4: a ping may come between; also if the message is compressed, or the last fragment is empty."""
    for compressed in (False, True):
        socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE if compressed else {})
        data = deflated(ASK) if compressed else ASK
        await socket.send(TEXT, data[:5], flags=RSV1 if compressed else 0)
        await socket.send(PING, b"between")
        assert await socket.frame() == (FIN | PONG, b"between")
        await socket.send(CONTINUATION, data[5:], flags=0)
        await socket.send(CONTINUATION, b"")
        assert await socket.text() == '{"action":"pong"}'


@pytest.mark.gen_test
async def test_a_new_message_within_fragments_is_an_error(hermes: Hermes) -> None:
    """As is a compressed control frame, and a flag of compression on a later fragment."""
    for second in (frame(TEXT, ASK), frame(PING, b"", flags=FIN | RSV1), frame(CONTINUATION, b"", flags=FIN | RSV1)):
        socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE)
        await socket.send(TEXT, ASK, flags=0)
        await second(socket)
        assert await socket.first_close() == PROTOCOL_ERROR


@pytest.mark.gen_test
async def test_fragments_are_bounded_together(hermes: Hermes) -> None:
    """64 KiB of message, whatever its pieces."""
    socket = await open_raw(hermes, "/ws", ACME)
    await socket.send(TEXT, bytes(MESSAGE_MAX_BYTES), flags=0)
    await socket.send(CONTINUATION, b"x")
    assert await socket.first_close() == TOO_BIG


@pytest.mark.gen_test
async def test_the_largest_message_is_accepted(hermes: Hermes) -> None:
    """Plain, and compressed without becoming smaller."""
    for compressed in (False, True):
        socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE if compressed else {})
        message = b'{"action":"ack","notification_id":"%s"}'
        message %= b"x" * (MESSAGE_MAX_BYTES - len(message) + 2)
        stored = b"".join(
            b"\0" + struct.pack("<HH", len(part), len(part) ^ 0xFFFF) + part
            for part in (message[at : at + 16_384] for at in range(0, len(message), 16_384))
        )
        await socket.send(TEXT, stored + b"\0" if compressed else message, flags=FIN | (RSV1 if compressed else 0))
        await socket.send(TEXT, ASK)
        assert await socket.text() == '{"action":"pong"}'


@pytest.mark.gen_test
async def test_a_compressed_message_is_bounded_after_inflating(hermes: Hermes) -> None:
    """Bytes that are not compressed data close with 1007."""
    for payload, expected in ((deflated(b"a" * (MESSAGE_MAX_BYTES + 1)), TOO_BIG), (b"\xff\xff", INVALID_TEXT)):
        socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE)
        await socket.send(TEXT, payload, flags=FIN | RSV1)
        assert await socket.first_close() == expected


# -- after a close ----------------------------------------------------------------------------------------------------


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the compressed payloads that the gateway inflates."""
    sizes: list[int] = []
    inflate = protocol._inflated

    def counted(payload: bytes, max_bytes: int) -> bytes:
        sizes.append(len(payload))
        return inflate(payload, max_bytes)

    monkeypatch.setattr(protocol, "_inflated", counted)
    return sizes


BOMB = deflated(b" " * MESSAGE_MAX_BYTES)


@pytest.mark.gen_test
@pytest.mark.parametrize("reason", ["no token", "too big", "binary", "token expired"])
async def test_after_a_close_nothing_is_parsed_or_inflated(
    hermes: Hermes, inflated: list[int], reason: str, complaints: list[Any]
) -> None:
    """However long the client goes on sending instead of closing."""
    socket = await open_raw(hermes, "/ws", None if reason == "no token" else ACME, headers=DEFLATE)
    match reason:
        case "too big":
            await socket.send(TEXT, deflated(b" " * 1_048_576), flags=FIN | RSV1)
        case "binary":
            await socket.send(BINARY, b"")
        case "token expired":
            (session,) = hermes.gateway.hub.sessions
            session.close(TOKEN_EXPIRED)
    assert await socket.close_frame() is not None
    before = len(inflated)
    for _ in range(20):
        await socket.send(TEXT, BOMB, flags=FIN | RSV1)
        await socket.send(PING, b"?")
    assert await socket.frame() is None, "no pong, and the end of the connection"
    socket.writer.close()
    await eventually(lambda: not hermes.gateway.hub.sessions)
    assert inflated[before:] == []


@pytest.mark.gen_test
async def test_a_refused_socket_that_does_not_close_is_cut(hermes: Hermes) -> None:
    """Its end sees the end of the connection at once, and is cut after a second."""
    socket = await open_raw(hermes, "/ws")
    assert await socket.first_close() == (1008, "token_missing")
    assert await socket.frame() is None
    with pytest.raises(ConnectionError):
        await send_until_reset(socket)


async def send_until_reset(socket: RawSocket) -> None:
    """Send bytes until the kernel answers with a reset."""
    while True:
        socket.writer.write(b"x")
        await socket.writer.drain()
        await asyncio.sleep(0.05)


# -- the budget -------------------------------------------------------------------------------------------------------


def pauses(hermes: Hermes) -> int:
    """Return how often reading was paused."""
    return int(total(hermes.gateway.metrics.reading_pauses))


@pytest.fixture
def no_refill(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that is not refilled, however long the frames take."""
    monkeypatch.setattr(protocol, "WorkBudget", partial(WorkBudget, clock=FakeClock()))


async def flood(socket: RawSocket, send: Send, number: int) -> None:
    """Send this many frames."""
    for _ in range(number):
        await send(socket)


FLOODS: dict[str, tuple[Send, int]] = {  # the number of frames that are more than a burst of 20 units
    "json ping": (frame(TEXT, ASK), 21),
    "ack": (frame(TEXT, b'{"action":"ack"}'), 21),
    "ping": (frame(PING), 21),
    "pong": (frame(PONG), 21),
    "empty fragments": (frame(CONTINUATION, b"", flags=0), 21),
    "inflated": (frame(TEXT, BOMB, flags=FIN | RSV1), 3),
    "long answers": (frame(TEXT, b'{"action":"ping","x":"%s"}' % (b"x" * 60_000)), 3),
    "refresh": (frame(TEXT, b'{"action":"refresh","token":"%s"}' % ACME.encode()), 3),
}


@pytest.mark.gen_test
@pytest.mark.usefixtures("no_refill")
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_is_read_slowly(make_hermes: MakeHermes, kind: str) -> None:
    """Reading pauses, also for what costs more than a plain frame; the socket stays open."""
    hermes = await make_hermes(client_frames_per_s="2")
    send, number = FLOODS[kind]
    socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE)
    if kind == "empty fragments":
        await socket.send(TEXT, b"", flags=0)
    await flood(socket, send, number)
    await eventually(lambda: pauses(hermes) > 0)
    assert len(hermes.gateway.hub.sessions) == 1


@pytest.mark.gen_test
async def test_a_usual_client_is_never_paused(make_hermes: MakeHermes) -> None:
    """A burst of ten times the rate; with 0 there is no limit."""
    for rate, number in (("200", 1_900), ("0", 5_000)):
        hermes = await make_hermes(client_frames_per_s=rate)
        socket = await open_raw(hermes, "/ws/notifications", ACME)
        reading = asyncio.ensure_future(read(socket, number))
        await flood(socket, frame(TEXT, ASK), number)
        await reading
        assert pauses(hermes) == 0


async def read(socket: RawSocket, number: int) -> None:
    """Read this many pongs."""
    for _ in range(number):
        assert await socket.text() == '{"action":"pong"}'


@pytest.mark.gen_test
async def test_the_others_are_served_while_one_is_paused(make_hermes: MakeHermes) -> None:
    """Its own notifications arrive, too: only reading pauses."""
    hermes = await make_hermes(client_frames_per_s="1")
    busy, other = [await open_raw(hermes, "/ws/notifications", ACME) for _ in range(2)]
    await flood(busy, frame(PONG), 100)
    await eventually(lambda: pauses(hermes) == 1)
    await hermes.notify({"user_id": "123", "title": "now", "message": ""})
    assert "now" in await other.text()
    assert "now" in await busy.text()
    await other.send(TEXT, ASK)
    assert await other.text() == '{"action":"pong"}'


@pytest.mark.gen_test
@pytest.mark.usefixtures("no_refill")
async def test_a_client_that_never_rests_is_closed_with_1013(
    make_hermes: MakeHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not 1008: a client that is only fast must be able to return."""
    monkeypatch.setattr("hermes.quotas.work_budget.SLOW_DOWN_AFTER_S", 0.0)
    hermes = await make_hermes(client_frames_per_s="1")
    socket = await open_raw(hermes, "/ws/notifications", ACME)
    await flood(socket, frame(PONG), 12)
    closed = await socket.close_frame()
    assert closed is not None
    assert (closed[0], closed[1].partition(";")[0]) == (1013, "slow_down")
    assert "retry_ms=" in closed[1]


@pytest.mark.gen_test
async def test_a_paused_client_is_not_dropped_for_a_pong_that_was_not_read(make_hermes: MakeHermes) -> None:
    """The time of a pause does not count towards the time-out."""
    hermes = await make_hermes(client_frames_per_s="1")
    await hermes.gateway._sweep.stop()  # this test sweeps by a clock of its own
    socket = await open_raw(hermes, "/ws/notifications", ACME)
    (session,) = hermes.gateway.hub.sessions
    await flood(socket, frame(PONG), 100)
    await eventually(lambda: session.reading_paused)
    now_s = time.monotonic()
    for second in range(200):
        session.sweep(wall_s=0.0, monotonic_s=now_s + second, ping_interval_s=25.0, ping_timeout_s=20.0)
    assert not session.closed
