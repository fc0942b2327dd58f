"""A gateway with one more route, ``/echo/MODE``, which returns each message: for tests of the WebSocket protocol.

It is the handler, the protocol, the session and the transport of every other route; only what the handler does with a
message differs. Messages may be binary and large, and clients have no budget.
"""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from tornado.web import Application

from hermes.auth.principal import Principal
from hermes.delivery.channels import Channel
from hermes.delivery.frames import Batch, Frame
from hermes.gateway import Gateway
from hermes.server import stop_event
from hermes.testing import gateway_settings
from hermes.web.gateway_parts import GatewayParts
from hermes.web.sockets.handler import SocketHandler

PLAIN, COALESCED, COMPRESSED = MODES = ("plain", "coalesced", "compressed")
MESSAGE_MAX_BYTES = 16_777_216  # the largest message of the Autobahn|Testsuite
SETTINGS = {
    "client_frames_per_s": "0",
    "drain_timeout_s": "1",
    "outbox_max_bytes": str(4 * MESSAGE_MAX_BYTES),
    "outbox_max_messages": "100000",
    "ping_interval_s": "3600",  # a case that counts frames does not expect a ping
}

_BINARY = 0x2
_FLAGS = 0xF0


class EchoSocket(SocketHandler):
    """Returns each message: alone, joined with those of the same iteration of the loop, or compressed."""

    __slots__ = ("_waiting",)

    route = "/echo"
    carries_telemetry = False
    accepts_binary = True

    def initialize(self, gateway: GatewayParts) -> None:
        """Store the gateway's parts."""
        super().initialize(gateway)
        self._waiting: list[Frame] = []

    @property
    def max_message_size(self) -> int:
        """Size in bytes of the largest message."""
        return MESSAGE_MAX_BYTES

    def channels_for(self, principal: Principal) -> Iterable[Channel]:
        """Return no channel: only answers are sent."""
        return ()

    def get_compression_options(self) -> dict[str, Any] | None:
        """Accept permessage-deflate in one of the modes."""
        return super().get_compression_options() if self.path_args[0] == COMPRESSED else None

    def on_message(self, message: str | bytes) -> None:
        """Return the message."""
        if self._session is None or self._session.closed:
            return
        if self.path_args[0] != COALESCED:
            self._session.send(echo_frame(message))
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(echo_frame(message))

    def _flush(self) -> None:
        frames, self._waiting = self._waiting, []
        if self._session is not None and frames:
            self._session.send(Batch(frames))


def echo_frame(message: str | bytes) -> Frame:
    """Return the frame of a message, also of a binary one: Hermes itself sends text only."""
    if isinstance(message, str):
        return Frame(message.encode())
    frame = Frame(message)
    frame._deflated = _as_binary(frame.deflated)
    frame.plain = _as_binary(frame.plain)
    return frame


def _as_binary(frame: bytes) -> bytes:
    return bytes((frame[0] & _FLAGS | _BINARY,)) + frame[1:]


class EchoGateway(Gateway):
    """A gateway with the route ``/echo/MODE``."""

    def application(self) -> Application:
        """Return the usual application with the route."""
        application = super().application()
        application.add_handlers(".*", [(rf"/echo/({'|'.join(MODES)})", EchoSocket, {"gateway": self})])
        return application


async def _serve() -> None:
    stopping = stop_event()
    async with EchoGateway(gateway_settings(**SETTINGS)) as gateway:
        print(gateway.url, flush=True)
        await stopping.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(_serve()))
