"""The client's WebSocket under MQTT: the payloads of all frames are one stream; failures are explained."""

import base64
import hashlib
import re
import socket
import ssl
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.cli.main import main
from hermes.errors import install_command
from hermes.mqtt.net import websocket
from hermes.mqtt.net.buffered_socket import UnacceptableData
from hermes.mqtt.net.dial import missing_packages
from hermes.mqtt.net.websocket import WebSocket, client_protocol
from hermes.settings.urls.mqtt import parse_mqtt_url
from tests.support.brokers import Peer, scripted
from tests.support.sites import TOPIC, site

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CONTINUATION, TEXT, CLOSE, PING, PONG = 0x82, 0x00, 0x81, 0x88, 0x89, 0x8A


def frame(first: int, payload: bytes) -> bytes:
    """A server's frame, not masked."""
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 65_536:
        return bytes((first, 126)) + len(payload).to_bytes(2, "big") + payload
    return bytes((first, 127)) + len(payload).to_bytes(8, "big") + payload


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """The first byte and the payload of each frame that a client sent."""
    found = []
    while data:
        assert data[1] & 0x80, "a client's frame is masked"
        more = {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
        size = int.from_bytes(data[2 : 2 + more], "big") if more else data[1] & 0x7F
        mask, payload = data[2 + more : 6 + more], data[6 + more : 6 + more + size]
        found.append((data[0], bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))))
        data = data[6 + more + size :]
    return found


def opened(sock: socket.socket) -> WebSocket:
    """A WebSocket over this socket, after its handshake."""
    protocol = client_protocol(parse_mqtt_url("ws://broker.example"))
    protocol.receive_data(answer(protocol.connect().serialize().decode()))
    return WebSocket(sock, protocol)


@pytest.fixture
def ends() -> Iterator[tuple[WebSocket, socket.socket]]:
    """A client's WebSocket, and the plain socket at its other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(30)
    with ours, theirs:
        yield opened(ours), theirs


def available(end: WebSocket) -> bytes:
    """What can be read without waiting."""
    data = b""
    while True:
        try:
            part = end.recv(65_536)
        except BlockingIOError:
            return data
        if not part:
            return data
        data += part


PAYLOADS = st.one_of(st.binary(max_size=300), st.integers(126, 70_000).map(bytes))
CONTROL_FRAMES = st.lists(st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125)), max_size=2)
FRAGMENTS = st.lists(st.tuples(CONTROL_FRAMES, PAYLOADS), min_size=1, max_size=3)


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """The frames of some messages, whole or in fragments, with control frames between them (RFC 6455 §5.4)."""
    frames: list[tuple[int, bytes]] = []
    for fragments in draw(st.lists(FRAGMENTS, max_size=4)):
        for index, (control_frames, payload) in enumerate(fragments):
            opcode = CONTINUATION if index else BINARY & 0x0F
            final = 0x80 if index == len(fragments) - 1 else 0
            frames += [*control_frames, (opcode | final, payload)]
    return frames


@given(frames=messages(), cuts=st.lists(st.integers(1, 400), max_size=30))
def test_the_payloads_of_all_frames_are_one_stream(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """Cut anywhere, with control frames between them; every ping is answered."""
    data = b"".join(frame(*each) for each in frames)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        end, received = opened(ours), b""
        for cut in [*cuts, *([4_096] * 250)]:
            theirs.sendall(data[:cut])
            data = data[cut:]
            received += available(end)
        assert not data
        sent = b""
        while True:
            try:
                sent += theirs.recv(65_536)
            except BlockingIOError:
                break
    assert received == b"".join(payload for first, payload in frames if first not in (PING, PONG))
    assert unmasked(sent) == [(PONG, payload) for first, payload in frames if first == PING]


def test_a_packet_is_sent_in_one_masked_frame(ends: tuple[WebSocket, socket.socket]) -> None:
    """With each of the encodings of its length."""
    end, peer = ends
    sizes = (1, 125, 126, 65_535)
    for size in sizes:
        assert end.send(b"m" * size) == size
    data = b""
    while len(data) < sum(sizes) + 6 + 6 + 8 + 8:
        data += peer.recv(65_536)
    assert unmasked(data) == [(BINARY, b"m" * size) for size in sizes]


def test_a_frame_that_the_socket_does_not_accept_at_once_is_continued(ends: tuple[WebSocket, socket.socket]) -> None:
    """The caller must call again with the same data; a pong follows the whole frame."""
    end, peer = ends
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    payload = bytes(range(256)) * 2_000
    with pytest.raises(BlockingIOError):
        end.send(payload)
    peer.sendall(frame(PING, b"are you there"))
    assert available(end) == b""
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


class FullSocket:
    """A TLS socket that accepts no bytes until ``full`` is False."""

    def __init__(self, sock: socket.socket) -> None:
        self.full = True
        self._sock = sock
        self.offered: list[bytes] = []

    def send(self, data: bytes) -> int:
        """Record what is offered, and send it if it is accepted."""
        self.offered.append(data)
        if self.full:
            raise ssl.SSLWantWriteError
        return self._sock.send(data)

    def recv(self, size: int) -> bytes:
        """Return what has arrived."""
        return self._sock.recv(size)


def test_a_full_tls_socket_is_offered_the_same_bytes_again(ends: tuple[WebSocket, socket.socket]) -> None:
    """Else it would send the bytes of the first attempt as if they were those of the second."""
    end, peer = ends
    full = end._sock = FullSocket(end._sock)
    for payload in (b"1", b"2", b"3"):
        peer.sendall(frame(PING, payload))
        assert available(end) == b""
    with pytest.raises(ssl.SSLWantWriteError):
        end.send(b"packet")
    full.full = False
    assert end.send(b"packet") == 6
    first, *later = full.offered
    assert all(offer.startswith(first) for offer in later[:-1])
    assert unmasked(peer.recv(65_536)) == [(PONG, b"1"), (BINARY, b"packet"), (PONG, b"3")]


def test_a_close_frame_is_the_end(ends: tuple[WebSocket, socket.socket]) -> None:
    """After the data before it; nothing can be sent any more, and the close frame is answered."""
    end, peer = ends
    peer.sendall(frame(BINARY, b"last") + frame(CLOSE, b"\x03\xe8"))
    assert end.recv(100) == b"last"
    assert end.recv(100) == b""
    with pytest.raises(BrokenPipeError):
        end.send(b"late")
    assert unmasked(peer.recv(100)) == [(CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame(TEXT, b"text"), "text frame, which MQTT does not allow"),
        (frame(0xC2, b"compressed"), "reserved bits must be 0"),
        (frame(PING, b"x" * 126), "control frame too long"),
        (frame(0x83, b"reserved"), "invalid opcode"),
        (bytes((BINARY, 0x81)) + b"mask!", "incorrect masking"),
        (frame(0x80, b"of no message"), "unexpected continuation frame"),
        (bytes((BINARY, 127)) + (1 << 32).to_bytes(8, "big"), "4294967296 bytes"),
    ],
)
def test_an_invalid_frame_ends_the_connection(data: bytes, text: str, ends: tuple[WebSocket, socket.socket]) -> None:
    """MQTT 5 §6.0, RFC 6455 §5; one that is too long, before it has been read."""
    end, peer = ends
    peer.sendall(data)
    with pytest.raises(UnacceptableData, match=text):
        end.recv(1_000)


def test_frames_are_never_logged(ends: tuple[WebSocket, socket.socket], caplog: pytest.LogCaptureFixture) -> None:
    """CONNECT holds the password."""
    caplog.set_level("DEBUG")
    end, peer = ends
    end.send(b"password")
    peer.sendall(frame(BINARY, b"data"))
    assert available(end) == b"data"
    assert caplog.records == []
    assert not websocket._SILENT_LOGGER.isEnabledFor(10)


# -- the handshake ----------------------------------------------------------------------------------------------------


def request(peer: Peer) -> str:
    """The client's request."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = peer.socket.recv(4_096)
        if not chunk:
            raise ConnectionAbortedError("the client ends")
        data += chunk
    return data.decode()


def answer(text: str, protocol: str = "mqtt") -> bytes:
    """The response that grants this request."""
    key = re.search(r"Sec-WebSocket-Key: (\S+)", text)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1((key[1] + GUID).encode()).digest()).decode()
    lines = ("HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: upgrade")
    return "\r\n".join(
        (*lines, f"sec-websocket-accept: {accept}", f"Sec-WebSocket-Protocol:{protocol}", "", "")
    ).encode()


def test_a_broker_may_answer_in_any_case_and_in_pieces() -> None:
    """The request names path, host and protocol; a frame right behind the response is received."""
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
        here.receives(b"7")
        host = f"Host: 127.0.0.1:{broker.port}\r\n"
    assert requests[0].startswith("GET /some/path HTTP/1.1\r\n")
    assert host in requests[0]
    assert "Sec-WebSocket-Protocol: mqtt\r\n" in requests[0]


def masked_packets(peer: Peer) -> Iterator[bytes]:
    """The MQTT packets that a client sends, one in each frame, without its pongs."""
    data = b""
    while chunk := peer.socket.recv(65_536):
        data += chunk
        for first, payload in unmasked(data):
            if first == BINARY:
                yield payload
        data = b""


UPGRADED = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404 'Not Found' to a WebSocket on /mqtt: check the path"),
        (b"HTTP/1.0 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n", "answered 502 'Bad Gateway'"),
        (b"\x20\x03\0\0\0", "is not a WebSocket server"),
        (b"HTTP/1.1 200 " + b"x" * 20_000, "is not a WebSocket server"),
        (b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: wrong\r\n\r\n", "is not a WebSocket server"),
        (UPGRADED + b"Sec-WebSocket-Accept: wrong\r\n\r\n", "answered for another request"),
        (b"", "closed the connection during the WebSocket handshake"),
    ],
)
def test_a_failed_handshake_is_explained(response: bytes, reason: str) -> None:
    """Wrong path, wrong port, a cache between both ends. The server need not close the connection."""
    ended = threading.Event()

    def script(peer: Peer) -> None:
        request(peer)
        peer.socket.sendall(response)
        if response:
            ended.wait(30)

    with scripted(script) as broker, site(parse_mqtt_url(f"ws://127.0.0.1:{broker.port}")) as here:
        here.down(reason)
        ended.set()


def test_a_websocket_of_another_protocol_is_refused() -> None:
    """MQTT-6.0.0-3: the subprotocol is mqtt."""

    def script(peer: Peer) -> None:
        peer.socket.sendall(answer(request(peer), "chat"))
        peer.until_closed()

    with scripted(script) as broker, site(parse_mqtt_url(f"ws://127.0.0.1:{broker.port}")) as here:
        here.down("does not support MQTT")


def test_an_invalid_frame_is_explained() -> None:
    """As the reason why the connection ended."""

    def script(peer: Peer) -> None:
        peer.socket.sendall(answer(request(peer)))
        peer.socket.sendall(frame(TEXT, b"hello"))
        peer.until_closed()

    with scripted(script) as broker, site(parse_mqtt_url(f"ws://127.0.0.1:{broker.port}")) as here:
        here.down("the broker sent a WebSocket text frame, which MQTT does not allow")


@pytest.mark.parametrize("url", ["ws://broker.example", "WSS://broker.example/mqtt"])
def test_a_missing_package_is_reported_before_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it; other URLs do not need it."""
    assert missing_packages(url) == []
    monkeypatch.setattr("hermes.mqtt.net.dial.find_spec", lambda name: None)
    (fault,) = missing_packages(url)
    assert install_command("websockets") in fault
    assert [missing_packages(other) for other in ("mqtts://broker.example", "embedded", "off")] == [[], [], []]


@pytest.mark.parametrize(("command", "code"), [("serve", 2), ("check", 1)])
def test_a_missing_package_ends_the_command(
    command: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`hermes serve` as wrong settings do; `hermes check` reports it among its results."""
    monkeypatch.setattr("hermes.mqtt.net.dial.find_spec", lambda name: None)
    monkeypatch.setenv("HERMES_JWT_SECRET", "the secret of a gateway that runs in a test")
    monkeypatch.setenv("HERMES_API_KEY", "the key of a gateway that runs in a test")
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 0.0)
    monkeypatch.setitem(sys.modules, "hermes.mqtt.net.websocket", None)  # as if it could not be imported
    assert main([command, "--port", "0", "--mqtt-url", "ws://127.0.0.1:1"]) == code
    printed = capsys.readouterr()
    assert install_command("websockets") in printed.out + printed.err
    assert "Traceback" not in printed.err
