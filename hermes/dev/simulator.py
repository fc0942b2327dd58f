"""The simulated devices of ``--dev``.

They publish through MQTT, as real devices do, on topics of the ``hermes`` preset.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from hermes.ids import DeviceId, TenantId

logger = logging.getLogger(__name__)

Publish = Callable[[str, bytes], bool]  # topic, payload → whether it was sent

TENANTS = ("acme", "globex")
COUNT_PER_TENANT = 12


class _Drift:
    """A number that drifts between two limits."""

    def __init__(self, low: float, high: float, unit: str, *, digits: int = 1) -> None:
        self._low, self._high, self._unit, self._digits = low, high, unit, digits
        self._value: float | None = None

    def payload(self, rng: random.Random) -> bytes:
        """Return the next value as a JSON object with its unit."""
        span = self._high - self._low
        if self._value is None:
            self._value = rng.uniform(self._low, self._high)
        self._value = min(self._high, max(self._low, self._value + rng.uniform(-span, span) / 40))
        return orjson.dumps({"value": round(self._value, self._digits or None), "unit": self._unit})


class _Choice:
    """One of several states, as plain text or as JSON: devices send both."""

    def __init__(self, *states: str, as_json: bool = False) -> None:
        self._states = states
        self._as_json = as_json

    def payload(self, rng: random.Random) -> bytes:
        """Return the next state."""
        state = rng.choice(self._states)
        return orjson.dumps({"state": state, "battery": rng.randint(60, 100)}) if self._as_json else state.encode()


_Source = _Drift | _Choice
Series = Mapping[str, _Source]


def _climate() -> Series:
    return {
        "temp": _Drift(17, 26, "°C"),
        "humidity": _Drift(30, 65, "%", digits=0),
        "co2": _Drift(420, 1400, "ppm", digits=0),
    }


def _meter() -> Series:
    return {
        "power": _Drift(80, 3600, "W", digits=0),
        "voltage": _Drift(226, 238, "V"),
        "current": _Drift(0.4, 15, "A"),
    }


def _door() -> Series:
    return {"state": _Choice("open", "closed"), "report": _Choice("open", "closed", as_json=True)}


def _pump() -> Series:
    return {
        "pressure": _Drift(1.8, 4.2, "bar", digits=2),
        "flow": _Drift(0, 40, "l/min"),
        "mode": _Choice("auto", "boost"),
    }


KINDS: Mapping[str, Callable[[], Series]] = {"climate": _climate, "meter": _meter, "door": _door, "pump": _pump}


class SimulatedDevices:
    """Devices of several tenants that publish periodically.

    Each publishes one of its series every ``interval_s`` seconds. They publish one after the other, spread over the
    interval. The same device ids exist in every tenant, as is possible on real sites. The same ``seed`` gives the same
    messages.
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
        self._rng = random.Random(seed)
        self._task: asyncio.Task[None] | None = None
        kinds = itertools.cycle(KINDS)
        names = [f"{kind}-{number:02}" for number, kind in zip(range(1, count_per_tenant + 1), kinds, strict=False)]
        self.device_ids: Mapping[TenantId, tuple[DeviceId, ...]] = {
            TenantId(tenant): tuple(DeviceId(name) for name in names) for tenant in tenants
        }
        self._devices = [_device(tenant, name) for name in names for tenant in tenants]

    def start(self) -> None:
        """Start to publish, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="hermes-simulated-devices")

    async def stop(self) -> None:
        """Stop publishing; also possible before `start`, and repeatedly."""
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
        self._publish(topic, series.payload(self._rng))


def _device(tenant: str, name: str) -> Iterator[tuple[str, _Source]]:
    """Return an endless iterator over the device's topics and series."""
    kind = name.partition("-")[0]
    return itertools.cycle(
        (f"tenants/{tenant}/devices/{name}/{series}", source) for series, source in KINDS[kind]().items()
    )
