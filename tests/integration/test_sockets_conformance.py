"""Sixty cases of the Autobahn|Testsuite by hand; with Python 2.7, `test_autobahn` runs all of them.

The name of a case is its number in the suite. `CHECKED_ELSEWHERE` lists those that `test_sockets_frames` checks.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tornado.ioloop import IOLoop

import tests.integration.test_sockets_frames as frames
from hermes.testing import gateway_settings
from hermes.web.sockets.transport import WebSocketTransport
from tests.support.echo import COALESCED, COMPRESSED, PLAIN, SETTINGS, EchoGateway
from tests.support.gateways import Hermes, token
from tests.support.raw_socket import (
    BINARY,
    CLOSE,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    RawSocket,
    client_frame,
    deflated,
    open_raw,
)

CONTINUATION, RSV2, RSV = 0x0, 0x20, 0x70
HELLO = b"Hello World!"
GREEK = "Hello-µ@ßöäüàá-UTF-8!!".encode()

Answer = tuple[int, bytes]  # the first byte of a frame, and its payload

# number of the case: a fault of `test_sockets_frames`, or one of its tests
CHECKED_ELSEWHERE = {
    "2.5": "a ping of 126 bytes",
    "3.1": "RSV1 without compression",
    "4.1.1": "opcode 3",
    "4.1.2": "opcode 4",
    "4.2.1": "opcode 11",
    "4.2.2": "opcode 12",
    "5.1": "a fragmented ping",
    "5.6": "test_fragments_with_control_frames_between_are_one_message",
    "5.9": "a continuation of nothing",
    "5.18": "test_a_new_message_within_fragments_is_an_error",
    "6.3.1": "text that is not UTF-8",
    "6.20.1": "text with a surrogate",
    "7.3.1": "test_a_close_is_answered_with_its_code",
    "7.3.2": "a close of one byte",
    "7.3.4": "test_a_close_is_answered_with_its_code",
    "7.3.6": "a close of 126 bytes",
    "7.5.1": "a reason that is not UTF-8",
    **{f"7.7.{number}": "test_a_close_is_answered_with_its_code" for number in (1, 2, 3, 4, 5, 6, 9, 10, 13)},
    "7.9.1": "close code 0",
    "7.9.2": "close code 999",
    "7.9.3": "close code 1004",
    "7.9.4": "close code 1005",
    "7.9.5": "close code 1006",
    "7.9.6": "close code 1016",
    "7.9.7": "close code 1100",
    "7.9.8": "close code 2000",
    "7.9.9": "close code 2999",
}


@dataclass(frozen=True)
class Case:
    """What is sent, in pieces of ``piece_bytes`` if it is not 0, and the frames that answer it.

    Without a close frame among them the test closes the socket with 1000.
    """

    sent: bytes
    answers: tuple[Answer, ...]
    piece_bytes: int = 0


def echoed(opcode: int, payload: bytes, *, piece_bytes: int = 0) -> Case:
    """Return the case of one message that comes back."""
    return Case(client_frame(opcode, payload), ((FIN | opcode, payload),), piece_bytes)


def fragments(opcode: int, *parts: bytes) -> bytes:
    """Return the frames of one message."""
    first, *others = [client_frame(CONTINUATION, part, flags=0) for part in parts[:-1]]
    last = client_frame(CONTINUATION, parts[-1])
    return bytes((first[0] | opcode,)) + first[1:] + b"".join(others) + last


def close(code: int, word: str = "") -> bytes:
    """Return the payload of a close frame."""
    return struct.pack("!H", code) + word.encode()


MESSAGE: Answer = (FIN | TEXT, HELLO)
PROTOCOL_ERROR: Answer = (FIN | CLOSE, close(1002, "protocol_error"))
INVALID_TEXT: Answer = (FIN | CLOSE, close(1007, "invalid_text"))
CLOSED: Answer = (FIN | CLOSE, close(1000))

SAY = client_frame(TEXT, HELLO)
ASK = client_frame(PING, b"")
END = client_frame(CLOSE, close(1000))

CASES = {
    "1.1.1": echoed(TEXT, b""),
    "1.1.2": echoed(TEXT, b"*" * 125),
    "1.1.3": echoed(TEXT, b"*" * 126),
    "1.1.6": echoed(TEXT, b"*" * 65_535),
    "1.1.7": echoed(TEXT, b"*" * 65_536),
    "1.1.8": echoed(TEXT, b"*" * 65_536, piece_bytes=997),
    "1.2.1": echoed(BINARY, b""),
    "1.2.7": echoed(BINARY, b"\xfe" * 65_536),
    "2.2": Case(client_frame(PING, HELLO), ((FIN | PONG, HELLO),)),
    "2.6": Case(client_frame(PING, b"\xfe" * 125), ((FIN | PONG, b"\xfe" * 125),), piece_bytes=1),
    "2.9": Case(client_frame(PONG, b"unsolicited") + client_frame(PING, HELLO), ((FIN | PONG, HELLO),)),
    "2.10": Case(
        b"".join(client_frame(PING, b"%d" % number) for number in range(10)),
        tuple((FIN | PONG, b"%d" % number) for number in range(10)),
    ),
    "3.2": Case(SAY + client_frame(TEXT, HELLO, flags=FIN | RSV2) + ASK, (MESSAGE, PROTOCOL_ERROR)),
    "3.7": Case(client_frame(CLOSE, b"", flags=FIN | RSV), (PROTOCOL_ERROR,)),
    "4.1.3": Case(SAY + client_frame(5, b"") + ASK, (MESSAGE, PROTOCOL_ERROR)),
    "5.2": Case(fragments(PONG, b"fragment1", b"fragment2"), (PROTOCOL_ERROR,)),
    "5.5": Case(fragments(TEXT, b"Hello ", b"World!"), (MESSAGE,), piece_bytes=1),
    "5.15": Case(
        fragments(TEXT, b"Hello ", b"World!") + client_frame(CONTINUATION, b"", flags=0) + SAY,
        (MESSAGE, PROTOCOL_ERROR),
    ),
    "6.1.3": Case(fragments(TEXT, b"", HELLO, b""), (MESSAGE,)),
    "6.2.3": Case(fragments(TEXT, *[GREEK[at : at + 1] for at in range(len(GREEK))]), ((FIN | TEXT, GREEK),)),
    "6.4.1": Case(fragments(TEXT, b"\xce\xba", b"\xf4\x90\x80\x80", b"edited"), (INVALID_TEXT,)),
    "7.1.3": Case(END + ASK, (CLOSED,)),
    "7.1.5": Case(client_frame(TEXT, b"fragment1", flags=0) + END + client_frame(CONTINUATION, b""), (CLOSED,)),
}

COMPRESSED_CASES = ("12.1.4", "12.1.11")  # of 1 KiB; of 8 KiB in fragments of 256 bytes


def test_there_are_sixty_cases() -> None:
    """Each exists, and stands in one place only."""
    assert len(CASES) + len(COMPRESSED_CASES) + len(CHECKED_ELSEWHERE) == 60
    assert not CASES.keys() & CHECKED_ELSEWHERE.keys()
    for name in CHECKED_ELSEWHERE.values():
        assert name in frames.FAULTS or hasattr(frames, name), name


@pytest.fixture
def echo(io_loop: IOLoop) -> Iterator[Hermes]:
    """Run a gateway with the echo route."""
    hermes = Hermes(EchoGateway(gateway_settings(**SETTINGS)))
    io_loop.run_sync(hermes.gateway.start)
    yield hermes
    io_loop.run_sync(hermes.stop)


@pytest.mark.gen_test
@pytest.mark.parametrize("number", CASES)
async def test_an_uncompressed_case(echo: Hermes, number: str) -> None:
    """The answers come in order, then the end of the connection; after a close frame there is no pong."""
    case = CASES[number]
    socket = await open_raw(echo, f"/echo/{PLAIN}", token())
    step = case.piece_bytes or len(case.sent)
    for at in range(0, len(case.sent), step):
        await socket.send_bytes(case.sent[at : at + step])
    assert [await socket.frame() for _ in case.answers] == list(case.answers)
    if case.answers[-1][0] != FIN | CLOSE:
        await socket.send_bytes(END)
        assert await socket.frame() == CLOSED
    assert await socket.frame() is None


@pytest.mark.gen_test
@pytest.mark.parametrize("number", COMPRESSED_CASES)
async def test_a_compressed_case(echo: Hermes, number: str) -> None:
    """Text and binary messages come back compressed, each without the ones before."""
    text = b"".join(b'{"line":%d}' % line for line in range(800))[: 8_192 if number == "12.1.11" else 1_024]
    socket = await open_raw(
        echo, f"/echo/{COMPRESSED}", token(), headers={"Sec-WebSocket-Extensions": "permessage-deflate"}
    )
    for opcode in (TEXT, BINARY, TEXT):
        await send_compressed(socket, opcode, text, fragment_bytes=256 if number == "12.1.11" else 65_536)
        frame = await socket.frame()
        assert frame is not None
        assert frame[0] == FIN | RSV1 | opcode
        assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame[1] + b"\0\0\xff\xff") == text


async def send_compressed(socket: RawSocket, opcode: int, payload: bytes, *, fragment_bytes: int) -> None:
    """Send one compressed message; only its first frame says that it is compressed."""
    data = deflated(payload)
    parts = [data[at : at + fragment_bytes] for at in range(0, len(data), fragment_bytes)]
    for index, part in enumerate(parts):
        flags = (FIN if index == len(parts) - 1 else 0) | (0 if index else RSV1)
        await socket.send(CONTINUATION if index else opcode, part, flags=flags)


@pytest.mark.gen_test
async def test_the_coalesced_mode_joins_the_answers_of_one_iteration(
    echo: Hermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one write, as the hub does with the frames of a channel."""
    written: list[bytes] = []
    write = WebSocketTransport.write

    def recorded(transport: WebSocketTransport, data: bytes) -> bool:
        written.append(data)
        return write(transport, data)

    monkeypatch.setattr(WebSocketTransport, "write", recorded)
    socket = await open_raw(echo, f"/echo/{COALESCED}", token())
    await socket.send_bytes(SAY * 3)
    assert [await socket.frame() for _ in range(3)] == [MESSAGE] * 3
    assert len(written) == 1
