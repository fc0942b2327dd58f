"""An ingest for tests of the code that passes messages to it."""

import time
from collections.abc import Callable

from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ingest import extras
from hermes.ingest.drops import DropCounter
from hermes.ingest.ingest import Ingest, SparkplugReader
from hermes.metrics import Metrics
from hermes.topics.topic_map import TopicMap

Status = DeviceStatus | LinkStatus


def make_ingest(
    topics: TopicMap,
    *,
    metrics: Metrics,
    publish: Callable[[DeviceMessage], object],
    publish_status: Callable[[Status], object] = lambda status: None,
    last_values: LastValues | None = None,
    sparkplug: SparkplugReader | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Ingest:
    """Return an ingest that passes device messages to ``publish`` and statuses to ``publish_status``."""

    def either(message: DeviceMessage | Status) -> None:
        if isinstance(message, DeviceMessage):
            publish(message)
        else:
            publish_status(message)

    return Ingest(
        topics=topics,
        last_values=LastValues(limits=LastValuesLimits(), metrics=metrics) if last_values is None else last_values,
        publish=either,
        drops=DropCounter(metrics),
        decoders=extras.decoders(topics.templates),
        sparkplug=sparkplug,
        clock=clock,
    )
