"""Messages of Sparkplug edge nodes, and a reader for them."""

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.ids import DeviceId, TenantId
from hermes.ingest.sparkplug.metrics import TYPES
from hermes.ingest.sparkplug.nodes import MEMORY_MAX_BYTES
from hermes.ingest.sparkplug.reader import Sparkplug
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from hermes.metrics import Metrics

Result = TypeVar("Result")

NOW_MS = 1_763_836_800_000


def metric(name: str = "", type: str = "", /, **fields: Any) -> Payload.Metric:
    """Return a metric with these fields only."""
    if name:
        fields["name"] = name
    if type:
        fields["datatype"] = TYPES[type]
    return Payload.Metric(**fields)


def bd_seq(number: int) -> Payload.Metric:
    """Return the metric with the number of a session."""
    return metric("bdSeq", "Int64", long_value=number)


def message(*metrics: Payload.Metric, seq: int | None = None, timestamp: int | None = 1_000) -> bytes:
    """Return the bytes of a payload."""
    return Payload(timestamp=timestamp, seq=seq, metrics=metrics).SerializeToString()


def result_of(steps: Generator[None, None, Result]) -> Result:
    """Return the result of work that is done in steps."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result


@dataclass
class Reader:
    """A `Sparkplug` with a fake clock; device ids are ``EDGE`` and ``EDGE/DEVICE``."""

    now_s: float = 0.0
    offline: bool = False
    memory_max_bytes: int = MEMORY_MAX_BYTES
    asked: list[str] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.sparkplug = Sparkplug(
            publish=self.publish,
            metrics=self.metrics,
            clock=lambda: self.now_s,
            memory_max_bytes=self.memory_max_bytes,
        )

    def publish(self, topic: str, payload: bytes) -> bool:
        """Record a message of Hermes, unless it is offline."""
        if not self.offline:
            self.asked.append(topic)
            self.requests.append(payload)
        return not self.offline

    def read(
        self, topic: str, payload: bytes, *, retained: bool = False, tenant: str = "acme"
    ) -> list[DeviceMessage | DeviceStatus]:
        """Return everything in one message."""
        steps = self.sparkplug.read(
            topic,
            payload,
            tenant_id=TenantId(tenant),
            device_id=DeviceId("/".join(topic.split("/")[3:])),
            retained=retained,
            timestamp_ms=NOW_MS,
        )
        return [update for update in steps if update is not None]

    def values(self, topic: str, payload: bytes) -> dict[str, Any]:
        """Return the values of the metrics by name."""
        return {
            each.series: json.loads(each.data)["value"]
            for each in self.read(topic, payload)
            if isinstance(each, DeviceMessage)
        }

    def presence(self, topic: str, payload: bytes, *, retained: bool = False) -> list[tuple[str, bool | None]]:
        """Return the changes of presence."""
        return [
            (each.device_id, each.online)
            for each in self.read(topic, payload, retained=retained)
            if isinstance(each, DeviceStatus)
        ]

    def count(self, name: str) -> float:
        """Return the value of a counter or gauge."""
        value = self.metrics.registry.get_sample_value(f"hermes_sparkplug_{name}")
        assert value is not None
        return value
