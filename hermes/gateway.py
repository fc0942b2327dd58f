"""Compose all parts of a gateway, and start and stop them in order.

`Gateway` is also the entry for programs that embed Hermes::

    from hermes import Gateway, load_settings

    async with Gateway(load_settings({"mqtt_url": "off", "jwt_secret": secret, "port": 0})) as gateway:
        result = await gateway.notify(user_id="123", title="New alert", message="Sensor X is hot", type="warning")
        print(gateway.url, result.sent)
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from tornado.web import Application

from hermes.app import make_app
from hermes.appliance.version import clock_problem
from hermes.auth.api_keys import ApiKeys
from hermes.auth.key_ring import KeyRing
from hermes.auth.keys import Source
from hermes.auth.oidc import KeyLocation
from hermes.auth.principal import TokenVerifier
from hermes.auth.remote_keys import RemoteKeys
from hermes.auth.revocation.revocation_file import RevocationFile
from hermes.auth.revocation.revocation_list import RevocationList
from hermes.auth.stored_keys import KeyFile
from hermes.auth.tokens import JwtVerifier
from hermes.broker.device_listener import DeviceListener
from hermes.broker.supervisor import MosquittoProcess
from hermes.cluster.bus import Bus, LocalBus
from hermes.cluster.envelope import Head, text_of
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.nats_bus import NatsBus
from hermes.cluster.participation import State
from hermes.cluster.revocations import SharedRevocations
from hermes.delivery.housekeeping import Sweep
from hermes.delivery.hub import Hub
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.link_state import MqttLinkState
from hermes.delivery.messages import Severity, now_ms, parse_notification, parse_stored_notification
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.delivery.request_model import invalid_fields
from hermes.dev.demo_users import console_facts
from hermes.dev.fault_injection import FaultInjector
from hermes.dev.simulator import SimulatedDevices
from hermes.dev.token_api import mint_token
from hermes.errors import BrokerUnavailable, ConfigError, HermesError
from hermes.inbox.inbox import InboxStore, InboxUnavailable, StoreLimits
from hermes.inbox.parts import InboxParts
from hermes.inbox.sqlite.inbox import SqliteInbox
from hermes.metrics import Metrics
from hermes.mqtt.client import MqttClient
from hermes.mqtt.feed import MqttFeed, feed_problems
from hermes.observe.presence import Presence
from hermes.quotas.connection_rate import ConnectionRate
from hermes.quotas.failed_auth import FailedAuth
from hermes.reload.changes import (
    APPLIED,
    CERTIFICATE,
    CLAIM_RULES,
    FEED,
    FILE_SOURCES,
    ISSUERS,
    KEYS,
    Changes,
    Contents,
    contents_of,
    is_same_broker,
    paths,
)
from hermes.reload.prepared import Prepared
from hermes.reload.sockets import close_changed_sockets
from hermes.server import Server, http_connections_by_file_limit, sockets_by_file_limit
from hermes.settings import private_file
from hermes.settings.fields import networks, postgres_name
from hermes.settings.folders import INBOX_NAME
from hermes.settings.model import NO_KEYS, Settings
from hermes.settings.urls.mqtt import MqttUrl, parse_mqtt_url
from hermes.web.api.idempotency import RecentAnswers
from hermes.web.api.presence import presence_of
from hermes.web.gateway_parts import DevAction
from hermes.web.http.server import RequestServer, request_server
from hermes.web.origins.rule import OriginRule
from hermes.web.origins.trusted_proxies import TrustedProxies
from hermes.web.sockets.admission import Admission, SocketLimits
from hermes.web.sockets.disconnect import Disconnected, Disconnector, one_target
from hermes.web.sockets.waiting import WaitingRequests
from hermes.web.status import figures
from hermes.web.tls.certificate import CurrentCertificate, load_certificate

logger = logging.getLogger(__name__)

CONNECTS_PER_ADDRESS_S = 1_000  # without a setting
REVOCATIONS_NAME = "revocations"
INBOX_STUCK_S = 60.0  # for one transaction: a restart may help


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """Id of one notification, and the number of open sockets that accepted it.

    ``stored`` is True if the inbox has it. ``uncertain`` are the nodes that did not answer, if no socket is known to
    have accepted it; None if there is none.
    """

    id: str
    sockets: int
    stored: bool = False
    uncertain: tuple[str, ...] | None = None

    @property
    def sent(self) -> bool:
        """True if at least one open socket accepted it."""
        return self.sockets > 0


class Gateway:
    """A gateway built from validated settings.

    Use it as an asynchronous context manager, or call `start` and `stop`. ``clock`` gives the Unix seconds by which
    tokens expire. ``url`` is the address to open in a browser, once it listens. The attributes are the parts that
    handlers and the feed share; a program that embeds Hermes needs `notify`, `application` and ``url`` only.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._contents = contents_of(settings)  # of what is in use, to find what a reload changes
        self._reloading = asyncio.Lock()  # one reload after the other
        self.started_ms = now_ms()
        self.metrics = Metrics()
        self.hub = Hub(metrics=self.metrics)
        self.presence = Presence()
        self.return_rate = ReturnRate()
        self.last_values = LastValues(limits=last_values_limits(settings), metrics=self.metrics)
        self.link = MqttLinkState(off=settings.broker_url == "off")
        if not settings.has_keys:
            raise ConfigError([NO_KEYS])
        self._clock = clock
        self.key_ring = KeyRing(metrics=self.metrics)
        for source, keys in settings.verification_keys.items():
            self.key_ring.replace(source, keys)
        self.remote_keys: Sequence[RemoteKeys] = tuple(
            self._remote_keys(location) for location in settings.key_locations
        )
        self.revocations = RevocationList(
            metrics=self.metrics, leeway_s=settings.jwt_leeway_s, max_age_s=settings.jwt_max_age_s, clock=clock
        )
        self.token_verifier: TokenVerifier = JwtVerifier(
            self.key_ring, settings.token_rules, revocations=self.revocations, clock=clock
        )
        self.api_keys = ApiKeys(settings.api_keys, metrics=self.metrics)
        self.cluster = self._new_cluster()
        self.bus: Bus = LocalBus(self.hub) if self.cluster is None else self.cluster
        place = settings.inbox_url or settings.inbox_path
        self.inbox = None if place is None else self._new_inbox(place)
        if self.cluster is not None and self.inbox is not None:
            self.cluster.read_with(
                partial(self._read_stored, self.inbox),
                note=self.inbox.remote.note,
                epoch=lambda: "" if self.inbox is None else self.inbox.store.epoch,
            )
            self.cluster.operations.by_name["sockets"] = partial(self._answer_sockets, self.inbox)
        self._temporary_folder: TemporaryDirectory[str] | None = None  # of an inbox that ends with this gateway
        self.recent_answers = RecentAnswers()
        self.outbox_limits = OutboxLimits(settings.outbox_max_bytes, settings.outbox_max_messages)
        self.admission = Admission(socket_limits(settings))
        self.waiting = WaitingRequests(self.admission)
        self.failed_auth = FailedAuth(settings.max_failed_auth_per_address, metrics=self.metrics)
        self.trusted_proxies = TrustedProxies(networks(settings.trusted_proxies))
        self.origin_rule = OriginRule(settings.origins, proxies=self.trusted_proxies, metrics=self.metrics)
        self.disconnector = Disconnector(
            hub=self.hub,
            revocations=self.revocations,
            file=revocation_file(settings),
            return_rate=self.return_rate,
            metrics=self.metrics,
            waiting=self.waiting,
        )
        if self.cluster is not None:
            self._join_cluster(self.cluster)
        self.connection_rate = ConnectionRate(
            per_s=self._connects_per_address_s,
            is_exempt=self.trusted_proxies.contain,
            metrics=self.metrics,
            held_max=lambda: self.admission.free_places // 2,
            waiting_max=self.admission.waiting_max,
        )
        self.broker: MosquittoProcess | None = None
        self.simulator: SimulatedDevices | None = None
        self._simulator_client: MqttClient | None = None
        certificate = settings.server_certificate
        self._certificate = (
            None
            if certificate is None
            else CurrentCertificate(load_certificate(certificate), metrics=self.metrics, clock=time.time)
        )
        self._faults = FaultInjector(hub=self.hub, kill_broker=self._kill_broker)
        self._server = Server(
            hub=self.hub,
            admission=self.admission,
            waiting=self.waiting,
            connection_rate=self.connection_rate,
            metrics=self.metrics,
            drain_timeout_s=settings.drain_timeout_s,
            make_http=self._make_http,
            return_rate=self.return_rate,
            other_nodes=lambda: 0 if self.cluster is None else len(self.cluster.nodes),
            certificate=self._certificate,
        )
        self._mqtt_url: MqttUrl | None = None
        self._feed = self._new_feed()
        self._sweep = Sweep(
            hub=self.hub,
            last_values=self.last_values,
            metrics=self.metrics,
            ping_interval_s=settings.ping_interval_s,
            ping_timeout_s=settings.ping_timeout_s,
            clock=clock,
        )

    # -- for programs that embed Hermes -------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Address for a browser, ``http://127.0.0.1:8080``; empty until it listens.

        With TLS it begins with ``https``.
        """
        return self._server.url

    def application(self) -> Application:
        """Return a Tornado application with every URL, to mount into another server.

        The program that mounts it calls ``start(listen=False)`` first and `stop` at its end.
        """
        return make_app(self)

    async def notify(
        self,
        *,
        user_id: str | int | None = None,
        tenant_id: str | int | None = None,
        title: str,
        message: str,
        type: Severity = "info",
        id: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> DeliveryReceipt:
        """Send a notification to a user or a broadcast to a tenant, as ``POST /notify``.

        Give exactly one of ``user_id`` and ``tenant_id``. Returns when the frame was written to the open sockets or
        queued for them; a slow socket is not waited for. Raises `RequestError` that names each faulty field.
        """
        given = {"user_id": user_id, "tenant_id": tenant_id, "title": title, "message": message, "type": type}
        optional = {"id": id, "data": data}
        value = given | {name: item for name, item in optional.items() if item is not None}
        text = None if data is None else _json(data)
        if self.inbox is not None:
            stored, options = parse_stored_notification(value, data=text)
            sent = await self.inbox.sender.send(stored, options)
            return DeliveryReceipt(sent.id, sent.sockets, sent.seq is not None, sent.uncertain)
        notification = parse_notification(value, data=text)
        receipt = self.bus.publish(notification)
        await self.bus.flushed((receipt,))
        return DeliveryReceipt(notification.id, receipt.sockets, uncertain=receipt.uncertain)

    async def disconnect(
        self,
        *,
        user_id: str | int | None = None,
        token_id: str | None = None,
        tenant_id: str | int | None = None,
        revoke: bool = True,
        reason: str = "",
    ) -> Disconnected:
        """End the sockets of a user, a token or a tenant, as ``POST /disconnect``.

        A token is given by its ``jti``. Give exactly one of the three. With ``revoke``, their tokens are refused from
        now on; returns when that is stored. ``reason`` is for the log. Raises `RequestError`, `RevocationsFull` or
        `NotStored`.
        """
        target = one_target({"user_id": user_id, "token_id": token_id, "tenant_id": tenant_id})
        return await self.disconnector.disconnect(target, revoke=revoke, by="the program", reason=reason)

    async def undo_disconnect(
        self,
        *,
        user_id: str | int | None = None,
        token_id: str | None = None,
        tenant_id: str | int | None = None,
    ) -> int:
        """Accept the revoked tokens again; return how many revocations were removed.

        As ``DELETE /disconnect``.
        """
        target = one_target({"user_id": user_id, "token_id": token_id, "tenant_id": tenant_id})
        return await self.disconnector.restore(target, by="the program")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # -- start and stop -----------------------------------------------------------------------------------------

    def _new_inbox(self, place: Path | str) -> InboxParts:
        """Return the inbox in a file, or in the database of a URL."""
        limits = StoreLimits(max_bytes=self.settings.inbox_max_bytes)
        store: InboxStore
        if isinstance(place, str):
            from hermes.inbox.postgres.inbox import PostgresInbox  # it imports an extra
            from hermes.inbox.postgres.session import parameters_of

            parameters = partial(parameters_of, place, self.settings.inbox_password)
            store = PostgresInbox(postgres_name(place), parameters, limits=limits, now_ms=now_ms, metrics=self.metrics)
        else:
            store = SqliteInbox(place, limits=limits, now_ms=now_ms, metrics=self.metrics)
        return InboxParts(
            store=store,
            hub=self.hub,
            bus=self.bus,
            return_rate=self.return_rate,
            metrics=self.metrics,
            ttl_s=self.settings.inbox_ttl_s,
        )

    # -- several nodes ------------------------------------------------------------------------------------------------

    def _new_cluster(self) -> NatsBus | None:
        if not self.settings.nats_servers:
            return None
        return NatsBus(
            hub=self.hub,
            name=self.settings.own_node_name,
            make_client=self._make_nats_client,
            keys=self._keys_hash,
            metrics=self.metrics,
            on_state=self._hold_sockets,
        )

    def _make_nats_client(
        self, name: str, opened: Callable[[], None], connected: Callable[[], None], lost: Callable[[], None]
    ) -> NatsClient:
        return NatsClient.of(
            self.settings,
            name=f"hermes {name}",
            metrics=self.metrics,
            on_opened=opened,
            on_connected=connected,
            on_lost=lost,
        )

    def _join_cluster(self, cluster: NatsBus) -> None:
        """Let this node answer the questions of the others, and ask them."""
        self.disconnector.others = SharedRevocations(
            bus=cluster, revocations=self.revocations, apply=self.disconnector.apply, end=self.disconnector.end
        )
        cluster.operations.by_name |= {
            "presence": self._answer_presence,
            "status": partial(self._answer_status, cluster),
        }
        self._hold_sockets()

    @staticmethod
    async def _read_stored(inbox: InboxParts, seq: int, epoch: str) -> int | None:
        """Publish what was stored up to this entry of another node."""
        try:
            return await inbox.remote.deliver(seq, epoch)
        except InboxUnavailable as failure:
            logger.warning("what another node has stored cannot be read now: %s", failure.reason)
            return None

    @staticmethod
    async def _answer_sockets(inbox: InboxParts, question: Head) -> dict[str, Any]:
        """Return how many sockets took a request of this node that has no row."""
        kind, owner, bound, id = (text_of(question, key) for key in ("kind", "to", "bound", "id"))
        return {"sockets": await inbox.store.sockets_without_row(kind or "", owner or "", bound, id or "")}

    async def _answer_presence(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return presence_of(self, question)

    async def _answer_status(self, cluster: NatsBus, question: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": cluster.state, "figures": figures(self)}

    def _hold_sockets(self) -> None:
        """Open no socket before the revocations of the other nodes are known."""
        self.admission.joining = self.cluster is not None and self.cluster.state is State.JOINING

    def _keys_hash(self) -> str:
        """Return a value that is the same on nodes that verify tokens with the same keys."""
        own = sorted(key.id for key in self.key_ring.keys if key.source in FILE_SOURCES)
        fetched = sorted(location.url for location in self.settings.key_locations)
        return hashlib.sha256(json.dumps([own, fetched]).encode()).hexdigest()[:16]

    async def _start_inbox(self) -> None:
        """Open the inbox.

        With ``--dev`` Hermes starts without its usual inbox, too: it may be that of another ``--dev``, or in a folder
        that cannot be written. Raises `HermesError` for an inbox that a setting names.
        """
        if self.inbox is None:
            return
        try:
            await self.inbox.store.start()
        except HermesError as error:
            if self.settings.inbox is not None:
                raise
            await self._start_temporary_inbox(str(error))

    async def _start_temporary_inbox(self, why: str) -> None:
        try:
            self._temporary_folder = TemporaryDirectory(prefix="hermes-inbox-", ignore_cleanup_errors=True)
            self.inbox = self._new_inbox(Path(self._temporary_folder.name, INBOX_NAME))
            await self.inbox.store.start()
        except (HermesError, OSError) as error:
            self.inbox = None
            logger.warning("continuing without an inbox: %s; and a temporary one: %s", why, error)
        else:
            logger.warning("what this Hermes stores is removed when it ends, its inbox is temporary: %s", why)

    async def start(self, *, listen: bool = True) -> None:
        """Listen, start the embedded broker if it is configured, and serve.

        A gateway starts once. Raises `HermesError` with what to change.
        """
        if self.admission.stopping:
            raise HermesError("a gateway starts once: create a new Gateway")
        self.disconnector.load()
        if (problem := clock_problem(self._clock())) is not None:
            logger.error("%s", problem)
        if listen:
            self._server.listen(self.settings.listen_addresses)  # first: an address in use ends it at once
        try:
            await self._start_inbox()
            if self.cluster is not None:
                await self.cluster.start()
            self._mqtt_url = await self._find_broker()
            self._sweep.start()
            for keys in self.remote_keys:
                keys.start()
            if listen:
                self._server.start(self.application())
            if self._mqtt_url is not None:
                self._feed.start(self._mqtt_url)
                self._start_simulator()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the sockets with 1001, then stop all parts. May be repeated."""
        if self.simulator is not None:
            await self.simulator.stop()
        self._faults.stop()
        if self.cluster is not None:
            self.cluster.leave()
        await self._server.stop()
        await self.disconnector.stop()
        await self._sweep.stop()
        await asyncio.gather(*[keys.stop() for keys in self.remote_keys])
        if self._simulator_client is not None:
            await asyncio.to_thread(self._simulator_client.stop)
        await self._feed.stop()
        if self.cluster is not None:
            await self.cluster.stop()
        if self.inbox is not None:
            await self.inbox.stop()
        if self._temporary_folder is not None:
            self._temporary_folder.cleanup()
        if self.broker is not None:
            await self.broker.stop()

    def answers(self) -> bool:
        """Return whether the MQTT thread and that of the inbox answer.

        To be called every few seconds.
        """
        stuck = self.inbox is not None and self.inbox.store.stuck_for_s(time.monotonic()) > INBOX_STUCK_S
        return self._feed.answers() and not stuck

    @property
    def status_line(self) -> str:
        """Address and state of the MQTT link in one line."""
        missing = (*self.link.missing, *self.missing)
        return f"{self.url}; MQTT {self.link.state}{''.join(f'; {reason}' for reason in missing)}"

    async def reload(self, settings: Settings) -> None:
        """Apply changed settings, all of them or none.

        One line in the log says what has changed. Open sockets stay open, except those with a token that is no longer
        valid. With other topics or another user of the broker the MQTT link is opened anew, which takes about a second.
        Raises `ConfigError` if a setting or a file cannot be used; then nothing is changed.
        """
        async with self._reloading:
            await self._reload(settings)

    async def _reload(self, settings: Settings) -> None:
        before, after = self._contents, contents_of(settings)
        changes = Changes.between(before, after, applicable=self._applicable(settings))
        prepared = self._prepare(settings, changes)
        await self.disconnector.reload()
        self._contents = {**before, **{name: after[name] for name in changes.applied}}
        logger.log(logging.WARNING if changes.restart else logging.INFO, "reload: %s", changes)
        gone_keys = self._commit(prepared)
        self.waiting.recheck()
        if prepared.locations is not None:
            await self._replace_remote_keys(prepared.locations)
        for keys in self.remote_keys:
            keys.request()
        if prepared.mqtt_url is not None and self._reopens_link(before, after, changes):
            await self._reopen_link(prepared.mqtt_url)
        closed = await close_changed_sockets(
            self.hub,
            self.token_verifier,
            gone_keys=gone_keys,
            claims_changed=prepared.claims_changed,
            retry_ms=self.return_rate.retry_ms,
        )
        if closed:
            logger.info("reload: %d sockets are closed: their tokens are not valid any more", closed)

    def _applicable(self, settings: Settings) -> frozenset[str]:
        """Return the settings that a reload can change here."""
        names = set(APPLIED)
        if self.settings.broker_listen is not None or settings.broker_listen is not None:
            names.remove("topics")  # the broker's rules for devices follow them
        if self._certificate is None or settings.server_certificate is None:
            names -= CERTIFICATE
        if is_same_broker(self.settings.external_broker, settings.external_broker):
            names.add("mqtt_url")  # another user or password
        else:
            names -= {"mqtt_username", "mqtt_password_file"}  # they are for another broker
        return frozenset(names)

    def _prepare(self, settings: Settings, changes: Changes) -> Prepared:
        """Do all that can fail. Raises `ConfigError`."""
        new = self.settings.model_copy(update={name: getattr(settings, name) for name in changes.applied})
        certificate = new.server_certificate if changes.applied & CERTIFICATE else None
        try:
            prepared = Prepared(
                settings=new,
                keys=new.verification_keys if changes.applied & KEYS else {},
                api_keys=new.api_keys,
                proxies=networks(new.trusted_proxies),
                certificate=None if certificate is None else load_certificate(certificate),
                locations=new.key_locations if changes.applied & ISSUERS else None,
                claims_changed=bool(changes.applied & (CLAIM_RULES | {"jwt_issuer"})),
                mqtt_url=new.external_broker or self._mqtt_url,
            )
        except OSError as error:
            raise ConfigError([f"cannot read {error.filename}: {error.strerror}"]) from None
        except ValueError as error:
            raise ConfigError([str(error)]) from None
        for location in prepared.locations or ():
            self._check_key_file(location)
        if prepared.mqtt_url is not None and (problems := feed_problems(new)):
            raise ConfigError(problems)
        return prepared

    def _commit(self, prepared: Prepared) -> set[str]:
        """Put everything new in place of the old, in one iteration of the loop.

        Returns the ids of the keys that files no longer have.
        """
        new = self.settings = prepared.settings
        of_files = {key.id for key in self.key_ring.keys if key.source in FILE_SOURCES}
        for source, found in prepared.keys.items():
            self.key_ring.replace(source, found)
        if prepared.claims_changed and isinstance(self.token_verifier, JwtVerifier):
            self.token_verifier.use_rules(new.token_rules)
        self.api_keys.replace(prepared.api_keys)
        self.origin_rule.replace(new.origins)
        self.trusted_proxies.replace(prepared.proxies)
        if prepared.certificate is not None and self._certificate is not None:
            self._certificate.install(prepared.certificate)
        self._apply_limits(new)
        self.revocations.use_rules(leeway_s=new.jwt_leeway_s, max_age_s=new.jwt_max_age_s)
        return {key_id for key_id in of_files if key_id not in self.key_ring}

    def _apply_limits(self, settings: Settings) -> None:
        """Use these limits for what comes; nothing that is open is closed."""
        self.admission.limits = socket_limits(settings)
        self.outbox_limits = OutboxLimits(settings.outbox_max_bytes, settings.outbox_max_messages)
        self.failed_auth.limit = settings.max_failed_auth_per_address
        self._server.limit_connections(_max_connections(settings))
        self._server.drain_timeout_s = settings.drain_timeout_s
        self._sweep.ping_interval_s = settings.ping_interval_s
        self._sweep.ping_timeout_s = settings.ping_timeout_s

    async def _replace_remote_keys(self, locations: Sequence[KeyLocation]) -> None:
        await asyncio.gather(*[keys.stop() for keys in self.remote_keys])
        for source in (Source.JWKS_URL, Source.OIDC):
            self.key_ring.stop_fetching(source)
        self.remote_keys = tuple(self._remote_keys(location) for location in locations)
        for keys in self.remote_keys:
            keys.start()

    @staticmethod
    def _reopens_link(before: Contents, after: Contents, changes: Changes) -> bool:
        """Return whether the link must be opened anew.

        A password that has changed in its file is read at the next connection.
        """
        of_link = changes.applied & (FEED | {"mqtt_url"})
        if of_link == {"mqtt_password_file"}:
            return paths(before["mqtt_password_file"]) != paths(after["mqtt_password_file"])
        return bool(of_link)

    async def _reopen_link(self, url: MqttUrl) -> None:
        self._mqtt_url = url
        before = self._feed
        await before.stop()
        self._feed = self._new_feed()
        self._feed.start(url, replaces=before)

    def _key_file(self, location: KeyLocation) -> KeyFile:
        path = self.settings.stored_in / "keys" / f"{location.source.value}.json"
        return KeyFile(path, write=private_file.write)

    def _check_key_file(self, location: KeyLocation) -> None:
        """Raise `ConfigError` if the stored keys are of a newer Hermes."""
        with contextlib.suppress(OSError):  # then the keys are fetched
            self._key_file(location).load(location.url)

    def _remote_keys(self, location: KeyLocation) -> RemoteKeys:
        return RemoteKeys(
            location,
            ring=self.key_ring,
            file=self._key_file(location),
            metrics=self.metrics,
            max_stale_s=self.settings.jwks_max_stale_s,
            clock=self._clock,
        )

    @property
    def missing(self) -> Sequence[str]:
        """What is missing beside the MQTT link, each a word and a sentence."""
        found = [f"keys_unavailable: {keys.problem}" for keys in self.remote_keys if keys.is_stale]
        if (problem := clock_problem(self._clock())) is not None:
            found.append(f"clock: {problem}")
        if self.inbox is not None and self.inbox.store.problem is not None:
            found.append(f"inbox: {self.inbox.store.problem}")
        if self.cluster is not None:
            found += self.cluster.problems
        return found

    def _new_feed(self) -> MqttFeed:
        return MqttFeed(
            settings=self.settings, hub=self.hub, last_values=self.last_values, link=self.link, metrics=self.metrics
        )

    def _make_http(self, application: Application) -> RequestServer:
        return request_server(
            application,
            parser=self.settings.http_parser,
            max_connections=_max_connections(self.settings),
            metrics=self.metrics,
            on_handshake=self.return_rate.measure,
        )

    def _connects_per_address_s(self) -> float:
        """Return the limit of new connections of one address; 0 means no limit.

        Without a setting, sockets that return when they are asked to do not reach it.
        """
        limit = self.settings.max_connects_per_address_s
        return max(CONNECTS_PER_ADDRESS_S, self.return_rate.per_s) if limit is None else limit

    async def _find_broker(self) -> MqttUrl | None:
        """Return the broker's address; None without MQTT.

        The embedded broker is started if it is configured.
        """
        url = self.settings.broker_url
        if url == "off":
            return None
        if url != "embedded":
            return parse_mqtt_url(url)
        broker = MosquittoProcess(metrics=self.metrics, device_listener=self._device_listener())
        try:
            await broker.start()
        except BrokerUnavailable as error:
            if not self.settings.dev or self.settings.broker_listen is not None:
                raise
            logger.warning("continuing without devices: %s", error)
            self.link.down(str(error))
            return None
        self.broker = broker
        return broker.url

    def _device_listener(self) -> DeviceListener | None:
        listener = self.settings.device_listener
        if listener is None:
            return None
        return DeviceListener(listener, topics=self.settings.topics, metrics=self.metrics)

    # -- only with --dev ----------------------------------------------------------------------------------------

    @property
    def device_ids(self) -> list[str]:
        """The ids of the simulated devices; empty without them."""
        return [] if self.simulator is None else [id for ids in self.simulator.device_ids.values() for id in ids]

    @property
    def dev_actions(self) -> Mapping[str, DevAction]:
        """The actions of ``POST /dev/NAME``, by name; none without ``--dev``."""
        if not self.settings.dev:
            return {}
        return {"token": partial(mint_token, self.settings.token_signer), "drill": self._faults.inject}

    def console_facts(self) -> Mapping[str, Any] | None:
        """Return the tokens, the key and the devices that the console shows.

        None without ``--dev``.
        """
        if not self.settings.dev:
            return None
        keys = [key.text for key in self.settings.api_keys]
        return console_facts(self.settings.token_signer, api_keys=keys, devices=self.device_ids)

    def _start_simulator(self) -> None:
        if not self.settings.dev or self.broker is None:
            return
        self._simulator_client = MqttClient(
            url=self.broker.simulator_url, metrics=self.metrics, thread_name="hermes-simulator"
        )
        self._simulator_client.start()
        self.simulator = SimulatedDevices(publish=self._simulator_client.publish)
        self.simulator.start()

    def _kill_broker(self) -> bool:
        return self.broker is not None and self.broker.kill()


def socket_limits(settings: Settings) -> SocketLimits:
    """Return the limits of sockets that these settings ask for."""
    return SocketLimits.of(
        settings.max_sockets or sockets_by_file_limit(),
        per_user=settings.max_sockets_per_user,
        per_tenant=settings.max_sockets_per_tenant,
        per_address=settings.max_sockets_per_address,
    )


def _max_connections(settings: Settings) -> int:
    limit = settings.max_http_connections
    return http_connections_by_file_limit() if limit is None else limit


def _json(data: Mapping[str, Any]) -> bytes:
    """Return the JSON text of ``data``.

    Raises `RequestError` if it has none (RFC 8259: no NaN, no lone surrogate).
    """
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid_fields({"data": f"cannot be written as JSON: {error}"}) from None


def last_values_limits(settings: Settings) -> LastValuesLimits:
    """Return the limits of the last values that these settings ask for."""
    return LastValuesLimits(settings.snapshot_max_values, settings.snapshot_max_bytes, settings.snapshot_max_age_s)


def revocation_file(settings: Settings) -> RevocationFile:
    """Return the file of the revocations."""
    path = settings.stored_in / REVOCATIONS_NAME
    return RevocationFile(path, create=private_file.create, write=private_file.write)
