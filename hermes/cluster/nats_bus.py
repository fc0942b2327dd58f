"""The bus of several nodes, on NATS core.

A node subscribes to one subject for each user and tenant with an open socket, so that NATS knows where a message is
to go. A message that must be delivered is a request: see `hermes.cluster.deliveries`. What concerns every node goes to
one subject of all nodes.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from hermes import __version__
from hermes.cluster import subjects
from hermes.cluster.attachment import Attachment
from hermes.cluster.comparison import Comparison
from hermes.cluster.deliveries import AnsweredReceipt, Deliveries, RemoteReceipt
from hermes.cluster.envelope import PROTOCOL, BadEnvelope, Head, number_of, pack, text_of, unpack
from hermes.cluster.incoming.messages import Incoming
from hermes.cluster.incoming.operations import Operations
from hermes.cluster.incoming.readings import Read, Readings
from hermes.cluster.members import TEXT_MAX_CHARS, Member, Members
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.nats.protocol import NO_RESPONDERS, NatsMessage
from hermes.cluster.participation import Participation, State
from hermes.cluster.surveys import Answers, Surveys
from hermes.delivery.channels import Channel
from hermes.delivery.frames import encode
from hermes.delivery.hub import Hub, Receipt
from hermes.delivery.messages import (
    Acknowledgement,
    Broadcast,
    EncodedMessage,
    Message,
    Notification,
    Withdrawal,
    now_ms,
)
from hermes.errors import ConfigError
from hermes.ids import TenantId
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

ASK_TIMEOUT_S = 0.25
NAME_TIMEOUT_S = 1.0  # for a node of the same name
NAME_CLAIM_MAX_S, NAME_PAUSE_S = 5.0, 0.05  # until nodes of the same name that start now have ended
PROPAGATION_S = 0.1  # until the servers of NATS have exchanged a subscription
# that this module handles
OPERATIONS = frozenset({"deliver", "hello", "here", "leave", "fence", "name", "probe", "greet", "link", "stored"})

StoredMessage = EncodedMessage | Acknowledgement | Withdrawal
MakeClient = Callable[[str, Callable[[], None], Callable[[], None], Callable[[], None]], NatsClient]


class NatsBus:
    """Reach the sockets of all nodes.

    ``keys`` returns the hash of the token keys. ``on_state`` is called when the state has changed. ``operations``
    answer the questions of other nodes, by the name of the operation; more can be added until `start`.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        name: str,
        make_client: MakeClient,
        keys: Callable[[], str],
        metrics: Metrics,
        on_state: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.instance = secrets.token_hex(8)
        self.operations = Operations(self._answer_operation, metrics)
        self._incoming = Incoming(hub=hub, answer=self._answer_delivered, pass_fence=self._pass_fence)
        self._hub = hub
        self._keys = keys
        self._metrics = metrics
        self.members = Members(
            name=name, instance=self.instance, keys=keys, epoch=lambda: self._epoch(), metrics=metrics
        )
        self.comparison = Comparison(self.members)
        self.participation = Participation(
            members=self.members, greet=self._greet, announce=self._announce, on_state=on_state
        )
        self._client = make_client(name, self._opened, self.participation.connected, self._lost)
        self._numbers = itertools.count(1)
        self._attachment = Attachment(
            members=self.members,
            next_number=self._numbers.__next__,
            probe=self._send_probe,
            ping=self._client.ping,
            clock=time.monotonic,
        )
        self._deliveries = Deliveries(
            attachment=self._attachment,
            members=self.members,
            metrics=metrics,
            next_number=self._numbers.__next__,
            send_fence=self._send_fence,
            clock=time.monotonic,
        )
        self._surveys = Surveys()
        self._readings = Readings(self._answer_read)
        self._sids: dict[str, tuple[int, int]] = {}  # by subject: the subscription, and how many channels use it
        self._epoch: Callable[[], str] = str  # of the shared inbox
        self._users = 0
        self._has_name = False  # no other node that starts now can take it

    # -- the bus ------------------------------------------------------------------------------------------------------

    def publish(
        self, message: Message, *, only_tenant: TenantId | None = None, to: Sequence[Channel] | None = None
    ) -> Receipt:
        """Send a message to every session of its channels, or of ``to``, on all nodes."""
        local = self._hub.publish(message, only_tenant=only_tenant, to=to)
        if isinstance(message, EncodedMessage | Acknowledgement | Withdrawal) and message.seq is not None:
            return self._wake_others(message, message.seq, local)
        channel = message.channels[0]
        subject = subjects.of_channel(channel)
        if subject is None:
            return local
        head: Head = {"op": "deliver", "node": self.name, "kind": message.kind, "to": channel[1]}
        if only_tenant is not None:
            head["only_tenant"] = only_tenant
        if to is not None:
            head["channels"] = to

        def send(number: int) -> bool:
            data = pack(head, encode(message).payload) if self._client.is_connected else b""
            return self._client.publish(subject, data, reply=self._reply(number))

        return self._deliveries.request(local, send)

    def _wake_others(self, message: StoredMessage, seq: int, local: Receipt) -> Receipt:
        """Let the other nodes read an entry of the shared inbox, and those before it.

        They answer for a notification and a broadcast. What none of them hears is found by its next look.
        """
        if isinstance(message, Acknowledgement | Withdrawal):
            self._client.publish(*self._wake_up(message.channels[0], seq))
            return local
        self._readings.note(seq, local)
        return self._ask_stored(message.channel, seq, local)

    def _wake_up(self, channel: Channel, seq: int) -> tuple[str, bytes]:
        subject = subjects.of_owner(channel)
        assert subject is not None  # every stored message has a user or a tenant
        return subject, pack({"op": "stored", "node": self.name, "seq": seq, "epoch": self._epoch()})

    def _ask_stored(self, channel: Channel, seq: int, local: Receipt) -> Receipt:
        subject, data = self._wake_up(channel, seq)
        return self._deliveries.request(
            local, lambda number: self._client.publish(subject, data, reply=self._reply(number))
        )

    async def flushed(self, receipts: Collection[Receipt]) -> None:
        """Wait until these receipts are complete."""
        await self._hub.flushed()
        for receipt in receipts:
            if isinstance(receipt, RemoteReceipt):
                await receipt.completed()

    async def ask_again(
        self, message: Notification | Broadcast, seq: int | None, local: Receipt, *, only_tenant: TenantId | None
    ) -> Receipt:
        """Return the complete receipt of what another node has sent, or sends now.

        The nodes with a subscription read its row, if it has one, and answer as they did to its sender. Otherwise that
        sender may still wait for them: it answers when it is done, or is uncertain.
        """
        if seq is not None:
            receipt = self._ask_stored(message.channels[0], seq, local)
        else:
            key = {"kind": message.kind, "to": message.channels[0][1], "bound": only_tenant, "id": message.id}
            answers = await self.ask("sockets", key)
            sockets = local.sockets + sum(number_of(head, "sockets") for head in answers.by_node.values())
            receipt = AnsweredReceipt(sockets, answers.silent)
        await self.flushed((receipt,))
        return receipt

    def read_with(self, read: Read, *, note: Callable[[int, Receipt], None], epoch: Callable[[], str]) -> None:
        """Read entries of the shared inbox by this function.

        It publishes everything up to a number of an epoch, and returns how many sockets of this node took that entry;
        None if the inbox cannot be read now. ``note`` gets the receipt of each row that this node stores, so that
        ``read`` knows it too. ``epoch`` returns the present one.
        """
        self._readings.read, self._readings.note = read, note
        self._epoch = epoch

    async def synchronised(self) -> bool:
        """Wait until NATS has processed the subscriptions; False if the connection ended."""
        return await self._client.flush()

    async def ask(self, op: str, fields: Mapping[str, object], *, timeout_s: float = ASK_TIMEOUT_S) -> Answers:
        """Ask every other node, and return the answers."""
        return await self._ask(subjects.NODES, op, fields, expected=self.members.names, timeout_s=timeout_s)

    async def ask_one(self, name: str, op: str, fields: Mapping[str, object], *, timeout_s: float) -> Head | None:
        """Ask one other node; None without an answer."""
        answers = await self._ask(subjects.node(name), op, fields, expected=(name,), timeout_s=timeout_s)
        return answers.by_node.get(name)

    async def _ask(
        self, subject: str, op: str, fields: Mapping[str, object], *, expected: Collection[str], timeout_s: float
    ) -> Answers:
        number = next(self._numbers)
        data = pack({"op": op, "node": self.name, **fields})
        return await self._surveys.ask(
            number,
            expected,
            lambda: self._client.publish(subject, data, reply=self._reply(number)),
            timeout_s=timeout_s,
        )

    def tell(self, op: str, fields: Mapping[str, object]) -> bool:
        """Send something to every other node; return whether it was sent."""
        return self._client.publish(subjects.NODES, pack({"op": op, "node": self.name, **fields}))

    def _reply(self, number: int) -> str:
        return f"{subjects.replies(self.instance)}{number}"

    def _send_fence(self, number: int) -> None:
        self._client.publish(subjects.NODES, pack({"op": "fence", "node": self.name}), reply=self._reply(number))

    def _send_probe(self, name: str, number: int) -> None:
        self._client.publish(subjects.node(name), pack({"op": "probe", "node": self.name}), reply=self._reply(number))

    @property
    def problems(self) -> list[str]:
        """What is missing, each a word and a sentence."""
        return self.participation.problems(self._client)

    @property
    def state(self) -> State:
        """Whether this node works together with the others."""
        return self.participation.state

    @property
    def users(self) -> int:
        """The number of users with a socket on this node, as it is announced."""
        return self._users

    @property
    def nodes(self) -> list[Member]:
        """The other living nodes."""
        return self.members.all

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect; go on alone if NATS cannot be reached.

        Raises `ConfigError` if NATS refuses this client, or another node has the same name.
        """
        self._hub.on_watch.append(self._watch)
        for channel in self._hub.watched:
            self._watch(channel, True)
        self._client.subscribe(subjects.NODES, self._on_nodes)
        self._client.subscribe(f"{subjects.replies(self.instance)}*", self._on_reply)
        await self._client.start()
        if self._client.is_connected and self._client.refusal:
            raise ConfigError([f"--nats-url: the account may not use a subject: {self._client.refusal}"])
        self._client.subscribe(subjects.node(self.name), self._on_nodes, last=True)
        if self._client.is_connected:
            await self._claim_name()
        self._has_name = True
        self.participation.start(self._client)

    async def _claim_name(self) -> None:
        """Raise `ConfigError` if another living node has this node's name.

        Of several that start at the same time, the one with the lowest instance has it, and waits for the end of the
        others. Each has subscribed before it asks, so that one of two always finds the other one; at different servers
        of NATS only after these have exchanged the subscriptions.
        """
        if self._client.has_other_servers:
            await asyncio.sleep(PROPAGATION_S)
        until_s = time.monotonic() + NAME_CLAIM_MAX_S
        while time.monotonic() < until_s:
            found = await self.ask_one(self.name, "name", {"instance": self.instance}, timeout_s=NAME_TIMEOUT_S)
            if found is None:
                return
            if found.get("starting") is not True or (text_of(found, "instance") or "") < self.instance:
                raise ConfigError(
                    [f"another node has the name {self.name} (version {text_of(found, 'version')}): give --node-name"]
                )
            await asyncio.sleep(NAME_PAUSE_S)

    def leave(self) -> None:
        """Announce that this node is stopping: the others do not wait for it any more."""
        self.participation.leaving = True
        self.tell("leave", {"instance": self.instance})

    async def stop(self) -> None:
        """Disconnect; may be repeated."""
        if self._watch in self._hub.on_watch:
            self._hub.on_watch.remove(self._watch)
        await self.participation.stop()
        await self._readings.stop()
        await self.operations.stop()
        if not self.participation.leaving:
            self.leave()
        await self._client.stop()
        self._deliveries.lost()
        self._surveys.lost()

    def _description(self) -> Head:
        return {
            "instance": self.instance,
            "version": __version__,
            "protocol": PROTOCOL,
            "keys": self._keys(),
            "users": self._users,
            "sockets": len(self._hub.sessions),
            "link": self._link,
            "joined": self.state is State.JOINED,
            "revocations": self.comparison.digest(),
            "clock_ms": now_ms(),
            "epoch": self._epoch(),
        }

    async def _greet(self) -> Answers:
        return await self.ask("hello", self._description())

    def _announce(self) -> None:
        self.tell("here", self._description())

    @property
    def _link(self) -> str:
        """The name of this node's connection to NATS."""
        return f"{self.instance}.{self._client.connects}"

    def _opened(self) -> None:
        """Announce the new connection before NATS gets the subscriptions.

        Whoever finds one of them has then heard of it.
        """
        self.tell("link", {"link": self._link})

    def _lost(self) -> None:
        self._deliveries.lost()
        self._surveys.lost()
        self.participation.lost(self._client.problem)

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _watch(self, channel: Channel, watched: bool) -> None:
        """Subscribe to the subject of a channel as long as it has a session."""
        subject = subjects.of_channel(channel)
        if subject is None:
            return
        if watched:
            sid, channels_of_it = self._sids.get(subject) or (self._client.subscribe(subject, self._on_deliver), 0)
            self._sids[subject] = (sid, channels_of_it + 1)
        else:
            sid, channels_of_it = self._sids.pop(subject)
            if channels_of_it > 1:
                self._sids[subject] = (sid, channels_of_it - 1)
            else:
                self._client.unsubscribe(sid)
        if channel[0] == "user":
            self._users += 1 if watched else -1
            self.participation.count_changed()

    # -- what other nodes send ----------------------------------------------------------------------------------------

    def _on_deliver(self, message: NatsMessage) -> None:
        found = self._unpack(message)
        if found is None:
            return
        head, text = found
        match head["op"]:
            case "stored":
                self._metrics.cluster_received.labels("stored").inc()
                self._readings.begin(number_of(head, "seq"), text_of(head, "epoch") or "", message.reply)
            case "deliver":
                is_known = self._incoming.deliver(head, text, message.reply)
                self._metrics.cluster_received.labels("deliver" if is_known else "unknown").inc()
            case _:  # of a newer version
                self._metrics.cluster_received.labels("unknown").inc()

    def _answer_read(self, reply: str, sockets: int | None) -> None:
        if sockets is None:
            self._reply_to(reply, "unread", {})
        else:
            self._reply_to(reply, "delivered", {"sockets": sockets})

    def _answer_delivered(self, reply: str, sockets: int) -> None:
        self._reply_to(reply, "delivered", {"sockets": sockets})

    def _pass_fence(self, reply: str) -> None:
        self._reply_to(reply, "passed", {"link": self._link})

    def _on_nodes(self, message: NatsMessage) -> None:
        found = self._unpack(message)
        if found is None:
            return
        head, reply = found[0], message.reply
        op = str(head["op"])
        if not self._has_name and op != "name":
            return  # no other node may know of this one, which may have to end
        self._metrics.cluster_received.labels(op if op in OPERATIONS or op in self.operations else "unknown").inc()
        match op:
            case "fence":
                self._readings.then(partial(self._incoming.fence, reply))
            case "probe":
                pass  # that NATS had a subscriber is the answer
            case "link":
                self._linked(head)
            case "here":
                is_new, member = self._heard(head), self.members.get(str(head["node"]))
                if is_new or (member is not None and self.comparison.must_exchange(member)):
                    self.participation.appeared(str(head["node"]))
            case "hello":
                self._heard(head)
                if not self.participation.leaving:
                    self._reply_to(reply, "here", self._description())
            case "greet":  # of hermes check, which is no node
                self._reply_to(reply, "here", self._description())
            case "leave":
                self.members.left(str(head["node"]), text_of(head, "instance") or "")
            case "name":
                if text_of(head, "instance") != self.instance:
                    self._reply_to(reply, "answer", self._description() | {"starting": not self._has_name})
            case _ if op in self.operations:
                self.operations.start(head, reply)

    def _heard(self, head: Head) -> bool:
        is_new = self.members.heard(head)
        self._linked(head)
        return is_new

    def _linked(self, head: Head) -> None:
        self._deliveries.linked(str(head["node"]), (text_of(head, "link") or "")[:TEXT_MAX_CHARS])

    def _reply_to(self, reply: str, op: str, fields: Mapping[str, object]) -> None:
        if reply:
            self._client.publish(reply, pack({"op": op, "node": self.name, **fields}))

    def _answer_operation(self, reply: str, result: Head) -> None:
        self._reply_to(reply, "answer", result)

    def _on_reply(self, message: NatsMessage) -> None:
        tail = message.subject.rpartition(".")[2]
        if not tail.isdecimal():
            return
        number = int(tail)
        if message.status == NO_RESPONDERS:
            self._attachment.no_responders(number)
            self._deliveries.no_responders(number)
            self._surveys.no_responders(number)
            return
        found = self._unpack(message)
        if found is None:
            return
        head = found[0]
        match head["op"]:
            case "delivered":
                self._deliveries.answered(number, number_of(head, "sockets"))
            case "unread":
                self._deliveries.unread(number, str(head["node"]))
            case "passed":
                self._linked(head)
                self._deliveries.passed(str(head["node"]), number)
            case "here":
                self._heard(head)
                self._surveys.answered(number, head)
            case _:
                self._surveys.answered(number, head)

    def _unpack(self, message: NatsMessage) -> tuple[Head, bytes] | None:
        try:
            return unpack(message.data)
        except BadEnvelope as error:
            self._metrics.cluster_received.labels("bad").inc()
            logger.debug("a message on %s is not from a node: %s", message.subject, error)
            return None
