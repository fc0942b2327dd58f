"""A client's WebSocket under MQTT: whatever the frames are, the bytes are one stream; faults are told in words."""

import base64
import hashlib
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.mqtt.net.websocket import WebSocket
from hermes.settings.mqtt_url import parse_mqtt_url
from tests.support.brokers import Peer, scripted
from tests.support.sites import TOPIC, site

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CONTINUATION, TEXT, CLOSE, PING, PONG = 0x82, 0x00, 0x81, 0x88, 0x89, 0x8A


def frame(first: int, payload: bytes) -> bytes:
    """As a server sends it, unmasked."""
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 65_536:
        return bytes((first, 126)) + len(payload).to_bytes(2, "big") + payload
    return bytes((first, 127)) + len(payload).to_bytes(8, "big") + payload


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """The frames that a client sent: each one's first byte and payload."""
    found = []
    while data:
        assert data[1] & 0x80, "a client's frame is masked"
        more = {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
        size = int.from_bytes(data[2 : 2 + more], "big") if more else data[1] & 0x7F
        mask, payload = data[2 + more : 6 + more], data[6 + more : 6 + more + size]
        found.append((data[0], bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))))
        data = data[6 + more + size :]
    return found


@pytest.fixture
def ends() -> Iterator[tuple[WebSocket, socket.socket]]:
    """A client's WebSocket, and the raw socket at its other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    with ours, theirs:
        yield WebSocket(ours), theirs


def all_of(end: WebSocket) -> bytes:
    """What it can read without waiting."""
    data = b""
    while True:
        try:
            part = end.recv(65_536)
        except BlockingIOError:
            return data
        if not part:
            return data
        data += part


FRAMES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from((BINARY, 0x02, CONTINUATION, 0x80)), st.binary(max_size=300)),
        st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125)),
        st.tuples(st.just(BINARY), st.integers(126, 70_000).map(bytes)),
    ),
    max_size=6,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 400), max_size=30))
def test_whatever_the_frames_are_the_bytes_are_one_stream(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """Cut anywhere, with control frames in between; every ping gets its pong, the last one at least."""
    data = b"".join(frame(*each) for each in frames)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        end, heard = WebSocket(ours), b""
        for cut in [*cuts, *([4_096] * 100)]:
            theirs.sendall(data[:cut])
            data = data[cut:]
            heard += all_of(end)
        assert not data
        sent = b""
        while True:
            try:
                sent += theirs.recv(65_536)
            except BlockingIOError:
                break
    assert heard == b"".join(payload for first, payload in frames if first not in (PING, PONG))
    assert unmasked(sent) == [(PONG, payload) for first, payload in frames if first == PING]


def test_what_is_sent_is_masked_and_whole(ends: tuple[WebSocket, socket.socket]) -> None:
    """Of any size that a frame's length can be written in."""
    end, peer = ends
    sizes = (1, 125, 126, 65_535)
    for size in sizes:
        assert end.send(b"m" * size) == size
    data = b""
    while len(data) < sum(sizes) + 6 + 6 + 8 + 8:
        data += peer.recv(65_536)
    assert unmasked(data) == [(BINARY, b"m" * size) for size in sizes]


def test_a_frame_that_the_socket_does_not_take_whole_goes_on_later(ends: tuple[WebSocket, socket.socket]) -> None:
    """The caller is told to come again with the same; a pong waits for the frame's end."""
    end, peer = ends
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    payload = bytes(range(256)) * 2_000
    with pytest.raises(BlockingIOError):
        end.send(payload)
    peer.sendall(frame(PING, b"are you there"))
    assert all_of(end) == b""
    data, sent_bytes = b"", 0
    while not sent_bytes:
        data += peer.recv(65_536)
        try:
            sent_bytes = end.send(payload)
        except BlockingIOError:
            continue
    while len(data) < len(payload) + 14 + 6 + 13:
        data += peer.recv(65_536)
    assert sent_bytes == len(payload)
    assert unmasked(data) == [(BINARY, payload), (PONG, b"are you there")]


def test_a_close_frame_is_the_end(ends: tuple[WebSocket, socket.socket]) -> None:
    """After what came before it."""
    end, peer = ends
    peer.sendall(frame(BINARY, b"last") + frame(CLOSE, b"\x03\xe8"))
    assert end.recv(100) == b"last"
    assert end.recv(100) == b""


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"text"),
        frame(0xC2, b"compressed"),
        frame(PING, b"x" * 126),
        frame(0x83, b"reserved"),
        bytes((BINARY, 0x81)) + b"mask!",
    ],
)
def test_what_mqtt_or_a_websocket_does_not_allow_ends_it(data: bytes, ends: tuple[WebSocket, socket.socket]) -> None:
    """MQTT 5 §6.0, RFC 6455 §5."""
    end, peer = ends
    peer.sendall(data)
    with pytest.raises(ConnectionError, match="does not allow"):
        end.recv(100)


# -- the handshake ----------------------------------------------------------------------------------------------------


def request(peer: Peer) -> str:
    """Read the client's request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.socket.recv(4_096)
    return data.decode()


def answer(text: str, protocol: str = "mqtt") -> bytes:
    """The answer that grants this request."""
    key = re.search(r"Sec-WebSocket-Key: (\S+)", text)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1((key[1] + GUID).encode()).digest()).decode()
    lines = ("HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: upgrade")
    return "\r\n".join(
        (*lines, f"sec-websocket-accept: {accept}", f"Sec-WebSocket-Protocol:{protocol}", "", "")
    ).encode()


def test_a_broker_may_answer_in_any_case_and_in_pieces() -> None:
    """The request names path, host and protocol; what follows the answer at once is heard."""
    requests: list[str] = []

    def script(peer: Peer) -> None:
        requests.append(request(peer))
        granted = answer(requests[-1])
        peer.socket.sendall(granted[:20])
        peer.socket.sendall(granted[20:] + frame(PING, b"")[:1])
        peer.socket.sendall(frame(PING, b"")[1:])
        packets = iter(masked_packets(peer))
        assert next(packets)[0] >> 4 == 1
        peer.socket.sendall(frame(BINARY, b"\x20\x03\0\0\0"))
        subscribe = next(packets)
        assert subscribe[0] >> 4 == 8
        suback = b"\x90\x04" + subscribe[2:4] + b"\0\0"
        topic = TOPIC.encode()
        message = bytes((0x30, 2 + len(topic) + 2)) + len(topic).to_bytes(2, "big") + topic + b"\0" + b"7"
        peer.socket.sendall(frame(0x02, suback + message[:5]) + frame(0x80, message[5:]))
        for _ in packets:
            pass

    with scripted(script) as broker, site(parse_mqtt_url(f"ws://127.0.0.1:{broker.port}/some/path")) as here:
        here.hears(b"7")
        host = f"Host: 127.0.0.1:{broker.port}\r\n"
    assert requests[0].startswith("GET /some/path HTTP/1.1\r\n")
    assert host in requests[0]
    assert "Sec-WebSocket-Protocol: mqtt\r\n" in requests[0]


def masked_packets(peer: Peer) -> Iterator[bytes]:
    """The MQTT packets that a client sends, one a frame; its pongs are left out."""
    data = b""
    while chunk := peer.socket.recv(65_536):
        data += chunk
        for first, payload in unmasked(data):
            if first == BINARY:
                yield payload
        data = b""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404 'Not Found' to a WebSocket on /mqtt: look at the URL's path"),
        (b"\x20\x03\0\0\0", "is no WebSocket"),
        (b"HTTP/1.1 200 " + b"x" * 20_000, "is no WebSocket"),
        (b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: wrong\r\n\r\n", "answered for another request"),
        (b"", "closed the connection during the WebSocket handshake"),
    ],
)
def test_a_handshake_that_fails_is_told_in_words(said: bytes, words: str) -> None:
    """Wrong path, wrong port, a cache in between."""

    def script(peer: Peer) -> None:
        request(peer)
        peer.socket.sendall(said)

    with scripted(script) as broker, site(parse_mqtt_url(f"ws://127.0.0.1:{broker.port}")) as here:
        here.down(words)


def test_a_websocket_that_speaks_something_else_is_refused() -> None:
    """MQTT-6.0.0-3: the subprotocol is mqtt."""

    def script(peer: Peer) -> None:
        peer.socket.sendall(answer(request(peer), "chat"))
        peer.until_closed()

    with scripted(script) as broker, site(parse_mqtt_url(f"ws://127.0.0.1:{broker.port}")) as here:
        here.down("does not speak MQTT")
