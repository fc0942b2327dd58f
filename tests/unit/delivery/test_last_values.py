"""The memory of last values: what it learns, what it tells whom, and what bounds it."""

from typing import Any

import orjson
import pytest

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.last_values import OVERHEAD_BYTES, LastValues, LastValuesLimits
from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.ids import DeviceId, TenantId
from hermes.metrics import Metrics
from tests.support.fakes import FakeClock

ACME = channels.tenant(TenantId("acme"))


def value(
    data: bytes = b"1", *, tenant: str = "acme", device: str = "d1", series: str = "temp", **options: Any
) -> DeviceMessage:
    """A value of that series; a retained one has no time."""
    retained = options.get("retained", False)
    return DeviceMessage(
        tenant_id=TenantId(tenant),
        device_id=DeviceId(device),
        series=series,
        topic=f"tenants/{tenant}/devices/{device}/{series}",
        data=data,
        timestamp_ms=None if retained else 1_763_836_800_123,
        **options,
    )


def status(online: bool, *, device: str = "d1", since_ms: int | None = 5) -> DeviceStatus:
    """What a device of acme is."""
    return DeviceStatus(TenantId("acme"), DeviceId(device), online, since_ms)


class Memory:
    """A snapshot with its clock and counters."""

    def __init__(self, **limits: Any) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.snapshot = LastValues(limits=LastValuesLimits(**limits), metrics=self.metrics, clock=self.clock)

    def told(self, *heard: Channel) -> list[dict[str, Any]]:
        """The frames for those who begin to hear these channels; the tenant acme where none is named."""
        return [orjson.loads(each.frame.payload) for each in self.snapshot.for_channels(heard or (ACME,))]

    def data(self, *heard: Channel) -> list[object]:
        """Their data."""
        return [frame["data"] for frame in self.told(*heard)]

    def evicted(self, reason: str) -> float | None:
        """How many were forgotten for this reason."""
        return self.metrics.registry.get_sample_value("hermes_snapshot_evicted_total", {"reason": reason})


def test_the_last_value_of_each_series_is_told_with_its_own_time() -> None:
    """An older one of the same series is not."""
    memory = Memory()
    for data, series in ((b"1", "temp"), (b"2", "hum"), (b"3", "temp")):
        assert memory.snapshot.update(value(data, series=series))
    assert memory.told() == [
        {
            "channel": "device",
            "tenant_id": "acme",
            "device_id": "d1",
            "series": series,
            "topic": f"tenants/acme/devices/d1/{series}",
            "data": data,
            "timestamp": 1_763_836_800_123,
            "snapshot": True,
        }
        for data, series in ((3, "temp"), (2, "hum"))
    ]
    assert len(memory.snapshot) == 2


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (ACME, [1, 2]),
        (channels.tenant(TenantId("globex")), [3]),
        (channels.device(TenantId("acme"), DeviceId("d1")), [1]),
        (channels.device(TenantId("globex"), DeviceId("d2")), []),
        (channels.device_anywhere(DeviceId("d1")), [1, 3]),
        (channels.tenant(TenantId("nobody")), []),
        (channels.LINK, []),
        (channels.broadcast(TenantId("acme")), []),
    ],
)
def test_a_channel_is_told_what_it_would_have_heard(channel: Channel, expected: list[int]) -> None:
    """No other tenant's, no other device's."""
    memory = Memory()
    for data, tenant, device in ((b"1", "acme", "d1"), (b"2", "acme", "d2"), (b"3", "globex", "d1")):
        memory.snapshot.update(value(data, tenant=tenant, device=device))
    assert memory.data(channel) == expected


def test_asking_for_what_nobody_has_leaves_nothing_behind() -> None:
    """Ids in URLs are free to invent."""
    memory = Memory()
    memory.told(channels.device(TenantId("acme"), DeviceId("x")), channels.device_anywhere(DeviceId("x")))
    memory.snapshot.forget_status(TenantId("acme"), DeviceId("x"))
    memory.snapshot.retain_only(lambda tenant_id, device_id: True)
    memory.snapshot.update(value(b"null", clears=True))
    memory.snapshot.update(value(b"1", historical=True))
    assert memory.snapshot._tenants == {}


def test_a_copy_does_not_change_with_what_comes_later() -> None:
    """It is what was known in the turn in which it was taken."""
    memory = Memory()
    memory.snapshot.update(value(b"1"))
    copy = memory.snapshot.for_channels([ACME])
    memory.snapshot.update(value(b"2"))
    assert [orjson.loads(each.frame.payload)["data"] for each in copy] == [1]


def test_the_frame_is_made_once_for_all() -> None:
    """Thousands may come back at once."""
    memory = Memory()
    memory.snapshot.update(value())
    (first,), (second,) = memory.snapshot.for_channels([ACME]), memory.snapshot.for_channels([ACME])
    assert first.frame is second.frame


# -- what the broker had kept ---------------------------------------------------------------------------------------


def test_a_kept_value_is_told_as_kept_and_without_a_time() -> None:
    """Nobody knows how old it is."""
    memory = Memory()
    assert memory.snapshot.update(value(b"7", retained=True))
    (frame,) = memory.told()
    assert frame["timestamp"] is None
    assert frame["retained"] is frame["snapshot"] is True


def test_a_kept_value_that_is_known_is_no_news() -> None:
    """The broker tells all of them again after a reconnect."""
    memory = Memory()
    memory.snapshot.update(value(b"7", retained=True))
    assert not memory.snapshot.update(value(b"7", retained=True))
    memory.snapshot.update(value(b"8"))
    assert not memory.snapshot.update(value(b"8", retained=True)), "this is what was heard live"
    assert memory.told()[0]["timestamp"] == 1_763_836_800_123


def test_a_kept_value_is_no_news_where_the_device_has_said_something_since() -> None:
    """It kept one value and went on without keeping the later ones."""
    memory = Memory()
    memory.snapshot.update(value(b"1", retained=True))
    memory.snapshot.update(value(b"2"))
    assert not memory.snapshot.update(value(b"1", retained=True))
    assert memory.data() == [2]


def test_a_kept_value_that_changed_while_we_were_away_is_news() -> None:
    """It was published during the outage."""
    memory = Memory()
    memory.snapshot.update(value(b"1", retained=True))
    assert memory.snapshot.update(value(b"2", retained=True))
    assert memory.data() == [2]
    assert not memory.snapshot.update(value(b"2", retained=True))


def test_the_same_bytes_in_another_encoding_are_news() -> None:
    """The text "1" is not the number."""
    memory = Memory()
    memory.snapshot.update(value(b'"x"', encoding="text"))
    assert memory.snapshot.update(value(b'"x"', retained=True))


# -- what is forgotten ----------------------------------------------------------------------------------------------


def test_an_empty_payload_clears_the_value() -> None:
    """It is news for those who listen, and nothing for those who come later."""
    memory = Memory()
    memory.snapshot.update(value(b"1"))
    assert memory.snapshot.update(value(b"null", clears=True))
    assert memory.told() == []
    assert (len(memory.snapshot), memory.snapshot.size_bytes) == (0, 0)


def test_a_json_null_is_a_value() -> None:
    """Only an empty payload clears."""
    memory = Memory()
    memory.snapshot.update(value(b"null"))
    assert memory.data() == [None]


def test_a_historical_value_is_news_but_no_last_value() -> None:
    """The device tells late what was before."""
    memory = Memory()
    memory.snapshot.update(value(b"2"))
    assert memory.snapshot.update(value(b"1", historical=True))
    assert memory.data() == [2]


def test_the_number_of_values_is_bounded_and_the_least_renewed_goes_first() -> None:
    """It is counted."""
    memory = Memory(max_values=3)
    for data, series in ((b"1", "a"), (b"2", "b"), (b"3", "c"), (b"4", "a"), (b"5", "d")):
        memory.snapshot.update(value(data, series=series))
    assert sorted(frame["series"] for frame in memory.told()) == ["a", "c", "d"]
    assert memory.evicted("count") == 1


def test_their_bytes_are_bounded() -> None:
    """A larger value pushes out several; one that is larger than all is not kept at all."""
    memory = Memory(max_bytes=10 * (OVERHEAD_BYTES + 100))
    for number in range(9):
        memory.snapshot.update(value(series=str(number)))
    memory.snapshot.update(value(b'"%s"' % (b"x" * 2_000), series="large"))
    assert memory.snapshot.size_bytes <= 10 * (OVERHEAD_BYTES + 100)
    kept = {frame["series"] for frame in memory.told()}
    assert "large" in kept
    assert "0" not in kept
    assert "8" in kept
    memory.snapshot.update(value(b'"%s"' % (b"x" * 20_000), series="larger"))
    assert (memory.told(), memory.snapshot.size_bytes) == ([], 0)


def test_sizes_are_counted_anew_when_a_value_changes() -> None:
    """Else they would grow, or fall below nothing."""
    memory = Memory()
    for size in (10, 5_000, 3, 800):
        memory.snapshot.update(value(b'"%s"' % (b"x" * size)))
    memory.snapshot.update(value(b"null", clears=True))
    assert memory.snapshot.size_bytes == 0


def test_what_is_not_renewed_for_too_long_is_forgotten() -> None:
    """Presence is not: it is told only when it changes."""
    memory = Memory(max_age_s=100)
    memory.snapshot.update(value(b"1", series="old"))
    memory.snapshot.update_status(status(True))
    memory.clock.now_s += 60
    memory.snapshot.update(value(b"2", series="new"))
    memory.clock.now_s += 40
    memory.snapshot.expire()
    assert [frame.get("series", frame["channel"]) for frame in memory.told()] == ["new", "status"]
    assert memory.evicted("age") == 1
    assert memory.metrics.registry.get_sample_value("hermes_snapshot_values") == 1


def test_all_but_some_devices_can_be_forgotten() -> None:
    """When nobody tells any more what becomes of the others."""
    memory = Memory()
    for device in ("d1", "d2", "d3"):
        memory.snapshot.update(value(device=device))
        memory.snapshot.update_status(status(True, device=device))
    memory.snapshot.update(value(tenant="globex"))
    memory.snapshot.retain_only(lambda tenant_id, device_id: (tenant_id, device_id) == ("acme", "d2"))
    assert [(frame["channel"], frame["device_id"]) for frame in memory.told()] == [("device", "d2"), ("status", "d2")]
    assert len(memory.snapshot) == 1


# -- presence -------------------------------------------------------------------------------------------------------


def test_presence_comes_after_the_values() -> None:
    """With the time since when it is so."""
    memory = Memory()
    memory.snapshot.update_status(status(False, since_ms=None))
    memory.snapshot.update(value())
    assert [frame["channel"] for frame in memory.told()] == ["device", "status"]
    assert memory.told()[1] == {
        "channel": "status",
        "tenant_id": "acme",
        "device_id": "d1",
        "online": False,
        "since": None,
    }


def test_presence_that_does_not_change_is_no_news_and_keeps_its_time() -> None:
    """A device may say it with every report."""
    memory = Memory()
    assert memory.snapshot.update_status(status(True, since_ms=1))
    assert not memory.snapshot.update_status(status(True, since_ms=2))
    assert memory.told()[0]["since"] == 1
    assert memory.snapshot.update_status(status(False, since_ms=3))
    assert memory.told()[0]["since"] == 3


def test_presence_can_be_taken_back() -> None:
    """And the device that has nothing else is gone."""
    memory = Memory()
    memory.snapshot.update_status(status(True))
    assert memory.snapshot.forget_status(TenantId("acme"), DeviceId("d1")) == status(True)
    assert memory.snapshot.forget_status(TenantId("acme"), DeviceId("d1")) is None
    assert memory.snapshot._tenants == {}


def test_the_number_of_presences_is_bounded() -> None:
    """By the same bound as the values."""
    memory = Memory(max_values=2)
    for device in ("d1", "d2", "d3"):
        memory.snapshot.update_status(status(True, device=device))
    assert [frame["device_id"] for frame in memory.told()] == ["d2", "d3"]
    assert memory.evicted("count") == 1
