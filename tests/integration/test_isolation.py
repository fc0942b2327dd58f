"""No data of one tenant reaches another: randomised deliveries across tenants with clashing and hostile ids."""

import json
import random
from collections.abc import Iterator

import pytest

from hermes.auth.principal import Principal
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.hub import Hub
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.messages import Broadcast, DeviceMessage, DeviceStatus, LinkStatus
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.session import Session
from hermes.ids import DeviceId, TenantId, UserId
from hermes.ingest.drops import DropCounter
from hermes.ingest.ingest import InboundMessage, Ingest
from hermes.ingest.payload import decode
from hermes.metrics import Metrics, total
from hermes.testing import FakeTransport
from hermes.topics.topic_map import TopicMap

# ids that could be taken for another one, or that end a text, a path, a filter or a frame somewhere
HOSTILE = [
    *("acme", "Acme", "acme ", "a", "A", "0", "00", "-0", "1", "1.0", "null", "true", "tenant", "device", "devices"),
    *('"', "\\", "{", "}", '","tenant_id":"acme', "%2F", "%61cme", "a%00", "$SYS", "..acme", "é", "e\u0301", "İ", "i"),
    *("\uff41cme", "\u0430cme", "x" * 200, "__proto__", "constructor", "'", ";x", "&", "<b>", "a,b", "[", "]", "~1"),
]
TENANTS = [*HOSTILE, *(f"tenant-{number}" for number in range(50 - len(HOSTILE)))]
DEVICES = [*HOSTILE[:20], "d1", "d2"]
TEMPLATES = ("t/{tenant_id}/{device_id}", "t/{tenant_id}/{device_id}/{series}", "by/{device_id};tenant_id=/t")


class Inbox(FakeTransport):
    """A client that checks each frame: it must be of its tenant."""

    def __init__(self, tenant: str, device: str | None) -> None:
        super().__init__()
        self.tenant = tenant
        self.device = device
        self.received = 0

    def write(self, data: bytes) -> bool:
        """Check and count the frames."""
        for value in frames(data):
            self.received += 1
            assert value["secret"] == self.tenant, f"{self.tenant!r} got {value}"
            assert self.device in (None, value["device"])
        return True


def frames(data: bytes) -> Iterator[dict[str, str]]:
    """Yield the secret and the device of each frame: what the sender put into the payload."""
    at = 0
    while at < len(data):
        length = data[at + 1]
        begin = at + 2
        if length == 126:
            length, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        value = json.loads(data[begin : begin + length])
        yield value["data"]
        at = begin + length


@pytest.mark.parametrize(
    "deliveries", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)], ids=["short", "a million"]
)
def test_nothing_of_another_tenant_is_delivered(deliveries: int) -> None:
    """Live values, snapshots and broadcasts; sockets of the tenant, of one device, and of named devices."""
    chance = random.Random(2_026)
    metrics = Metrics()
    hub = Hub(metrics=metrics, call_soon=lambda callback: None)
    last_values = LastValues(limits=LastValuesLimits(max_values=5_000), metrics=metrics)

    def publish(message: DeviceMessage | DeviceStatus | LinkStatus) -> None:
        hub.publish(message)

    ingest = Ingest(
        topics=TopicMap(TEMPLATES),
        last_values=last_values,
        publish=publish,
        drops=DropCounter(metrics),
        decoders={"json": decode},
    )
    sessions: list[Session] = []
    inboxes: list[Inbox] = []

    def open_socket() -> None:
        tenant, device = TenantId(chance.choice(TENANTS)), DeviceId(chance.choice(DEVICES))
        wanted: list[Channel] = {
            0: [channels.tenant(tenant), channels.broadcast(tenant)],
            1: [channels.device(tenant, device)],
            2: [channels.device(tenant, DeviceId(each)) for each in chance.sample(DEVICES, 3)],
        }[kind := chance.randrange(3)]
        inbox = Inbox(tenant, device if kind == 1 else None)
        principal = Principal(UserId("1"), "ana", tenant)
        session = Session(principal=principal, transport=inbox, limits=OutboxLimits(), metrics=metrics)
        session.replay(last_values.for_channels(hub.subscribe(session, wanted)))
        sessions.append(session)
        inboxes.append(inbox)

    while sum(inbox.received for inbox in inboxes[-200:]) + total(metrics.deliveries) < deliveries:
        if len(sessions) < 200:
            open_socket()
        elif chance.random() < 0.02:
            hub.unsubscribe(sessions.pop(chance.randrange(len(sessions))))
        tenant, device = chance.choice(TENANTS), chance.choice(DEVICES)
        data = {"secret": tenant, "device": device, "t": tenant}
        if chance.random() < 0.1:
            notice = {"tenant_id": tenant, "id": "1", "title": "t", "message": "m", "type": "info"}
            hub.publish(Broadcast(**notice, timestamp_ms=1, data=json.dumps(data).encode()))  # type: ignore[arg-type]
        else:
            topic = chance.choice((f"t/{tenant}/{device}", f"t/{tenant}/{device}/temp", f"by/{device}"))
            ingest.handle(InboundMessage(topic, json.dumps(data).encode(), chance.random() < 0.1, (), 1))
        if chance.random() < 0.1:
            hub.flush()
    assert total(metrics.deliveries) > deliveries / 2
