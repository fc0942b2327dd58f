"""The devices' door: asks Sparkplug's edge nodes for their births, seldom enough to harm nobody."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable

from hermes.ingest.sparkplug.metrics import BOOLEAN
from hermes.ingest.sparkplug.nodes import NodeKey
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload
from hermes.ingest.sparkplug.topic import rebirth_topic
from hermes.metrics import Metrics

PATIENCE_MIN_S = 10.0
PATIENCE_MAX_S = 600.0  # for a node that does not do it, or whose births do not help
REMEMBERED_MAX = 20_000  # nodes that were asked
PER_SECOND_MAX = 50  # after an outage every node of a fleet has to be asked, and answers with all it has


class Rebirths:
    """``publish`` takes topic and payload, and says whether that left; ``clock`` gives monotonic seconds."""

    def __init__(self, *, publish: Callable[[str, bytes], bool], metrics: Metrics, clock: Callable[[], float]) -> None:
        self._publish = publish
        self._metrics = metrics
        self._clock = clock
        self._last_s: deque[float] = deque(maxlen=PER_SECOND_MAX)
        # when each may be asked again, and how long that was; outlives what is known of the node itself
        self._patience: OrderedDict[NodeKey, tuple[float, float]] = OrderedDict()

    def ask(self, key: NodeKey, *, timestamp_ms: int) -> bool:
        """Ask the node to be born again, unless that was done just now: at first 10 s must lie in between, each time
        twice as long, and 10 s again when it needed none for a while. What cannot leave is asked at the next occasion.
        True where it was asked.
        """
        now_s = self._clock()
        again_s, patience_s = self._patience.get(key, (-math.inf, 0.0))
        if now_s < again_s or (len(self._last_s) == PER_SECOND_MAX and now_s - self._last_s[0] < 1.0):
            return False
        if not self._publish(rebirth_topic(key), _request(timestamp_ms)):
            return False
        well = now_s - again_s > PATIENCE_MAX_S
        patience_s = PATIENCE_MIN_S if well else min(max(2 * patience_s, PATIENCE_MIN_S), PATIENCE_MAX_S)
        self._patience[key] = (now_s + patience_s, patience_s)
        self._patience.move_to_end(key)
        if len(self._patience) > REMEMBERED_MAX:
            self._patience.popitem(last=False)
        self._last_s.append(now_s)
        self._metrics.sparkplug_rebirth_requests.inc()
        return True


def _request(timestamp_ms: int) -> bytes:
    order = Payload.Metric(name="Node Control/Rebirth", timestamp=timestamp_ms, datatype=BOOLEAN, boolean_value=True)
    return Payload(timestamp=timestamp_ms, metrics=[order]).SerializeToString()
