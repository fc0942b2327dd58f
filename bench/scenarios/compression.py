"""What permessage-deflate costs: compressed once for all, compressed by every socket for itself, not at all."""

import json
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from bench.contenders.broadcasters import Start
from bench.contenders.hermes import hermes_broadcasts
from bench.contenders.naive_tornado import naive_tornado
from bench.figures import Figure
from bench.scenarios.delivery import deliver

# A frame of about 700 bytes, with "n" and "t" like all others, and the readings of a cold room's controller
READINGS = {
    name: {"value": round(3.5 + 0.37 * number, 2), "unit": "°C", "quality": "good"}
    for number, name in enumerate(
        ("air_in", "air_out", "evaporator", "core_1", "core_2", "door", "compressor", "glycol")
    )
}
DATA = '{"n":%n,"t":%t,"readings":' + json.dumps(READINGS, separators=(",", ":"), ensure_ascii=False) + "}"


@dataclass(frozen=True, slots=True)
class Compression:
    """One message of about 700 bytes at a time to ``sockets`` that offer compression as Chrome does, for ``for_s``."""

    summary: ClassVar[str] = "one message of 700 bytes at a time to 1,000 sockets that offer compression"
    sockets: int = 1_000
    for_s: float = 3.0

    def run(self) -> list[Figure]:
        """Bytes that leave for each delivery, and its CPU. `IdleMemory` measures its memory."""
        return [
            *self._figures("Hermes", partial(hermes_broadcasts, data=DATA)),
            *self._figures("Hermes, --compress false", partial(hermes_broadcasts, "--compress", "false", data=DATA)),
            *self._figures("Tornado, compressing", partial(naive_tornado, compress=True, data=DATA)),
            *self._figures("naive Tornado", partial(naive_tornado, data=DATA)),
        ]

    def _figures(self, name: str, start: Start) -> list[Figure]:
        delivery = deliver(start, sockets=self.sockets, for_s=self.for_s, deflate=True)
        seen = delivery.seen
        return [
            Figure(name, "sockets that compress", seen.compressed_sockets),
            Figure(name, "bytes per delivery", seen.bytes_received / max(1, seen.delivered), "B"),
            Figure(name, "CPU per delivery", delivery.server_us, "µs"),
            Figure(name, "delivered", seen.deliveries_per_s, "1/s"),
        ]
