"""Request births of Sparkplug edge nodes, at a limited rate."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable

from hermes.ingest.sparkplug.metrics import BOOLEAN
from hermes.ingest.sparkplug.nodes import NodeKey
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from hermes.ingest.sparkplug.topic import rebirth_topic
from hermes.metrics import Metrics

INTERVAL_MIN_S = 10.0
INTERVAL_MAX_S = 600.0  # for a node that does not answer, or with births that do not help
NODES_MAX = 20_000  # of which the last request is stored
PER_SECOND_MAX = 50  # after an outage every node of a fleet gets a request, and answers with all its metrics


class RebirthRequests:
    """Send rebirth requests, at most `PER_SECOND_MAX` per second.

    ``publish`` sends a payload to a topic, and returns whether it was sent; ``clock`` gives monotonic seconds.
    """

    def __init__(self, *, publish: Callable[[str, bytes], bool], metrics: Metrics, clock: Callable[[], float]) -> None:
        self._publish = publish
        self._metrics = metrics
        self._clock = clock
        self._last_s: deque[float] = deque(maxlen=PER_SECOND_MAX)
        # the earliest time of the next request, and the interval before it; not removed when the node itself is evicted
        self._intervals: OrderedDict[NodeKey, tuple[float, float]] = OrderedDict()

    def request(self, key: NodeKey, *, timestamp_ms: int) -> bool:
        """Request the births of this node; return whether the request was sent.

        It is not sent while the interval since the last one has not passed: 10 s at first, doubled each time, and 10 s
        again after `INTERVAL_MAX_S` without a need for a request. The caller repeats what could not be sent.
        """
        now_s = self._clock()
        next_s, interval_s = self._intervals.get(key, (-math.inf, 0.0))
        if now_s < next_s or (len(self._last_s) == PER_SECOND_MAX and now_s - self._last_s[0] < 1.0):
            return False
        if not self._publish(rebirth_topic(key), _command(timestamp_ms)):
            return False
        was_quiet = now_s - next_s > INTERVAL_MAX_S
        interval_s = INTERVAL_MIN_S if was_quiet else min(max(2 * interval_s, INTERVAL_MIN_S), INTERVAL_MAX_S)
        self._intervals[key] = (now_s + interval_s, interval_s)
        self._intervals.move_to_end(key)
        if len(self._intervals) > NODES_MAX:
            self._intervals.popitem(last=False)
        self._last_s.append(now_s)
        self._metrics.sparkplug_rebirth_requests.inc()
        return True


def _command(timestamp_ms: int) -> bytes:
    rebirth = Payload.Metric(name="Node Control/Rebirth", timestamp=timestamp_ms, datatype=BOOLEAN, boolean_value=True)
    return Payload(timestamp=timestamp_ms, metrics=[rebirth]).SerializeToString()
