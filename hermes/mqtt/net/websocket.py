"""MQTT over the binary frames of a WebSocket, the client side.

The sources are MQTT 5 §6 and RFC 6455. Framing and handshake are those of the `websockets` package, an extra, without
its input and output. MQTT gives frame boundaries no meaning (MQTT 5 §6): the payloads are passed on as one stream.
"""

import logging
import ssl
from typing import Any, Self

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from hermes.mqtt.failures import ConnectionFailure, RefusedByBroker
from hermes.mqtt.net.buffered_socket import PACKET_MAX_BYTES, UnacceptableData
from hermes.mqtt.net.deadline import READ, WRITE, Deadline
from hermes.settings.urls.mqtt import MqttUrl

RESPONSE_MAX_BYTES = 16_384
MESSAGE_MAX_BYTES = 2 * PACKET_MAX_BYTES  # a broker may put several packets into one message

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NOT_A_WEBSOCKET = "the server at this address is not a WebSocket server: check the port, and use wss:// if it uses TLS"

# At debug level the package logs every frame, CONNECT with its password too: this logger has no handler
_SILENT_LOGGER = logging.Logger("websockets", logging.CRITICAL)


class WebSocket:
    """A WebSocket with the methods of a socket that paho uses.

    Everything but reading and writing is passed on to ``sock``. ``protocol`` has completed the handshake.
    """

    def __init__(self, sock: Any, protocol: ClientProtocol) -> None:
        self._sock = sock
        self._protocol = protocol
        self._unsent = b""  # bytes of frames that must be sent before any other
        self._unsent_data_bytes = 0  # of the caller's data in them
        self._replies = b""  # pongs and close frame of the last read; later ones replace them (RFC 6455 §5.5.3)
        self._data = self._decoded()  # payloads that arrived together with the handshake's response

    @classmethod
    def open(cls, sock: Any, url: MqttUrl, deadline: Deadline) -> Self:
        """Request the upgrade.

        Raises `ConnectionFailure` that describes the response if it does not grant it, OSError, or `Cancelled`.
        """
        protocol = client_protocol(url)
        protocol.send_request(protocol.connect())
        _send_all(sock, b"".join(protocol.data_to_send()), deadline)
        response = _read_response(sock, deadline)
        _check_status(response, url)
        protocol.receive_data(response)
        _check_handshake(protocol)
        return cls(sock, protocol)

    def recv(self, size: int) -> bytes:
        """Return payload bytes that have arrived, or b"" at the end.

        Reads at most ``size`` bytes from the socket; a frame that they complete may have more. Raises BlockingIOError
        if no payload bytes have arrived yet.
        """
        if not self._data and not self._closed:
            chunk: bytes = self._sock.recv(size)
            if not chunk:
                return b""
            self._protocol.receive_data(chunk)
            self._data = self._decoded()
        if not self._data and not self._closed:
            raise BlockingIOError
        data, self._data = self._data, b""
        return data

    def send(self, data: bytes | bytearray) -> int:
        """Send all of ``data`` in one frame and return its size.

        Raises BlockingIOError if the socket did not accept the whole frame: the caller must call again with the same
        data.
        """
        if self._closed:
            raise BrokenPipeError("the broker closed the WebSocket")
        if not self._unsent_data_bytes:
            self._protocol.send_binary(bytes(data))
            self._unsent += b"".join(self._protocol.data_to_send())
            self._unsent_data_bytes = len(data)
        self._send_unsent()
        if self._unsent:
            raise BlockingIOError  # paho 2.2 loses a packet if 0 bytes of it are sent
        sent_bytes, self._unsent_data_bytes = self._unsent_data_bytes, 0
        self._send_replies()
        return sent_bytes

    def pending(self) -> int:
        """Return the bytes at hand that a selector cannot see."""
        return len(self._data) + (self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    @property
    def _closed(self) -> bool:
        return self._protocol.state is not State.OPEN

    def _decoded(self) -> bytes:
        """Return the payloads of the frames received.

        Raises `UnacceptableData` if one is not allowed.
        """
        payloads = [_payload(event) for event in self._protocol.events_received() if isinstance(event, Frame)]
        if replies := b"".join(self._protocol.data_to_send()):
            self._replies = replies
            self._send_replies()
        if (error := self._protocol.parser_exc) is not None:
            raise UnacceptableData(f"the broker sent an invalid WebSocket frame: {error}")
        return b"".join(payloads)

    def _send_replies(self) -> None:
        """Send pongs between two frames.

        What the socket does not accept now is sent before the next frame.
        """
        if self._replies and not self._unsent:
            self._unsent, self._replies = self._replies, b""
            try:
                self._send_unsent()
            except _WOULD_BLOCK:
                return

    def _send_unsent(self) -> None:
        self._unsent = self._unsent[self._sock.send(self._unsent) :]


def client_protocol(url: MqttUrl) -> ClientProtocol:
    """Return the state of a connection to ``url`` before its handshake."""
    return ClientProtocol(
        WebSocketURI(secure=url.tls, host=url.host, port=url.port, path=url.path, query=""),
        subprotocols=[Subprotocol("mqtt")],
        max_size=MESSAGE_MAX_BYTES,
        logger=_SILENT_LOGGER,
    )


def _payload(frame: Frame) -> bytes | bytearray | memoryview:
    """Return the frame's part of the stream.

    Raises `UnacceptableData` for a text frame (MQTT-6.0.0-1).
    """
    if frame.opcode is Opcode.TEXT:
        raise UnacceptableData("the broker sent a WebSocket text frame, which MQTT does not allow")
    return frame.data if frame.opcode in (Opcode.BINARY, Opcode.CONT) else b""


# -- the handshake ----------------------------------------------------------------------------------------------------


def _send_all(sock: Any, data: bytes, deadline: Deadline) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            deadline.wait_for(sock, WRITE)
        except ssl.SSLWantReadError:
            deadline.wait_for(sock, READ)


def _read_response(sock: Any, deadline: Deadline) -> bytes:
    """Return the bytes received up to the end of the response's header fields.

    Some more bytes may follow them.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            chunk = sock.recv(4_096)
        except (BlockingIOError, ssl.SSLWantReadError):
            deadline.wait_for(sock, READ)
            continue
        data += chunk
        if not data.startswith(b"HTTP/"[: len(data)]) or len(data) > RESPONSE_MAX_BYTES:
            raise ConnectionFailure(_NOT_A_WEBSOCKET)
        if not chunk:
            raise ConnectionFailure(
                "the broker closed the connection during the WebSocket handshake: does this port support WebSockets?"
            )
    return data


def _check_status(response: bytes, url: MqttUrl) -> None:
    """Raise `RefusedByBroker` for any status but 101.

    Without this check the package would wait for the end of the response's body.
    """
    status = response.partition(b"\r\n")[0].decode("latin-1")
    code, _, text = status.partition(" ")[2].partition(" ")
    if code != "101":
        raise RefusedByBroker(
            f"the broker's HTTP server answered {code} {text[:60]!r} to a WebSocket on {url.path}: "
            "check the path in the URL"
        )


def _check_handshake(protocol: ClientProtocol) -> None:
    match protocol.handshake_exc:
        case None:
            return
        case NegotiationError():
            raise RefusedByBroker("the WebSocket server there does not support MQTT: check port and path in the URL")
        case InvalidHeader(name="Sec-WebSocket-Accept"):
            raise ConnectionFailure(
                "the WebSocket handshake was answered for another request: is there a cache in between?"
            )
        case _:
            raise ConnectionFailure(_NOT_A_WEBSOCKET)
