"""All that can send one message to many sockets, from the least that can be done to the most."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from bench.contenders import Broadcaster
from bench.contenders.direct_tornado import direct_tornado
from bench.contenders.floor import floor
from bench.contenders.hermes import hermes_broadcasts
from bench.contenders.mosquitto_websockets import mosquitto_websockets
from bench.contenders.naive_tornado import naive_tornado
from bench.contenders.nchan import nchan
from bench.contenders.node_ws import node_ws
from bench.contenders.picows_broadcast import picows_broadcast
from bench.contenders.websockets_broadcast import websockets_broadcast

Start = Callable[[], AbstractContextManager[Broadcaster]]

# Hermes stands beside those that it is held against most closely: the machine changes least between neighbours
BROADCASTERS: Mapping[str, Start] = {
    "floor": floor,
    "Hermes": hermes_broadcasts,
    "direct Tornado": direct_tornado,
    "nchan": nchan,
    "picows": picows_broadcast,
    "Node ws": node_ws,
    "websockets": websockets_broadcast,
    "mosquitto": mosquitto_websockets,
    "naive Tornado": naive_tornado,
}
