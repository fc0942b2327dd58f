"""A client of NATS that reconnects automatically.

All subscriptions share one dispatch: each is an entry of a dictionary, and its handler a plain function that is called
on the event loop's thread.
"""

import asyncio
import logging
import random
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from hermes.backoff import Backoff
from hermes.cluster.nats.connection import NatsConnection, NatsRefused, NatsUnreachable
from hermes.cluster.nats.protocol import NatsMessage
from hermes.errors import ConfigError
from hermes.log import LogThrottle
from hermes.metrics import Metrics
from hermes.net.resolver import Resolver
from hermes.settings.cluster.creds_file import UserKey, read_user_key
from hermes.settings.model import ClusterSettings
from hermes.settings.tls import TlsOptions
from hermes.settings.urls.nats import NatsUrl

logger = logging.getLogger(__name__)

FIRST_DELAY_S, MAX_DELAY_S = 0.2, 2.0  # between attempts: a restarted server is found within seconds
PING_INTERVAL_S = 3.0
START_TIMEOUT_S = 4.5  # then Hermes starts without the other nodes
STABLE_S = 5.0  # a connection that lasted so long
SILENT_PINGS = 2  # a server that answers no ping for so many intervals, 6 to 9 s, is given up
RESUBSCRIBE_MAX_S = 10.0  # then another server is tried
RESUBSCRIBE_POLL_S = 0.01  # until the server has read the subscriptions that wait
RESUBSCRIBED_AT_ONCE = 2_000  # subscriptions: about 2 ms of the event loop
REFUSAL_LOG_INTERVAL_S = 60.0
RENEWED_AFTER_S = 30.0  # a connection with refused subjects, at the earliest
RENEWED_MAX_S = 600.0  # each renewal after which a refusal returns doubles the time until the next one
FORGOTTEN_AFTER_S = 120.0  # a refusal, on a new connection on which nothing is published there
PUBLISHES_AGAIN_S = 15.0  # without a refusal; a node publishes every 5 s
REFUSED_MAX = 100  # subjects that are kept; one that is accepted again is enough
LOGGED_MAX = 100  # problems of one outage; each server has its own text
LAME_DUCK_SPREAD_S = 1.0  # in which the clients of a server that stops move to another one

_REFUSED_SUBSCRIPTION = re.compile(r'Permissions Violation for Subscription to "([^"]+)"')
_REFUSED_PUBLISH = re.compile(r'Permissions Violation for Publish to "([^"]+)"')

Handler = Callable[[NatsMessage], None]


class NatsClient:
    """Subscriptions and publishing at one of several servers.

    ``name`` is shown by the server's monitoring. ``user_key`` reads the creds file and ``tls`` makes the TLS context,
    both for each connection: they raise OSError, and ValueError with what to change. ``on_opened`` is called before the
    subscriptions are made on a new connection, ``on_connected`` when they are active, and ``on_lost`` when the
    connection has ended.
    """

    def __init__(
        self,
        servers: Sequence[NatsUrl],
        *,
        name: str,
        metrics: Metrics,
        user_key: Callable[[], UserKey | None] = lambda: None,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        on_opened: Callable[[], None] = lambda: None,
        on_connected: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._servers = list(servers)
        random.shuffle(self._servers)  # so that the nodes spread over the servers
        self._name = name
        self._metrics = metrics
        self._user_key = user_key
        self._tls = tls
        self._on_opened = on_opened
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._subscriptions: dict[int, tuple[str, Handler]] = {}
        self._last_subscriptions: set[int] = set()  # that are renewed after the others
        self._last_sid = 0
        self._connection: NatsConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._resolver = Resolver()
        self._lame_duck = asyncio.Event()
        self.problem = f"not connected to {self._servers[0]} yet"  # empty while connected
        self._logged: set[str] = set()  # problems since the last connection
        self.refusal = ""  # of a subject, while connected
        self._refused_subject = ""  # of a subscription that the server does not have
        self._refused_publish: set[str] = set()  # subjects, some used once only; a new connection does not forget them
        self._publish_refusal = ""  # the text of its refusal
        self._is_refused_here = False  # something, on this connection
        self._is_renewed = False  # a connection was ended to try the refused subject again
        self._renewed_after_s = RENEWED_AFTER_S
        self._proof: asyncio.Future[None] | None = None  # a ping after the refused subject was published again
        self._refused_s = 0.0  # when the last refusal came, in monotonic seconds
        self._refusals = LogThrottle(REFUSAL_LOG_INTERVAL_S)
        self.connects = 0  # the number of this connection
        metrics.cluster_connected.set(0)

    @classmethod
    def of(
        cls,
        settings: ClusterSettings,
        *,
        servers: Sequence[NatsUrl] = (),
        name: str,
        metrics: Metrics,
        on_opened: Callable[[], None] = lambda: None,
        on_connected: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> "NatsClient":
        """Return a client with these settings; ``servers`` are other ones than theirs."""
        creds_file, insecure = settings.nats_creds_file, settings.insecure_secret_files
        return cls(
            servers or settings.nats_servers,
            name=name,
            metrics=metrics,
            user_key=lambda: None if creds_file is None else read_user_key(creds_file, insecure=insecure),
            tls=lambda: TlsOptions(ca_file=settings.nats_ca_file).context(),
            on_opened=on_opened,
            on_connected=on_connected,
            on_lost=on_lost,
        )

    # -- use ----------------------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection with all subscriptions."""
        return self._connection is not None

    @property
    def has_other_servers(self) -> bool:
        """Whether other clients may use another server than this one."""
        return len(self._servers) > 1

    def subscribe(self, subject: str, handler: Handler, *, last: bool = False) -> int:
        """Subscribe, also after each reconnection; return the subscription's number.

        One that is ``last`` is renewed after all others: whoever finds it finds them too.
        """
        self._last_sid += 1
        sid = self._last_sid
        self._subscriptions[sid] = (subject, handler)
        if last:
            self._last_subscriptions.add(sid)
        self._write_control(_sub(sid, subject))
        return sid

    def unsubscribe(self, sid: int) -> None:
        """End a subscription."""
        if self._subscriptions.pop(sid, None) is not None:
            self._write_control(b"UNSUB %d\r\n" % sid)

    def publish(self, subject: str, data: bytes, *, reply: str = "") -> bool:
        """Send a message at the end of this iteration of the loop.

        Returns False if it cannot be sent: no connection, too much waits, or too large for the server.
        """
        connection = self._connection
        if connection is None:
            return False
        size = len(data)
        if size > connection.max_payload:
            self._metrics.cluster_dropped.labels("too_large").inc()
            return False
        separator = " " if reply else ""
        line = f"PUB {subject} {reply}{separator}{size}\r\n".encode()
        if not connection.write(b"%b%b\r\n" % (line, data)):
            self._metrics.cluster_dropped.labels("pending").inc()
            return False
        if subject in self._refused_publish and not self._is_refused_here and self._proof is None:
            self._proof = connection.ping()
            self._proof.add_done_callback(self._note_accepted)
        return True

    async def flush(self) -> bool:
        """Wait until the server has processed what was sent.

        Returns False if the connection ended.
        """
        pong = self.ping()
        if pong is None:
            return False
        await asyncio.wait((pong,))
        return not pong.cancelled()

    def ping(self) -> "asyncio.Future[None] | None":
        """Send a ping; None without a connection.

        The result is there when the server has processed what was sent before.
        """
        return None if self._connection is None else self._connection.ping()

    def _write_control(self, line: bytes) -> None:
        """Send a line of which the loss would make the server's subscriptions wrong."""
        connection = self._connection
        if connection is not None and not connection.write(line):
            connection.abort("too much waits for the server")

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Try each server once, then go on in the background.

        Raises `ConfigError` if no server accepts this client and at least one refuses it.
        """
        refusals: list[str] = []
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._try_each(refusals)
        except TimeoutError:
            await self._drop("it does not answer")
        if self._connection is None and refusals:
            raise ConfigError([f"--nats-url: {text}" for text in refusals])
        self._task = asyncio.create_task(self._run(), name="hermes-nats")

    async def _try_each(self, refusals: list[str]) -> None:
        for _ in self._servers:
            try:
                return await self._attach(self._servers[0])
            except NatsRefused as error:
                refusals.append(str(error))
            except NatsUnreachable as error:
                self._note_problem(str(error))
            self._servers.append(self._servers.pop(0))
        return None

    async def stop(self) -> None:
        """Send what waits, and disconnect; may be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
            self._metrics.cluster_connected.set(0)

    async def _run(self) -> None:
        """Stay connected.

        A failure has a line in the log, unless an attempt since the last connection has failed in the same way.
        """
        backoff = Backoff(first_s=FIRST_DELAY_S, max_s=MAX_DELAY_S)
        loop = asyncio.get_running_loop()
        while True:
            try:
                if self._connection is not None:
                    since_s = loop.time()
                    await self._watch(self._connection)
                    if loop.time() - since_s > STABLE_S:
                        backoff.reset()
                self._servers.append(self._servers.pop(0))
                await asyncio.sleep(backoff.next_delay_s())
                await self._attach(self._servers[0])
            except (NatsRefused, NatsUnreachable) as error:
                self._note_problem(str(error))
            except Exception:  # the top of a task: the next attempt may work
                logger.exception("the connection to NATS failed")
                await self._drop("Hermes failed; its log has the traceback")

    def _note_problem(self, text: str) -> None:
        if text not in self._logged and len(self._logged) < LOGGED_MAX:
            self._logged.add(text)
            logger.warning("NATS: %s", text)
        self.problem = text

    async def _attach(self, server: NatsUrl) -> None:
        """Connect, and subscribe to everything. Raises `NatsRefused` or `NatsUnreachable`."""
        try:
            user_key = self._user_key()
            self._lame_duck.clear()
            connection = await NatsConnection.open(
                server,
                name=self._name,
                resolver=self._resolver,
                user_key=user_key,
                tls=self._tls,
                on_message=self._dispatch,
                on_refusal=self._note_refusal,
                on_lame_duck=self._lame_duck.set,
            )
        except (OSError, ValueError) as error:  # of the creds file or the CA certificates
            raise NatsRefused(str(error)) from None
        self.refusal, self._refused_subject, self._is_refused_here = self._publish_refusal, "", False
        self._proof = None
        self.connects += 1
        self._connection = connection
        self._on_opened()
        why = "the connection ended"
        try:
            async with asyncio.timeout(RESUBSCRIBE_MAX_S):
                is_confirmed = await self._resubscribe(connection)
        except TimeoutError:
            why, is_confirmed = f"no answer for {RESUBSCRIBE_MAX_S:g} s", False
        if not is_confirmed:
            await self._drop(why)
            raise NatsUnreachable(f"{server}: {why}")
        self.problem = ""
        self._logged.clear()
        self._metrics.cluster_connected.set(1)
        self._metrics.cluster_connects.inc()
        logger.info("connected to NATS: %s (%s)", server, connection.server_name)
        self._on_connected()

    async def _resubscribe(self, connection: NatsConnection) -> bool:
        """Subscribe to everything, and wait for the server.

        Returns False if the connection ended.
        """
        sids = sorted(self._subscriptions, key=self._last_subscriptions.__contains__)
        for start in range(0, len(sids), RESUBSCRIBED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            while not connection.has_room:
                await asyncio.sleep(RESUBSCRIBE_POLL_S)
            known = [(sid, self._subscriptions.get(sid)) for sid in sids[start : start + RESUBSCRIBED_AT_ONCE]]
            connection.write(b"".join([_sub(sid, entry[0]) for sid, entry in known if entry is not None]))
        pong = connection.ping()
        await asyncio.wait((pong,))
        return not pong.cancelled()

    async def _watch(self, connection: NatsConnection) -> None:
        """Ping the server until the connection ends, or the server is about to stop."""
        lame_duck = asyncio.ensure_future(self._lame_duck.wait())
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        try:
            while not connection.closed.done():
                if lame_duck.done() and len(self._servers) > 1:
                    await self._leave_lame_duck(connection)
                    break
                if connection.unanswered_s >= SILENT_PINGS * PING_INTERVAL_S:
                    connection.abort(f"no answer for {SILENT_PINGS * PING_INTERVAL_S:g} s")
                    break
                lasted_s = loop.time() - since_s
                is_due = bool(self.refusal) and lasted_s >= self._renewed_after_s
                if is_due and not self._is_refused_here:
                    if lasted_s >= FORGOTTEN_AFTER_S:
                        self._forget_refusal()
                elif is_due and await self._is_allowed_again(connection):
                    self._is_renewed = bool(self._refused_publish)
                    connection.abort("the account may be able to use the refused subjects again")
                    break
                connection.ping()
                waited: list[asyncio.Future[Any]] = [connection.closed]
                if not lame_duck.done():
                    waited.append(lame_duck)
                await asyncio.wait(waited, timeout=PING_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lame_duck.cancel()
        await self._drop(connection.closed.result() if connection.closed.done() else "the server is stopping")

    async def _is_allowed_again(self, connection: NatsConnection) -> bool:
        """Return whether the server would not refuse again what it has refused.

        Its subscriptions are then to be made again, and others have missed what was published: for a new connection.
        """
        refused_s = self._refused_s
        if not self._refused_subject:
            return asyncio.get_running_loop().time() - refused_s > PUBLISHES_AGAIN_S
        self._last_sid += 1
        connection.write(b"%bUNSUB %d\r\n" % (_sub(self._last_sid, self._refused_subject), self._last_sid))
        pong = connection.ping()
        await asyncio.wait((pong,), timeout=PING_INTERVAL_S)
        return pong.done() and not pong.cancelled() and self._refused_s == refused_s

    async def _leave_lame_duck(self, connection: NatsConnection) -> None:
        """Move to another server; without one, the connection stays until its end."""
        logger.info("the NATS server %s is stopping", connection.server_name)
        await asyncio.wait((connection.closed,), timeout=random.uniform(0, LAME_DUCK_SPREAD_S))

    async def _drop(self, why: str) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await connection.close()
        self._metrics.cluster_connected.set(0)
        self._note_problem(f"the connection to {self._servers[0]} ended: {why or 'closed'}")
        self._on_lost()

    # -- what the server sends ----------------------------------------------------------------------------------------

    def _dispatch(self, message: NatsMessage) -> None:
        found = self._subscriptions.get(message.sid)
        if found is None:
            return  # it crossed the end of the subscription
        try:
            found[1](message)
        except Exception:  # one bad message must not end the connection
            logger.exception("a message on %s failed", message.subject)

    def _note_accepted(self, pong: "asyncio.Future[None]") -> None:
        """Forget the refusal: the server took what was published on its subject."""
        if pong is not self._proof:
            return  # of a former connection
        self._proof = None
        if not pong.cancelled() and not self._is_refused_here:
            self._forget_refusal()
            self._renewed_after_s, self._is_renewed = RENEWED_AFTER_S, False

    def _forget_refusal(self) -> None:
        self.refusal = self._publish_refusal = ""
        self._refused_publish.clear()

    def _note_refusal(self, text: str) -> None:
        """Note that the account may not use a subject; the connection stays open."""
        if self._refusals.allow("refusal"):  # there may be one for each user
            logger.error("NATS refuses a subject: %s; docs/guide/cluster.md has the permissions of the account", text)
        if self._is_renewed and not self._is_refused_here:
            self._renewed_after_s = min(2 * self._renewed_after_s, RENEWED_MAX_S)
            self._is_renewed = False
        self._is_refused_here = True
        self.refusal = text
        if (refused := _REFUSED_PUBLISH.match(text)) is not None:
            self._publish_refusal = text
            if len(self._refused_publish) < REFUSED_MAX:
                self._refused_publish.add(refused[1])
        self._refused_s = asyncio.get_running_loop().time()
        found = _REFUSED_SUBSCRIPTION.match(text)
        if found is not None:
            self._refused_subject = found[1]
        elif "subscriptions exceeded" in text.lower():
            self._refused_subject = next(iter(self._subscriptions.values()))[0]


def _sub(sid: int, subject: str) -> bytes:
    return f"SUB {subject} {sid}\r\n".encode()
