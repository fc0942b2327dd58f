"""Floor 3, ``--dev``: devices that are not there, so that something moves on the first screen.

They publish like real ones, through MQTT, on the topics of the ``hermes`` preset.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from hermes.ids import DeviceId, TenantId

logger = logging.getLogger(__name__)

Publish = Callable[[str, bytes], bool]  # topic, payload → whether it was taken

TENANTS = ("acme", "globex")
COUNT_PER_TENANT = 12


class _Walk:
    """A number that drifts between two bounds."""

    def __init__(self, low: float, high: float, unit: str, *, digits: int = 1) -> None:
        self._low, self._high, self._unit, self._digits = low, high, unit, digits
        self._value: float | None = None

    def payload(self, chance: random.Random) -> bytes:
        """The next value as a JSON object with its unit."""
        span = self._high - self._low
        if self._value is None:
            self._value = chance.uniform(self._low, self._high)
        self._value = min(self._high, max(self._low, self._value + chance.uniform(-span, span) / 40))
        return orjson.dumps({"value": round(self._value, self._digits or None), "unit": self._unit})


class _Choice:
    """One of some states, as plain text the way many devices send it, or as JSON."""

    def __init__(self, *states: str, as_json: bool = False) -> None:
        self._states = states
        self._as_json = as_json

    def payload(self, chance: random.Random) -> bytes:
        """The next state."""
        state = chance.choice(self._states)
        return orjson.dumps({"state": state, "battery": chance.randint(60, 100)}) if self._as_json else state.encode()


_Source = _Walk | _Choice
Series = Mapping[str, _Source]


def _climate() -> Series:
    return {
        "temp": _Walk(17, 26, "°C"),
        "humidity": _Walk(30, 65, "%", digits=0),
        "co2": _Walk(420, 1400, "ppm", digits=0),
    }


def _meter() -> Series:
    return {
        "power": _Walk(80, 3600, "W", digits=0),
        "voltage": _Walk(226, 238, "V"),
        "current": _Walk(0.4, 15, "A"),
    }


def _door() -> Series:
    return {"state": _Choice("open", "closed"), "report": _Choice("open", "closed", as_json=True)}


def _pump() -> Series:
    return {
        "pressure": _Walk(1.8, 4.2, "bar", digits=2),
        "flow": _Walk(0, 40, "l/min"),
        "mode": _Choice("auto", "boost"),
    }


KINDS: Mapping[str, Callable[[], Series]] = {"climate": _climate, "meter": _meter, "door": _door, "pump": _pump}


class SimulatedDevices:
    """Devices of several tenants, each of which publishes one of its series every ``interval_s`` seconds.

    Their turns are spread over the interval. The same ids exist in every tenant, as they may on real sites.
    """

    def __init__(
        self,
        publish: Publish,
        *,
        count_per_tenant: int = COUNT_PER_TENANT,
        tenants: Sequence[str] = TENANTS,
        interval_s: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self._publish = publish
        self._interval_s = interval_s
        self._chance = random.Random(seed)
        self._task: asyncio.Task[None] | None = None
        kinds = itertools.cycle(KINDS)
        names = [f"{kind}-{number:02}" for number, kind in zip(range(1, count_per_tenant + 1), kinds, strict=False)]
        self.device_ids: Mapping[TenantId, tuple[DeviceId, ...]] = {
            TenantId(tenant): tuple(DeviceId(name) for name in names) for tenant in tenants
        }
        self._devices = [_device(tenant, name) for name in names for tenant in tenants]

    def start(self) -> None:
        """Begin to publish, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="hermes-simulated-devices")

    async def stop(self) -> None:
        """Stop publishing; harmless if it never started or has stopped."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        pause_s = self._interval_s / max(1, len(self._devices))
        for device in itertools.cycle(self._devices):
            try:
                self._publish_next(device)
            except Exception:
                logger.exception("a simulated device could not publish")
            await asyncio.sleep(pause_s)

    def _publish_next(self, device: Iterator[tuple[str, _Source]]) -> None:
        topic, series = next(device)
        self._publish(topic, series.payload(self._chance))


def _device(tenant: str, name: str) -> Iterator[tuple[str, _Source]]:
    """The device's topics and series, in turn."""
    kind = name.partition("-")[0]
    return itertools.cycle(
        (f"tenants/{tenant}/devices/{name}/{series}", source) for series, source in KINDS[kind]().items()
    )
