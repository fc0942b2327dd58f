"""Find out whether the installed Tornado calls the methods that Hermes replaces.

`SharedDeflateProtocol` and `ServerProtocol` replace one each.

The probe opens one compressed WebSocket over a socket pair and sends two small messages and a small bomb. To compare
signatures only would not do: a method can change its meaning and keep its signature.
"""

import asyncio
import functools
import logging
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tornado
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from hermes.errors import MESSAGE_TOO_BIG, Close
from hermes.web.sockets.deflate import NO_CONTEXT_TAKEOVER
from hermes.web.sockets.protocol import ServerProtocol

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0  # it takes 5 ms; a Tornado that does not answer must not stop the start
MESSAGE_MAX_BYTES = 100

_TEXT, _CLOSE = 0xC1, 0x88  # first bytes of a compressed text frame and of a close frame
_MESSAGE = b"a" * MESSAGE_MAX_BYTES
_BOMB = b"a" * 10_000  # 21 bytes compressed
_REQUEST = "\r\n".join(
    (
        "GET / HTTP/1.1",
        "Host: probe",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "",
        "",
    )
).encode()


@functools.cache
def deflate_works() -> bool:
    """Return whether sockets can be compressed; log one line if not.

    Without the replaced methods, Tornado would hold 83 KiB of compression state for each socket, and Hermes could not
    share deflated frames: sockets are then not compressed, and Tornado reads their frames without a budget. The first
    call blocks for some milliseconds.
    """
    with ThreadPoolExecutor(1) as executor:  # the caller's event loop runs already
        works = executor.submit(_run).result()
    if not works:
        logger.warning(
            "Tornado %s does not call the methods that Hermes replaces as expected: sockets are not compressed, and "
            "--client-frames-per-s may have no effect",
            tornado.version,
        )
    return works


def _run() -> bool:
    try:
        return asyncio.run(asyncio.wait_for(_probe(), TIMEOUT_S))
    except Exception:  # a changed method may fail in any way
        logger.debug("the probe of permessage-deflate failed", exc_info=True)
        return False


class _Echo(WebSocketHandler):
    """Returns each message, compressed by Tornado."""

    max_message_size = MESSAGE_MAX_BYTES
    accepts_binary = False
    client_frames_per_s = 0.0

    def fail(self, close: Close) -> None:
        """Close because of what the client sent."""
        self.close(close.code, close.word)

    def get_compression_options(self) -> dict[str, Any]:
        """Accept the offer."""
        return {}

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Use the protocol that is probed."""
        protocol = super().get_websocket_protocol()
        assert isinstance(protocol, WebSocketProtocol13)
        return ServerProtocol(self, False, protocol.params)

    def on_message(self, message: str | bytes) -> None:
        """Return the message if the protocol has noticed that the socket is compressed."""
        assert isinstance(self.ws_connection, ServerProtocol)
        if self.ws_connection.compressed and self.ws_connection.reads_strictly:
            self.write_message(message)
        else:
            self.close()


async def _probe() -> bool:
    """Return whether the installed Tornado works with shared deflated frames.

    Messages must be compressed without context takeover, and the size of an inflated one must be limited.
    """
    ours, theirs = socket.socketpair()
    server = HTTPServer(Application([(r"/", _Echo)], log_function=lambda handler: None))
    server.handle_stream(IOStream(theirs), ("127.0.0.1", 0))
    client = IOStream(ours)
    try:
        await client.write(_REQUEST)
        response = (await client.read_until(b"\r\n\r\n")).decode()
        await client.write(2 * _frame(_MESSAGE) + _frame(_BOMB))
        first, second, last = [await _read_frame(client) for _ in range(3)]
    finally:
        client.close()
        await server.close_all_connections()
    agreed = all(flag in response for flag in NO_CONTEXT_TAKEOVER)
    independent = first == second and first[0] == _TEXT and _inflated(first[1]) == _MESSAGE
    return agreed and independent and last[0] == _CLOSE and last[1][:2] == MESSAGE_TOO_BIG.code.to_bytes(2, "big")


def _frame(text: bytes) -> bytes:
    """Return a client's frame of this text, compressed.

    Its mask is zero, so that the mask changes nothing.
    """
    payload = _deflated(text)
    return bytes((_TEXT, 0x80 | len(payload))) + bytes(4) + payload


def _deflated(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]  # RFC 7692 §7.2.1


def _inflated(payload: bytes) -> bytes:
    return zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(payload + b"\0\0\xff\xff")


async def _read_frame(client: IOStream) -> tuple[int, bytes]:
    first_byte, length = await client.read_bytes(2)
    return first_byte, await client.read_bytes(length)
