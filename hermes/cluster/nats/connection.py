"""One connection to a NATS server, from INFO to its end.

What is sent in one iteration of the loop leaves in one write.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from hermes import __version__
from hermes.cluster.nats.protocol import MESSAGE_MAX_BYTES, NatsMessage, NatsProtocolError, Parser
from hermes.log import printable
from hermes.net.resolver import Resolver
from hermes.settings.cluster.creds_file import UserKey
from hermes.settings.urls.nats import NatsUrl

CONNECT_TIMEOUT_S = 4.0  # for name, TCP, INFO, TLS and the answer to CONNECT together
PENDING_MAX_BYTES = 8_388_608  # that wait for the server; a node sends about 1 MB/s at 2,000 notifications a second
SHOWN_MAX_CHARS = 500  # of a text of the server
OLDEST_VERSION = (2, 2)  # the first with headers and "no responders"
# Errors after which the server keeps the connection open
_SURVIVED = ("permissions violation", "invalid subject", "maximum subscriptions exceeded")
# Words of errors that only a person can correct
_PERMANENT = ("authorization", "expired", "revoked", "tls", "protocol")

# Parts of the reasons of OpenSSL for the same: alerts of the peer, and what is found here
_PERMANENT_TLS = (
    *("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS"),
    *("WRONG_VERSION_NUMBER", "NO_SHARED_CIPHER", "ACCESS_DENIED", "UNRECOGNIZED_NAME", "INSUFFICIENT_SECURITY"),
    "KEY_TOO_SMALL",
)


class NatsRefused(Exception):
    """The server does not accept this client; only a person can correct that."""


class NatsUnreachable(Exception):
    """There is no usable connection now; a later attempt may work."""


class NatsConnection(asyncio.Protocol):
    """A connection: `open` it, then use it until ``closed`` is done.

    ``on_message`` gets each message, ``on_refusal`` the text of an error that does not end the connection, and
    ``on_lame_duck`` is called when the server is about to stop.
    """

    def __init__(
        self,
        *,
        on_message: Callable[[NatsMessage], None],
        on_refusal: Callable[[str], None],
        on_lame_duck: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_refusal = on_refusal
        self._on_lame_duck = on_lame_duck
        self._loop = loop
        self._parser = Parser(self)
        self._is_open = False  # the server has accepted CONNECT, and by TLS if that is asked for
        self._transport: asyncio.Transport | None = None
        self._info: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._pongs: deque[tuple[float, asyncio.Future[None]]] = deque()  # when it was asked for
        self._out: list[bytes] = []
        self._out_bytes = 0
        self.closed: asyncio.Future[str] = loop.create_future()  # why, an empty text if it was closed here
        self.max_payload = 0
        self.server_name = ""
        self._error = ""  # of the server
        self._ended_here: str | None = None  # why

    # -- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        server: NatsUrl,
        *,
        name: str,
        resolver: Resolver,
        user_key: UserKey | None,
        tls: Callable[[], ssl.SSLContext],
        on_message: Callable[[NatsMessage], None],
        on_refusal: Callable[[str], None],
        on_lame_duck: Callable[[], None],
    ) -> "NatsConnection":
        """Return an authenticated connection.

        Raises `NatsRefused` or `NatsUnreachable`, and what ``tls`` raises.
        """
        context = tls() if server.tls else None
        connection = cls(on_message=on_message, on_refusal=on_refusal, on_lame_duck=on_lame_duck)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection._connect(await resolver.addresses(server.host, server.port), server.port)
                await connection._open(server, name=name, user_key=user_key, tls=context)
        except TimeoutError:
            await connection.close()
            raise NatsUnreachable(f"{server} does not answer within {CONNECT_TIMEOUT_S:g} s") from None
        except ssl.SSLError as error:
            await connection.close()
            if needs_person(error):
                raise NatsRefused(_tls_problem(server, error)) from None
            raise NatsUnreachable(f"{server}: the TLS handshake failed ({error.reason or error})") from None
        except (OSError, UnicodeError) as error:
            await connection.close()
            raise NatsUnreachable(f"{server}: {getattr(error, 'strerror', None) or error}") from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _connect(self, addresses: Sequence[str], port: int) -> None:
        """Connect to the first address that accepts. Raises OSError."""
        for address in addresses[:-1]:
            try:
                await self._loop.create_connection(lambda: self, address, port)
            except OSError:
                continue
            return
        await self._loop.create_connection(lambda: self, addresses[-1], port)

    async def _open(self, server: NatsUrl, *, name: str, user_key: UserKey | None, tls: ssl.SSLContext | None) -> None:
        info = await self._unless_closed(server, self._info)
        _check(server, info)
        if tls is not None:
            assert self._transport is not None
            if self._parser.pending_bytes:  # whoever can change the traffic could put a message before those of TLS
                raise NatsRefused(f"{server} sends something between INFO and TLS: is there a proxy?")
            transport = await self._loop.start_tls(self._transport, self, tls, server_hostname=server.host)
            if transport is None:  # it was closed meanwhile
                raise NatsUnreachable(f"{server} closed the connection during the TLS handshake")
            assert isinstance(transport, asyncio.Transport)
            self._transport = transport
        fields = {
            "verbose": False,
            "pedantic": False,
            "echo": False,
            "headers": True,
            "no_responders": True,
            "protocol": 1,
            "lang": "python-hermes",
            "version": __version__,
            "name": name,
            **_credentials(server, user_key, str(info.get("nonce", ""))),
        }
        self.write(b"CONNECT %b\r\n" % orjson.dumps(fields))
        await self._unless_closed(server, self.ping())
        self._is_open = True

    async def _unless_closed(self, server: NatsUrl, waited: "asyncio.Future[Any]") -> Any:
        await asyncio.wait((waited, self.closed), return_when=asyncio.FIRST_COMPLETED)
        if waited.done() and not waited.cancelled():
            return waited.result()
        waited.cancel()
        if any(word in self._error.lower() for word in _PERMANENT):
            raise NatsRefused(f"{server} refuses this client: {self._error}{_hint(self._error)}")
        raise NatsUnreachable(f"{server}: {self.closed.result() or 'the connection ended'}")

    # -- writing ------------------------------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """The number of bytes that wait for the server."""
        return self._out_bytes + (0 if self._transport is None else self._transport.get_write_buffer_size())

    @property
    def has_room(self) -> bool:
        """Whether at most half of what may wait for the server waits; True at its end."""
        return self.closed.done() or self.pending_bytes <= PENDING_MAX_BYTES // 2

    def write(self, data: bytes) -> bool:
        """Send at the end of this iteration of the loop.

        Returns False, and sends nothing, if too much waits already or the connection is closed.
        """
        if self.closed.done() or self._out_bytes > PENDING_MAX_BYTES or self._transport is None:
            return False
        if not self._out:
            if self.pending_bytes > PENDING_MAX_BYTES:
                return False
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)
        return True

    def _flush(self) -> None:
        data, self._out, self._out_bytes = b"".join(self._out), [], 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def ping(self) -> "asyncio.Future[None]":
        """Send a ping.

        The result is there when the server has processed everything that was sent before; it is cancelled if the
        connection ends.
        """
        pong: asyncio.Future[None] = self._loop.create_future()
        if self.write(b"PING\r\n"):
            self._pongs.append((self._loop.time(), pong))
        else:
            pong.cancel()
        return pong

    @property
    def unanswered_s(self) -> float:
        """For how long the oldest ping has no answer; 0 if all have one."""
        return self._loop.time() - self._pongs[0][0] if self._pongs else 0.0

    async def close(self) -> None:
        """Send what waits, and end the connection."""
        self._flush()
        if self._transport is None:
            self._end("")
            return
        if self._ended_here is None:
            self._ended_here = ""
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):  # a peer that does not read
                await asyncio.shield(self.closed)
        self.abort("")

    def abort(self, why: str) -> None:
        """End the connection at once."""
        if self._ended_here is None:
            self._ended_here = why
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    # -- what asyncio calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Handle bytes of the server."""
        if self.closed.done():
            return  # what was under way when it was aborted
        try:
            self._parser.feed(data)
        except NatsProtocolError as error:
            self.abort(f"this is not a NATS server: {error}" if not self._info.done() else str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Note why the connection ended."""
        if isinstance(error, ssl.SSLError) and needs_person(error):  # of TLS 1.3, which comes after the handshake
            self._error = self._error or f"TLS: {error.reason}"
        why = self._error or (str(error) if error else "the server closed the connection")
        self._end(why if self._ended_here is None else self._ended_here)

    def _end(self, why: str) -> None:
        if not self.closed.done():
            self.closed.set_result(why)
        self._out, self._out_bytes = [], 0
        while self._pongs:
            self._pongs.popleft()[1].cancel()

    # -- what the parser calls ----------------------------------------------------------------------------------------

    def on_info(self, info: dict[str, Any]) -> None:
        """Handle the description of the server."""
        max_payload = info.get("max_payload", 0)
        if not isinstance(max_payload, int):
            raise NatsProtocolError("an INFO in which max_payload is no number")
        self.max_payload = min(max_payload, MESSAGE_MAX_BYTES)  # what other nodes accept
        self.server_name = printable(str(info.get("server_name", ""))[:SHOWN_MAX_CHARS])
        if not self._info.done():
            self._info.set_result(info)
        elif info.get("ldm"):
            self._on_lame_duck()

    def on_message(self, message: NatsMessage) -> None:
        """Hand a message over.

        Before the connection is open, there is no subscription, and whoever can change the traffic could send one.
        """
        if not self._is_open:
            raise NatsProtocolError("a message before there is a subscription")
        self._on_message(message)

    def on_ping(self) -> None:
        """Answer."""
        self.write(b"PONG\r\n")

    def on_pong(self) -> None:
        """Complete the oldest ping."""
        if self._pongs:
            _, pong = self._pongs.popleft()
            if not pong.done():
                pong.set_result(None)

    def on_error(self, text: str) -> None:
        """Report an error; most of them end the connection."""
        text = printable(text[:SHOWN_MAX_CHARS])
        if text.lower().startswith(_SURVIVED):
            self._on_refusal(text)
        else:
            self._error = text


def _check(server: NatsUrl, info: dict[str, Any]) -> None:
    """Raise `NatsRefused` if a client with these settings cannot use this server."""
    version = str(info.get("version", ""))
    if _version(version) < OLDEST_VERSION or not info.get("headers"):
        needed = ".".join(map(str, OLDEST_VERSION))
        raise NatsRefused(f"{server} is nats-server {version or 'of an unknown version'}: use {needed} or newer")
    offers_tls = bool(info.get("tls_required") or info.get("tls_available"))
    if server.tls and not offers_tls:
        raise NatsRefused(f"{server} offers no TLS: configure it there, or write nats:// in --nats-url")
    if not server.tls and info.get("tls_required"):
        raise NatsRefused(f"{server} requires TLS: write tls:// in --nats-url")


def _credentials(server: NatsUrl, key: UserKey | None, nonce: str) -> dict[str, Any]:
    """Return the fields of CONNECT that authenticate the client."""
    if key is not None:
        return {"jwt": key.jwt, "sig": key.sign(nonce)}
    if server.token is not None:
        return {"auth_token": server.token}
    if server.username is not None:
        return {"user": server.username, "pass": server.password}
    return {}


def _version(text: str) -> tuple[int, ...]:
    numbers = text.split("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdecimal())


def needs_person(error: ssl.SSLError) -> bool:
    """Return whether a person must change a certificate or a setting.

    Most other failures of a handshake are ends of its connection.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    return any(word in (error.reason or "") for word in _PERMANENT_TLS)


def _tls_problem(server: NatsUrl, error: ssl.SSLError) -> str:
    reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason or str(error)
    return f"{server}: TLS failed ({reason}): is its certificate for this name, and from a CA of --nats-ca-file?"


def _hint(error: str) -> str:
    if "authorization" in error.lower() or "authentication" in error.lower():
        return ": check user and password in HERMES_NATS_URL, or --nats-creds-file"
    return ""
