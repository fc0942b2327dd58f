"""Floor 4: start, serve, drain, stop, in reading order."""

import asyncio
import errno
import logging
import resource
import signal
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets

from hermes.app import DevRoom, Shared, make_app
from hermes.auth.api_keys import ApiKeys
from hermes.auth.tokens import TokenVerifier
from hermes.broker.device_listener import DeviceListener
from hermes.broker.supervisor import MosquittoProcess
from hermes.delivery.housekeeping import Sweep
from hermes.delivery.hub import Hub
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.link_state import MqttLinkState
from hermes.delivery.messages import now_ms
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.reconnect_delay import retry_ms
from hermes.dev.demo_users import console_facts
from hermes.dev.fault_injection import FaultInjector
from hermes.dev.simulator import SimulatedDevices
from hermes.dev.token_api import mint_token
from hermes.errors import STOPPING, BrokerUnavailable, HermesError
from hermes.metrics import Metrics
from hermes.mqtt.client import MqttClient
from hermes.mqtt.feed import MqttFeed
from hermes.settings.model import Settings
from hermes.settings.mqtt_url import MqttUrl, parse_mqtt_url
from hermes.web.listener import Listener
from hermes.web.notify import NotifyContext
from hermes.web.sockets.handler import SocketContext, SocketLimit
from hermes.web.status import NodeContext

logger = logging.getLogger(__name__)

LISTEN_BACKLOG = 4_096  # thousands come back at once after a restart; the kernel caps it at somaxconn
FILES_RESERVED = 128  # of the file limit: listening, logs, the broker, HTTP requests
BODY_MAX_BYTES = 65_536  # of requests that have no limit of their own
IDLE_TIMEOUT_S = 75.0
BODY_TIMEOUT_S = 60.0


class Server:
    """One running Hermes. ``start``, then ``stop``; or ``run`` for both with the signals between."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.hub = Hub(metrics=self.metrics)
        self.snapshot = LastValues(limits=snapshot_limits(settings), metrics=self.metrics)
        self.link = MqttLinkState(off=settings.broker_url == "off")
        self.authenticator = TokenVerifier(
            secret=settings.token_signer.secret,
            claim_tenant=settings.claim_tenant,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
        )
        self.url = ""  # the address to open in a browser, once started
        self.broker: MosquittoProcess | None = None
        self.simulated: SimulatedDevices | None = None
        self._listening: list[socket.socket] = []
        self._acceptor: Listener | None = None
        self._http: HTTPServer | None = None
        self._feed = MqttFeed(
            settings=settings, hub=self.hub, snapshot=self.snapshot, link=self.link, metrics=self.metrics
        )
        self._simulator_mqtt: MqttClient | None = None
        self._started_ms = now_ms()
        self._drills = FaultInjector(hub=self.hub, kill_broker=self._kill_broker)
        self._occupancy = SocketLimit(limit=settings.max_sockets or sockets_by_file_limit())
        self._sweep = Sweep(
            hub=self.hub,
            snapshot=self.snapshot,
            metrics=self.metrics,
            ping_interval_s=settings.ping_interval_s,
            ping_timeout_s=settings.ping_timeout_s,
        )

    # -- start ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, start or find the broker, and serve. Raises `HermesError` where that cannot be."""
        self._listening = listen(self.settings.host, self.settings.port)
        self.url = url_of(self._listening[0])
        try:
            mqtt_url = await self._find_broker()
            self._sweep.start()
            self._start_http()
            if mqtt_url is not None:
                self._start_mqtt(mqtt_url)
        except BaseException:
            await self.stop()
            raise
        logger.info("listening on %s", self.url)

    async def _find_broker(self) -> MqttUrl | None:
        """Where the broker is, started first if it is ours; None without MQTT."""
        url = self.settings.broker_url
        if url == "off":
            return None
        if url != "embedded":
            return parse_mqtt_url(url)
        broker = MosquittoProcess(metrics=self.metrics, door=self._device_door())
        try:
            await broker.start()
        except BrokerUnavailable as error:
            if not self.settings.dev or self.settings.broker_listen is not None:
                raise
            logger.warning("going on without devices: %s", error)
            self.link.down(str(error))
            return None
        self.broker = broker
        return broker.url

    def _device_door(self) -> DeviceListener | None:
        listener = self.settings.device_listener
        if listener is None:
            return None
        return DeviceListener(listener, topics=self.settings.topics, metrics=self.metrics)

    def _start_http(self) -> None:
        http = self._http = HTTPServer(
            make_app(self._shared()),
            max_body_size=BODY_MAX_BYTES,
            idle_connection_timeout=IDLE_TIMEOUT_S,
            body_timeout=BODY_TIMEOUT_S,
        )

        def take(connection: socket.socket, address: Any) -> None:
            http.handle_stream(IOStream(connection), address)

        self._acceptor = Listener(listening=self._listening, take=take, metrics=self.metrics)
        self._acceptor.start()

    def _shared(self) -> Shared:
        settings, keys = self.settings, ApiKeys(self.settings.api_keys)
        return Shared(
            sockets=SocketContext(
                authenticator=self.authenticator,
                hub=self.hub,
                metrics=self.metrics,
                occupancy=self._occupancy,
                snapshot=self.snapshot,
                link=self.link,
                limits=OutboxLimits(settings.outbox_max_bytes, settings.outbox_max_messages),
                origins=frozenset(settings.origins),
                compress=settings.compress,
            ),
            notify=NotifyContext(hub=self.hub, keys=keys, metrics=self.metrics),
            node=NodeContext(
                keys=keys,
                metrics=self.metrics,
                link=self.link,
                sockets_limit=self._occupancy.limit,
                broker=settings.broker_url if settings.broker_url in ("embedded", "off") else "external",
                dev=settings.dev,
                started_ms=self._started_ms,
            ),
            link=self.link,
            metrics=self.metrics,
            dev=self._dev_room() if settings.dev else None,
        )

    def _dev_room(self) -> DevRoom:
        return DevRoom(
            facts=self._dev_facts,
            mint_token=partial(mint_token, self.settings.token_signer),
            cause_fault=self._drills.inject,
        )

    def _kill_broker(self) -> bool:
        return self.broker is not None and self.broker.kill()

    def _dev_facts(self) -> Mapping[str, Any]:
        return console_facts(self.settings.token_signer, api_keys=self.settings.api_keys, devices=self.device_ids)

    @property
    def device_ids(self) -> list[str]:
        """The simulated devices, where there are any."""
        return [] if self.simulated is None else [id for ids in self.simulated.device_ids.values() for id in ids]

    def _start_mqtt(self, url: MqttUrl) -> None:
        self._feed.start(url)
        if self.settings.dev and self.broker is not None:
            self._simulator_mqtt = MqttClient(
                url=self.broker.simulator_url,
                bridge=None,
                topics=None,
                metrics=self.metrics,
                thread_name="hermes-simulator",
            )
            self._simulator_mqtt.start()
            self.simulated = SimulatedDevices(publish=self._simulator_mqtt.publish)
            self.simulated.start()

    # -- serve ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and stop."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        try:
            await stopping.wait()
            logger.info("stopping")
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            await self.stop()

    # -- drain and stop -------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Accept nothing new, say goodbye to every socket, and end what was started, in reverse order."""
        if self.simulated is not None:
            await self.simulated.stop()
        self._drills.stop()
        if self._acceptor is not None:
            self._acceptor.stop()
        if self._http is not None:
            await self._drain()
            await self._http.close_all_connections()
        for listening in self._listening:
            listening.close()
        await self._sweep.stop()
        if self._simulator_mqtt is not None:
            await asyncio.to_thread(self._simulator_mqtt.stop)
        await self._feed.stop()
        if self.broker is not None:
            await self.broker.stop()

    async def _drain(self) -> None:
        """Close every session with 1001 and its own time to return; wait for them, but not for ever."""
        self._occupancy.stopping = True  # a connection accepted earlier may still ask for a socket
        self.hub.flush()
        sessions = tuple(self.hub.sessions)
        for session in sessions:
            session.close(STOPPING, retry_ms(len(sessions)))
        deadline_s = asyncio.get_running_loop().time() + self.settings.drain_timeout_s
        while self.hub.sessions and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(0.02)
        if self.hub.sessions:
            logger.warning("%d sockets did not close in time", len(self.hub.sessions))


def snapshot_limits(settings: Settings) -> LastValuesLimits:
    """How much is remembered."""
    return LastValuesLimits(settings.snapshot_max_values, settings.snapshot_max_bytes, settings.snapshot_max_age_s)


def listen(host: str, port: int) -> list[socket.socket]:
    """The listening sockets; raises `HermesError` that says which address is taken and what to do."""
    try:
        return bind_sockets(port, address=host, backlog=LISTEN_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise HermesError(
                f"port {port} on {host} is taken by another program; stop that one, "
                f"or choose another port: --port {port + 1 if port < 65_535 else 8080} (0 picks a free one)"
            ) from None
        if error.errno == errno.EACCES:
            raise HermesError(f"port {port} may only be opened by root; choose one from 1024 up: --port 8080") from None
        raise HermesError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def url_of(listening: socket.socket) -> str:
    """The address that a browser understands."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def sockets_by_file_limit() -> int:
    """Raise the process's soft limit of open files to the hard one, and answer how many sockets that allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, hard - FILES_RESERVED)
