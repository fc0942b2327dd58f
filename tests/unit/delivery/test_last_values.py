"""Last values: what is stored, which snapshot a channel gets, and the limits."""

import dataclasses
from typing import Any

import orjson
import pytest

from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.last_values import OVERHEAD_BYTES, SCANNED_AT_ONCE, LastValues, LastValuesLimits
from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.ids import DeviceId, TenantId
from hermes.metrics import Metrics
from hermes.testing import FakeClock

ACME = channels.tenant(TenantId("acme"))


def value(
    data: bytes = b"1", *, tenant: str = "acme", device: str = "d1", series: str = "temp", **options: Any
) -> DeviceMessage:
    """Return a value of this series; a retained one has no time."""
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


def status(online: bool, *, tenant: str = "acme", device: str = "d1", since_ms: int | None = 5) -> DeviceStatus:
    """Return the presence of a device."""
    return DeviceStatus(TenantId(tenant), DeviceId(device), online, since_ms)


class Memory:
    """Last values with a fake clock and their metrics."""

    def __init__(self, **limits: Any) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.values = LastValues(limits=LastValuesLimits(**limits), metrics=self.metrics, clock=self.clock)

    def snapshot(self, *names: Channel) -> list[dict[str, Any]]:
        """Return the frames for a new subscriber of these channels; of the tenant acme if none is given."""
        return [orjson.loads(each.frame.payload) for each in self.values.for_channels(names or (ACME,))]

    def data(self, *names: Channel) -> list[object]:
        """Return the data of these frames."""
        return [frame["data"] for frame in self.snapshot(*names)]

    def evicted(self, reason: str) -> float | None:
        """Return how many values were evicted for this reason."""
        return self.metrics.registry.get_sample_value("hermes_snapshot_evicted_total", {"reason": reason})

    def dropped(self, holder: str, *, store: str = "last_values") -> float | None:
        """Return how many were dropped because this holder had too much."""
        labels = {"store": store, "holder": holder}
        return self.metrics.registry.get_sample_value("hermes_share_dropped_total", labels)


def test_a_snapshot_has_the_last_value_of_each_series_with_its_own_time() -> None:
    """And no older one."""
    memory = Memory()
    for data, series in ((b"1", "temp"), (b"2", "hum"), (b"3", "temp")):
        assert memory.values.update(value(data, series=series))
    assert memory.snapshot() == [
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
    assert len(memory.values) == 2


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (ACME, [1, 2]),
        (channels.tenant(TenantId("globex")), [3]),
        (channels.device(TenantId("acme"), DeviceId("d1")), [1]),
        (channels.device(TenantId("globex"), DeviceId("d2")), []),
        (channels.device_anywhere(DeviceId("d1")), [1, 3]),
        (channels.TENANTS, [1, 2, 3]),
        (channels.tenant(TenantId("nobody")), []),
        (channels.LINK, []),
        (channels.broadcast(TenantId("acme")), []),
    ],
)
def test_a_channels_snapshot_has_what_it_would_have_received(channel: Channel, expected: list[int]) -> None:
    """Nothing of another tenant or another device."""
    memory = Memory()
    for data, tenant, device in ((b"1", "acme", "d1"), (b"2", "acme", "d2"), (b"3", "globex", "d1")):
        memory.values.update(value(data, tenant=tenant, device=device))
    assert memory.data(channel) == expected


def test_unknown_devices_leave_nothing_behind() -> None:
    """Clients can put any id into a URL."""
    memory = Memory()
    memory.snapshot(channels.device(TenantId("acme"), DeviceId("x")), channels.device_anywhere(DeviceId("x")))
    memory.values.remove_status(TenantId("acme"), DeviceId("x"))
    memory.values.retain_only(lambda tenant_id, device_id: True)
    memory.values.update(value(b"null", clears=True))
    memory.values.update(value(b"1", historical=True))
    assert memory.values._tenants == {}


def test_a_snapshot_does_not_change_afterwards() -> None:
    """It has the values of the iteration in which it was made."""
    memory = Memory()
    memory.values.update(value(b"1"))
    snapshot = memory.values.for_channels([ACME])
    memory.values.update(value(b"2"))
    assert [orjson.loads(each.frame.payload)["data"] for each in snapshot] == [1]


def test_the_frame_is_encoded_once_for_all_sockets() -> None:
    """Thousands may reconnect at once."""
    memory = Memory()
    memory.values.update(value())
    (first,), (second,) = memory.values.for_channels([ACME]), memory.values.for_channels([ACME])
    assert first.frame is second.frame


# -- retained messages ----------------------------------------------------------------------------------------------


def test_a_retained_value_is_marked_and_has_no_time() -> None:
    """Its age is unknown."""
    memory = Memory()
    assert memory.values.update(value(b"7", retained=True))
    (frame,) = memory.snapshot()
    assert frame["timestamp"] is None
    assert frame["retained"] is frame["snapshot"] is True


def test_a_retained_value_that_is_known_is_not_new() -> None:
    """The broker sends all of them again after a reconnection."""
    memory = Memory()
    memory.values.update(value(b"7", retained=True))
    assert not memory.values.update(value(b"7", retained=True))
    memory.values.update(value(b"8"))
    assert not memory.values.update(value(b"8", retained=True)), "it was received live"
    assert memory.snapshot()[0]["timestamp"] == 1_763_836_800_123


def test_a_retained_value_is_not_new_if_the_device_has_sent_another_since() -> None:
    """The device published one retained value, and then others that are not retained."""
    memory = Memory()
    memory.values.update(value(b"1", retained=True))
    memory.values.update(value(b"2"))
    assert not memory.values.update(value(b"1", retained=True))
    assert memory.data() == [2]


def test_a_retained_value_that_changed_during_an_outage_is_new() -> None:
    """It was published while Hermes was disconnected."""
    memory = Memory()
    memory.values.update(value(b"1", retained=True))
    assert memory.values.update(value(b"2", retained=True))
    assert memory.data() == [2]
    assert not memory.values.update(value(b"2", retained=True))


def test_the_same_bytes_in_another_encoding_are_new() -> None:
    """The text "1" is not the number 1."""
    memory = Memory()
    memory.values.update(value(b'"x"', encoding="text"))
    assert memory.values.update(value(b'"x"', retained=True))


# -- what is removed ------------------------------------------------------------------------------------------------


def test_an_empty_payload_clears_the_value() -> None:
    """Subscribers get it; a later snapshot does not contain it."""
    memory = Memory()
    memory.values.update(value(b"1"))
    assert memory.values.update(value(b"null", clears=True))
    assert memory.snapshot() == []
    assert (len(memory.values), memory.values.size_bytes) == (0, 0)


def test_a_json_null_is_a_value() -> None:
    """Only an empty payload clears."""
    memory = Memory()
    memory.values.update(value(b"null"))
    assert memory.data() == [None]


def test_a_historical_value_is_new_but_not_the_last_value() -> None:
    """The device sends an older value late."""
    memory = Memory()
    memory.values.update(value(b"2"))
    assert memory.values.update(value(b"1", historical=True))
    assert memory.data() == [2]


def test_the_number_of_values_is_bounded_and_the_oldest_update_is_evicted_first() -> None:
    """The eviction is counted."""
    memory = Memory(max_values=3)
    for data, series in ((b"1", "a"), (b"2", "b"), (b"3", "c"), (b"4", "a"), (b"5", "d")):
        memory.values.update(value(data, series=series))
    assert sorted(frame["series"] for frame in memory.snapshot()) == ["a", "c", "d"]
    assert memory.evicted("count") == 1


def test_their_bytes_are_bounded() -> None:
    """A larger value evicts several; one that exceeds the limit alone is not stored."""
    memory = Memory(max_bytes=10 * (OVERHEAD_BYTES + 100))
    for number in range(9):
        memory.values.update(value(series=str(number)))
    memory.values.update(value(b'"%s"' % (b"x" * 2_000), series="large"))
    assert memory.values.size_bytes <= 10 * (OVERHEAD_BYTES + 100)
    stored = {frame["series"] for frame in memory.snapshot()}
    assert "large" in stored
    assert "0" not in stored
    assert "8" in stored
    memory.values.update(value(b'"%s"' % (b"x" * 20_000), series="larger"))
    assert (memory.snapshot(), memory.values.size_bytes) == ([], 0)


def test_the_size_is_recounted_when_a_value_changes() -> None:
    """Otherwise the total would grow, or become negative."""
    memory = Memory()
    for size in (10, 5_000, 3, 800):
        memory.values.update(value(b'"%s"' % (b"x" * size)))
    memory.values.update(value(b"null", clears=True))
    assert memory.values.size_bytes == 0


def test_values_without_an_update_for_too_long_are_evicted() -> None:
    """Presence is not evicted: devices send it only when it changes."""
    memory = Memory(max_age_s=100)
    memory.values.update(value(b"1", series="old"))
    memory.values.update_status(status(True))
    memory.clock.now_s += 60
    memory.values.update(value(b"2", series="new"))
    memory.clock.now_s += 40
    memory.values.expire()
    assert [frame.get("series", frame["channel"]) for frame in memory.snapshot()] == ["new", "status"]
    assert memory.evicted("age") == 1
    assert memory.metrics.registry.get_sample_value("hermes_snapshot_values") == 1


def test_all_but_some_devices_can_be_removed() -> None:
    """When Hermes no longer gets the data of the others."""
    memory = Memory()
    for device in ("d1", "d2", "d3"):
        memory.values.update(value(device=device))
        memory.values.update_status(status(True, device=device))
    memory.values.update(value(tenant="globex"))
    memory.values.retain_only(lambda tenant_id, device_id: (tenant_id, device_id) == ("acme", "d2"))
    assert [(frame["channel"], frame["device_id"]) for frame in memory.snapshot()] == [
        ("device", "d2"),
        ("status", "d2"),
    ]
    assert len(memory.values) == 1


# -- presence -------------------------------------------------------------------------------------------------------


def test_presence_follows_the_values() -> None:
    """With the time of its last change."""
    memory = Memory()
    memory.values.update_status(status(False, since_ms=None))
    memory.values.update(value())
    assert [frame["channel"] for frame in memory.snapshot()] == ["device", "status"]
    assert memory.snapshot()[1] == {
        "channel": "status",
        "tenant_id": "acme",
        "device_id": "d1",
        "online": False,
        "since": None,
    }


def test_presence_that_does_not_change_is_not_new_and_its_time_stays() -> None:
    """A device may send it with every report."""
    memory = Memory()
    assert memory.values.update_status(status(True, since_ms=1))
    assert not memory.values.update_status(status(True, since_ms=2))
    assert memory.snapshot()[0]["since"] == 1
    assert memory.values.update_status(status(False, since_ms=3))
    assert memory.snapshot()[0]["since"] == 3


def test_presence_can_be_removed() -> None:
    """A device without anything else is removed, too."""
    memory = Memory()
    memory.values.update_status(status(True))
    assert memory.values.remove_status(TenantId("acme"), DeviceId("d1")) == status(True)
    assert memory.values.remove_status(TenantId("acme"), DeviceId("d1")) is None
    assert memory.values._tenants == {}


def test_the_number_of_presences_is_bounded() -> None:
    """By the same limit as the values."""
    memory = Memory(max_values=2)
    for device in ("d1", "d2", "d3"):
        memory.values.update_status(status(True, device=device))
    assert [frame["device_id"] for frame in memory.snapshot()] == ["d2", "d3"]
    assert memory.evicted("count") == 1


# -- fair shares ----------------------------------------------------------------------------------------------------

GLOBEX = channels.tenant(TenantId("globex"))


def test_a_device_with_many_series_displaces_only_its_own_values() -> None:
    """Neither another tenant's value nor one of the tenant's other devices, although those are older."""
    memory = Memory(max_values=100)
    memory.values.update(value(b"1", tenant="globex"))
    memory.values.update(value(b"2", device="quiet"))
    for number in range(1_000):
        memory.values.update(value(device="loud", series=str(number)))
    assert memory.data(GLOBEX) == [1]
    assert memory.data(channels.device(TenantId("acme"), DeviceId("quiet"))) == [2]
    assert memory.evicted("count") == memory.dropped("device") == 902


def test_a_tenant_with_many_devices_displaces_only_its_own_values() -> None:
    """Half of the memory is left to the others when they need it."""
    memory = Memory(max_values=100)
    for number in range(1_000):
        memory.values.update(value(device=str(number)))
    assert len(memory.data(ACME)) == 100, "it may have all of it while it is alone"
    for number in range(50):
        memory.values.update(value(tenant="globex", device=str(number)))
        for series in range(10):
            memory.values.update(value(device=f"d{number}", series=str(series)))
    assert (len(memory.data(GLOBEX)), len(memory.data(ACME))) == (50, 50)
    assert memory.evicted("count") == memory.dropped("tenant") == 1_450


def test_large_values_of_one_tenant_displace_only_its_own() -> None:
    """The limit of bytes is shared like that of their number."""
    memory = Memory(max_bytes=40 * (OVERHEAD_BYTES + 100))
    for number in range(10):
        memory.values.update(value(tenant="globex", series=str(number)))
    for number in range(100):
        memory.values.update(value(b'"%s"' % (b"x" * 5_000), series=str(number)))
    memory.values.update(value(b'"%s"' % (b"x" * 100_000), series="larger than the memory"))
    assert len(memory.data(GLOBEX)) == 10
    assert memory.evicted("bytes") == memory.dropped("device")


def test_a_value_that_grows_counts_for_its_tenant() -> None:
    """Its series is known, so nothing is added."""
    memory = Memory(max_bytes=10 * OVERHEAD_BYTES)
    for number in range(4):
        memory.values.update(value(tenant="globex", series=str(number)))
    for size in (1, 1_000, 2_000, 3_000):
        memory.values.update(value(b'"%s"' % (b"x" * size)))
    assert len(memory.data(GLOBEX)) == 4
    assert memory.data(ACME) == []


def test_what_is_cleared_expired_or_not_watched_is_no_share_any_longer() -> None:
    """Afterwards the other tenant is the one with more than half."""
    memory = Memory(max_values=10, max_age_s=100)
    for number in range(10):
        memory.values.update(value(series=str(number)))
    for number in range(3):
        memory.values.update(value(b"null", series=str(number), clears=True))
    memory.clock.now_s += 100
    memory.values.update(value(series="8"))
    memory.values.expire()
    memory.values.retain_only(lambda tenant_id, device_id: False)
    assert (len(memory.values), memory.values.size_bytes) == (0, 0)
    memory.values.update(value(b"7", retained=True))
    for number in range(20):
        memory.values.update(value(tenant="globex", series=str(number)))
    assert memory.data(ACME) == [7]
    assert not memory.values.update(value(b"7", retained=True)), "it is still known"


def test_presences_of_one_tenant_displace_only_its_own() -> None:
    """They have the same shares."""
    memory = Memory(max_values=10)
    memory.values.update_status(status(True, tenant="globex"))
    for number in range(100):
        memory.values.update_status(status(True, device=str(number)))
    assert [frame["channel"] for frame in memory.snapshot(GLOBEX)] == ["status"]
    assert memory.dropped("tenant", store="presence") == memory.evicted("count") == 91
    assert memory.values.remove_status(TenantId("acme"), DeviceId("99")) == status(True, device="99")


# -- outages --------------------------------------------------------------------------------------------------------


def retained(data: bytes = b"21", **options: Any) -> DeviceMessage:
    """Return a retained value."""
    return value(data, retained=True, **options)


def marks(memory: Memory) -> dict[str, bool]:
    """Return which series, and which device's presence, the snapshot marks as stale."""
    return {frame.get("series") or frame["device_id"]: frame.get("stale", False) for frame in memory.snapshot()}


def removed(memory: Memory) -> list[DeviceMessage | DeviceStatus]:
    """Return what is published when the broker has sent all retained messages."""
    return [update for update in memory.values.remove_unconfirmed() if update is not None]


def test_after_an_outage_everything_is_stale_until_it_is_confirmed() -> None:
    """By the broker, which sends it again, or by the device."""
    memory = Memory()
    for series in ("sent_again", "spoken", "silent"):
        memory.values.update(retained(series=series))
    memory.values.update_status(status(True))
    assert not any(marks(memory).values())
    memory.values.link_lost()
    assert marks(memory) == {"sent_again": True, "spoken": True, "silent": True, "d1": True}
    memory.values.update(retained(series="sent_again"))
    memory.values.update(value(b"22", series="spoken"))
    memory.values.update_status(status(True))
    assert marks(memory) == {"sent_again": False, "spoken": False, "silent": True, "d1": False}


def test_a_value_that_the_broker_does_not_retain_any_more_is_removed() -> None:
    """It was cleared while the link was lost; its clearing is published, and counted."""
    memory = Memory()
    memory.values.update(retained(device="d1"))
    memory.values.update(retained(device="d2"))
    memory.values.link_lost()
    memory.values.update(retained(device="d2"))
    (cleared,) = removed(memory)
    assert isinstance(cleared, DeviceMessage)
    assert (cleared.device_id, cleared.data, cleared.clears, cleared.retained) == ("d1", b"null", True, False)
    assert cleared.timestamp_ms is not None
    assert [frame["device_id"] for frame in memory.snapshot()] == ["d2"]
    assert memory.evicted("outage") == 1
    assert removed(memory) == []


def test_a_value_that_was_not_received_as_retained_stays_and_stays_stale() -> None:
    """Nothing tells whether it was cleared; the next value of the device ends that."""
    memory = Memory()
    memory.values.update(value(b"1"))
    memory.values.link_lost()
    assert removed(memory) == []
    assert marks(memory) == {"temp": True}
    memory.values.update(value(b"1"))
    assert marks(memory) == {"temp": False}


def test_a_value_with_a_retained_copy_that_the_device_has_replaced_is_removed_with_the_copy() -> None:
    """While the copy is there, the newer value stays, but nothing confirms it."""
    memory = Memory()
    memory.values.update(retained(b"21"))
    memory.values.update(value(b"22"))
    memory.values.link_lost()
    assert memory.values.update(retained(b"21")) is None
    assert removed(memory) == []
    assert (memory.data(), marks(memory)) == ([22], {"temp": True})
    memory.values.link_lost()
    assert [update.data for update in removed(memory) if isinstance(update, DeviceMessage)] == [b"null"]


def test_a_value_of_the_device_after_the_outage_is_not_removed_then_or_later() -> None:
    """Also if it is not retained: the copy that the broker had is gone since the first outage."""
    memory = Memory()
    memory.values.update(retained(b"21"))
    memory.values.link_lost()
    memory.values.update(value(b"30"))
    assert removed(memory) == []
    memory.values.link_lost()
    assert removed(memory) == []
    assert (memory.data(), marks(memory)) == ([30], {"temp": True})


def test_several_outages_in_a_row_count_as_one_until_the_broker_has_sent_everything() -> None:
    """What was confirmed in between is stale again."""
    memory = Memory()
    memory.values.update(retained(series="a"))
    memory.values.update(retained(series="b"))
    for _ in range(3):
        memory.values.link_lost()
        memory.values.update(retained(series="a"))
        assert marks(memory) == {"a": False, "b": True}
    memory.values.link_lost()
    assert marks(memory) == {"a": True, "b": True}
    memory.values.update(retained(series="b"))
    assert [update.series for update in removed(memory) if isinstance(update, DeviceMessage)] == ["a"]


def test_what_arrives_during_the_removal_is_not_removed() -> None:
    """The removal is done in parts; a new outage does not widen it, or end it."""
    memory = Memory()
    for number in range(120):
        memory.values.update(retained(series=f"s{number}"))
    memory.values.link_lost()
    updates = memory.values.remove_unconfirmed()
    first = next(updates)
    assert isinstance(first, DeviceMessage)
    memory.values.update(value(b"5", series="s30"))
    memory.values.update(retained(series="s100"))
    memory.values.link_lost()
    memory.values.update(retained(series="new"))
    rest = [update.series for update in updates if isinstance(update, DeviceMessage)]
    assert len(rest) == 117
    assert sorted(frame["series"] for frame in memory.snapshot()) == ["new", "s100", "s30"]


def test_presence_that_is_not_confirmed_becomes_unknown() -> None:
    """Online or offline; later sockets get that too, until the device reports again."""
    memory = Memory()
    for device, online in (("d1", True), ("d2", False), ("d3", True)):
        memory.values.update_status(status(online, device=device))
    memory.values.link_lost()
    memory.values.update_status(status(True, device="d3"))
    unknown = removed(memory)
    assert [(each.device_id, each.online) for each in unknown if isinstance(each, DeviceStatus)] == [
        ("d1", None),
        ("d2", None),
    ]
    assert {frame["device_id"]: frame["online"] for frame in memory.snapshot()} == {"d1": None, "d2": None, "d3": True}
    assert not any("stale" in frame for frame in memory.snapshot())
    assert memory.values.update_status(status(True)) == status(True)
    memory.values.link_lost()
    assert {frame["device_id"] for frame in memory.snapshot() if "stale" in frame} == {"d1", "d3"}


def test_a_socket_that_got_a_value_as_stale_learns_that_it_is_current() -> None:
    """The broker sends it again: it is published once more, with its own time. Others do not need that."""
    memory = Memory()
    for series in ("seen", "unseen"):
        memory.values.update(value(b"1", series=series))
    memory.values.update_status(status(True))
    memory.values.link_lost()
    values = memory.values.for_channels([ACME])
    stale = [each.frame for each in values if getattr(each.message, "series", "") != "unseen"]
    assert len(stale) == 2
    again = memory.values.update(value(b"1", series="seen", retained=True))
    assert again is not None
    assert (again.retained, again.timestamp_ms) == (False, 1_763_836_800_123)
    assert memory.values.update(value(b"1", series="unseen", retained=True)) is None
    assert memory.values.update_status(status(True, since_ms=None)) == status(True)
    assert not any(marks(memory).values())
    assert memory.values.update(value(b"1", series="seen", retained=True)) is None


def test_a_snapshot_that_waits_has_the_marks_of_the_moment_in_which_it_is_sent() -> None:
    """A slow socket gets no mark that is out of date, and misses none."""
    memory = Memory()
    memory.values.update(retained())
    snapshot = memory.values.for_channels([ACME])
    memory.values.link_lost()
    assert orjson.loads(snapshot[0].frame.payload)["stale"] is True
    memory.values.update(retained())
    assert "stale" not in orjson.loads(snapshot[0].frame.payload)


def test_values_of_topics_that_are_gone_are_removed() -> None:
    """With the presence that they reported; other values and presences stay."""
    memory = Memory()
    memory.values.update(value(series="temp"))
    memory.values.update(value(series="online"))
    memory.values.update_status(DeviceStatus(TenantId("acme"), DeviceId("d1"), True, 5, "old/online"))
    memory.values.update_status(DeviceStatus(TenantId("acme"), DeviceId("d2"), True, 5, "new/online"))
    gone = ("tenants/acme/devices/d1/online", "old/online")
    updates = [update for update in memory.values.remove_topics(gone.__contains__) if update is not None]
    first, second = updates
    assert isinstance(first, DeviceMessage)
    assert isinstance(second, DeviceStatus)
    assert (first.series, first.clears) == ("online", True)
    assert (second.device_id, second.online) == ("d1", None)
    assert [(frame["device_id"], frame.get("online")) for frame in memory.snapshot()] == [("d1", None), ("d2", True)]
    assert memory.evicted("topics") == 1


def test_a_removal_of_100_000_values_is_done_in_parts() -> None:
    """The iterator comes back after each value that it removes, and after every few that it does not."""
    memory = Memory()
    for number in range(2_000):
        memory.values.update(value(series=f"s{number}"))
    memory.values.link_lost()
    steps = list(memory.values.remove_unconfirmed())
    assert steps == [None] * (2_000 // SCANNED_AT_ONCE)


# -- the parts of messages -------------------------------------------------------------------------------------------


def test_the_parts_of_a_topic_are_those_that_are_stored() -> None:
    """Not one that was evicted, cleared, or replaced by a value of another topic."""
    memory = Memory(max_values=3)
    for series in ("a", "b", "c"):
        part = dataclasses.replace(value(series=series), topic="gateway")
        memory.values.update(part)
        memory.values.add_part(part)
    assert [part.series for part in memory.values.parts_of("gateway")] == ["a", "b", "c"]
    memory.values.update(value(series="d"))  # evicts a
    memory.values.update(value(series="b"))  # of a topic of its own
    assert [part.series for part in memory.values.parts_of("gateway")] == ["c"]
    memory.values.update(value(series="c", clears=True))
    memory.values.add_part(value(series="c", clears=True))
    assert memory.values.parts_of("gateway") == []
    assert memory.values._parts == {}


def test_a_part_that_another_topic_replaces_belongs_to_that() -> None:
    """Each value is a part of one topic at most."""
    memory = Memory()
    for topic in ("one", "two"):
        part = dataclasses.replace(value(), topic=topic)
        memory.values.update(part)
        memory.values.add_part(part)
    assert memory.values.parts_of("one") == []
    assert len(memory.values.parts_of("two")) == 1
