"""Any bytes after the handshake: the connection ends or answers, others are served, memory is bounded."""

import asyncio
import contextlib
import struct
from functools import partial
from logging import LogRecord

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from hermes.web.sockets.protocol import MESSAGE_MAX_BYTES, STORED_EXTRA_BYTES, ServerProtocol
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.raw_socket import FIN, OPCODE, PING, PONG, RSV1, TEXT, RawSocket, deflated, open_raw

BUFFER_MAX_BYTES = 4 * 65_536  # Tornado reads up to 64 KiB at once, beyond the message that is awaited
NO_LIMITS = {"max_failed_auth_per_address": "0", "max_connects_per_address_s": "0", "ping_interval_s": "3600"}
ACME = token(tenant_id="acme")

ROUTES = st.sampled_from(["/ws", "/ws/notifications", "/ws/tenant/acme", "/ws/device/d1"])
TOKENS = st.sampled_from([ACME, ACME, ACME, None, "wrong"])
OFFERS = st.sampled_from([{}, {"Sec-WebSocket-Extensions": "permessage-deflate"}])

TEXTS = st.sampled_from([b'{"action":"ping"}', b'{"action":"subscribe","device":"d1"}', b'{"action":"ack"}', b"[", b""])
PAYLOADS = st.one_of(
    TEXTS,
    TEXTS.map(deflated),
    st.binary(max_size=130),
    st.sampled_from([125, 126, 127, 65_535, 65_536, 65_537, 66_100]).map(bytes),
    st.sampled_from([1_000, MESSAGE_MAX_BYTES, 1_048_576]).map(bytes).map(deflated),
    st.integers(0, 65_535).map(lambda code: struct.pack("!H", code) + b"reason"),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame with parts that may contradict each other."""
    payload: bytes = draw(PAYLOADS)
    first = draw(st.sampled_from([0x81, 0xC1, 0x01, 0x80, 0x00, 0x41, 0x82, 0x88, 0x89, 0x8A]) | st.integers(0, 255))
    length = draw(st.just(len(payload)) | st.sampled_from([0, 1, 125, 126, 65_535, 65_536, 2**31, 2**63, 2**64 - 1]))
    forms = [form for form, most in ((0, 125), (126, 65_535), (127, 2**64 - 1)) if length <= most]
    form = draw(st.sampled_from([forms[0], forms[0], forms[-1]]))
    masked = draw(st.sampled_from([0x80, 0x80, 0x80, 0]))
    extended = {0: b"", 126: struct.pack("!H", length & 0xFFFF), 127: struct.pack("!Q", length)}[form]
    mask = bytes(4) if masked else b""
    return bytes((first, masked | (form or length))) + extended + mask + payload


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Frames with some bytes replaced, removed or added."""
    data = bytearray(b"".join(draw(st.lists(frames(), max_size=8))))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 300), st.integers(-1, 256)), max_size=3)):
        if place < len(data):
            data[place : place + 1] = b"" if byte < 0 else b"\xff\xff" if byte > 255 else bytes((byte,))
    return bytes(data)


BYTES = st.binary(max_size=400) | damaged()
CUTS = st.lists(st.integers(1, 500), max_size=6)


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return the largest message and buffer that a protocol had after a frame."""
    found = {"message": 0, "buffer": 0}
    receive = ServerProtocol._receive_one

    async def measured(protocol: ServerProtocol) -> float:
        units = await receive(protocol)
        found["message"] = max(found["message"], len(protocol._message or b""))
        found["buffer"] = max(found["buffer"], protocol.stream._read_buffer_size)
        return units

    monkeypatch.setattr(ServerProtocol, "_receive_one", measured)
    return found


def test_any_bytes_end_the_connection_or_are_answered(
    io_loop: IOLoop, make_hermes: MakeHermes, largest: dict[str, int], complaints: list[LogRecord]
) -> None:
    """Nothing reaches the log as an error; another client is answered after each attack."""
    hermes = io_loop.run_sync(partial(make_hermes, **NO_LIMITS))
    other = io_loop.run_sync(partial(open_raw, hermes, "/ws/notifications", ACME))

    @given(ROUTES, TOKENS, OFFERS, BYTES, CUTS)
    def attack(route: str, given: str | None, offer: dict[str, str], data: bytes, cuts: list[int]) -> None:
        io_loop.run_sync(partial(send_and_read_to_the_end, hermes, route, given, offer, data, cuts))
        io_loop.run_sync(partial(answered, other))

    attack()
    io_loop.run_sync(partial(eventually, lambda: len(hermes.gateway.hub.sessions) == 1))
    assert largest["message"] <= MESSAGE_MAX_BYTES + STORED_EXTRA_BYTES
    assert largest["buffer"] <= BUFFER_MAX_BYTES


async def send_and_read_to_the_end(
    hermes: Hermes, route: str, given: str | None, offer: dict[str, str], data: bytes, cuts: list[int]
) -> None:
    """Send the bytes in pieces, then the end; read frames until the server's end."""
    socket = await open_raw(hermes, route, given, headers=offer)
    reading = asyncio.ensure_future(socket.ended())
    for cut in [*cuts, len(data)]:
        piece, data = data[:cut], data[cut:]
        await socket.send_bytes(piece)
        await asyncio.sleep(0)
    with contextlib.suppress(OSError):
        socket.writer.write_eof()
    await reading
    forget(hermes, socket)


def forget(hermes: Hermes, socket: RawSocket) -> None:
    """Close a client that the test does not need any longer."""
    socket.writer.close()
    hermes.at_end.remove(socket.writer.close)


async def answered(socket: RawSocket) -> None:
    """Assert that this client gets a pong for its ping, and nothing else."""
    await socket.send(PING, b"still there?")
    assert await socket.frame() == (FIN | PONG, b"still there?")


MESSAGES = st.lists(
    st.tuples(
        st.lists(st.binary(max_size=20), min_size=1, max_size=4),  # the fragments
        st.booleans(),  # compressed
        st.booleans(),  # with pings between
    ),
    min_size=1,
    max_size=3,
)


def test_correct_frames_are_all_answered(io_loop: IOLoop, make_hermes: MakeHermes, complaints: list[LogRecord]) -> None:
    """In fragments, compressed or not, with pings between: an answer to each message, or 1007 if it is not UTF-8."""
    hermes = io_loop.run_sync(partial(make_hermes, client_frames_per_s="0", **NO_LIMITS))

    @given(MESSAGES)
    def attack(messages: list[tuple[list[bytes], bool, bool]]) -> None:
        io_loop.run_sync(partial(talk, hermes, messages))

    attack()


async def talk(hermes: Hermes, messages: list[tuple[list[bytes], bool, bool]]) -> None:
    """Send the messages; read the answer to each."""
    socket = await open_raw(hermes, "/ws", ACME, headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
    for parts, compressed, pings in messages:
        whole = b"".join(parts)
        if compressed:
            data = deflated(whole)
            parts = [data[:1], data[1:]]
        for number, part in enumerate(parts):
            flags = (FIN if number == len(parts) - 1 else 0) | (RSV1 if compressed and not number else 0)
            await socket.send(0 if number else TEXT, part, flags=flags)
            if pings and number < len(parts) - 1:
                await answered(socket)
        frame = await socket.frame()
        assert frame is not None
        if not is_text(whole):
            assert struct.unpack("!H", frame[1][:2]) == (1007,)
            break
        assert frame[0] & OPCODE == TEXT
    forget(hermes, socket)


def is_text(data: bytes) -> bool:
    """Whether these bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
