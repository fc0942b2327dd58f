"""The send queue of a slow socket: bounded, in order, only the latest telemetry of each series."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.delivery.frames import Frame
from hermes.delivery.last_values import LastValue
from hermes.delivery.messages import DeviceMessage
from hermes.delivery.outbox import Outbox, OutboxLimits
from hermes.ids import DeviceId, TenantId


def notifications(*sizes: int) -> list[Frame]:
    """Return frames with payloads of these sizes, plus two header bytes each."""
    return [Frame(b"x" * size) for size in sizes]


def value(number: int, series: str = "t", padding: int = 0) -> Frame:
    """Return a device's value; values are published in the order of their numbers."""
    payload = json.dumps({"series": series, "n": number, "pad": "x" * padding}).encode()
    return Frame(payload, (TenantId("acme"), DeviceId("d1"), series))


def summary(frames: list[Frame]) -> list[tuple[str, int, int]]:
    """Return series, number and skipped of each frame."""
    parsed = [json.loads(frame.payload) for frame in frames]
    return [(fields["series"], fields["n"], fields.get("skipped", 0)) for fields in parsed]


CONFLATING = OutboxLimits(max_messages=1)
FIRST = value(-1, "first")  # it waits in full; the telemetry after it is conflated


def pop_all(outbox: Outbox) -> list[Frame]:
    """Return all waiting frames, popped in small parts."""
    popped: list[Frame] = []
    while len(outbox):
        popped += outbox.pop(100)
    return popped


def test_notifications_are_sent_in_the_order_in_which_they_were_queued() -> None:
    """First in, first out, in parts of about the requested size."""
    outbox = Outbox(OutboxLimits())
    first, second, third = notifications(8, 8, 8)
    assert outbox.put([first, second])
    assert outbox.put([third])
    assert outbox.pop(20) == [first, second]
    assert outbox.pop(20) == [third]
    assert outbox.pop(20) == []


def test_a_frame_larger_than_the_requested_part_is_sent_alone() -> None:
    """Otherwise it would never be sent."""
    outbox = Outbox(OutboxLimits())
    outbox.put(notifications(100, 8))
    assert [len(frame) for frame in outbox.pop(20)] == [102]
    outbox.clear()
    outbox.put([value(1, "a", padding=100), value(2, "b")])
    assert summary(outbox.pop(20)) == [("a", 1, 0)]
    assert summary(outbox.pop(20)) == [("b", 2, 0)]


def test_notifications_over_the_limit_of_messages_are_rejected() -> None:
    """Then the socket must be closed."""
    outbox = Outbox(OutboxLimits(max_messages=3))
    assert outbox.put(notifications(1, 1, 1))
    assert not outbox.put(notifications(1))


def test_the_limits_are_exact() -> None:
    """That many bytes are accepted, and not one more."""
    two = notifications(48, 48)
    assert Outbox(OutboxLimits(max_bytes=100)).put(two)
    assert not Outbox(OutboxLimits(max_bytes=99)).put(two)
    values = [value(1, "a"), value(2, "b"), value(3, "c")]
    size_bytes = len(values[0])
    assert {len(frame) for frame in values} == {size_bytes}
    in_full = Outbox(OutboxLimits(max_bytes=2 * size_bytes))
    in_full.put([value(1, "a")] * 2)
    assert in_full.skipped == 0
    conflating = Outbox(OutboxLimits(max_bytes=2 * size_bytes - 1))
    conflating.put([value(1, "a")] * 3)
    assert conflating.skipped == 1
    assert Outbox(OutboxLimits(max_messages=1, conflated_max_bytes=2 * size_bytes)).put(values)
    assert not Outbox(OutboxLimits(max_messages=1, conflated_max_bytes=2 * size_bytes - 1)).put(values)


def test_a_part_counts_notifications_and_telemetry_together() -> None:
    """It contains no telemetry while notifications wait."""
    outbox = Outbox(OutboxLimits())
    telemetry = value(1)
    outbox.put([telemetry, *notifications(38, 38)])
    assert [len(frame) for frame in outbox.pop(40)] == [40]
    assert [len(frame) for frame in outbox.pop(40 + len(telemetry) - 1)] == [40]
    assert outbox.pop(1_000) == [telemetry]


def test_notifications_over_the_limit_of_bytes_are_rejected() -> None:
    """But one larger frame may wait alone."""
    outbox = Outbox(OutboxLimits(max_bytes=100))
    assert outbox.put(notifications(200))
    outbox.pop(1)
    assert outbox.put(notifications(60))
    assert not outbox.put(notifications(60))


def test_telemetry_waits_in_full_up_to_the_limit() -> None:
    """A client that was busy for a moment loses nothing."""
    outbox = Outbox(OutboxLimits(max_messages=100))
    assert outbox.put([value(n) for n in range(100)])
    assert summary(outbox.pop(100_000)) == [("t", n, 0) for n in range(100)]
    assert outbox.skipped == 0


@pytest.mark.parametrize("limits", [OutboxLimits(max_messages=3), OutboxLimits(max_bytes=120)], ids=str)
def test_above_it_only_the_latest_value_of_a_series_waits_and_counts_the_skipped_ones(limits: OutboxLimits) -> None:
    """Received plus skipped equals published."""
    outbox = Outbox(limits)
    assert outbox.put([value(n) for n in range(1_000)])
    assert len(outbox) == 4
    assert summary(outbox.pop(1_000)) == [("t", 0, 0), ("t", 1, 0), ("t", 2, 0)]
    assert summary(outbox.pop(1_000)) == [("t", 999, 996)]
    assert outbox.put([value(1_000)])
    assert summary(outbox.pop(1_000)) == [("t", 1_000, 0)]
    assert outbox.skipped == 996


def test_values_of_different_series_are_sent_in_the_order_in_which_they_were_published() -> None:
    """A newer value does not get the place of the one that it replaces."""
    outbox = Outbox(CONFLATING)
    outbox.put([FIRST, value(0, "a"), value(1, "b"), value(2, "a")])
    assert summary(pop_all(outbox)) == [summary([FIRST])[0], ("b", 1, 0), ("a", 2, 1)]


def test_a_value_never_overtakes_conflated_ones() -> None:
    """Not even if there is room again for values in full."""
    outbox = Outbox(OutboxLimits(max_messages=2))
    outbox.put([value(n) for n in range(5)])
    assert summary(outbox.pop(1)) == [("t", 0, 0)]
    outbox.put([value(5)])
    assert summary(pop_all(outbox)) == [("t", 1, 0), ("t", 5, 3)]


def test_series_that_change_all_the_time_are_all_sent_on_a_slow_line() -> None:
    """Conflated values are sent before those that are queued meanwhile."""
    outbox = Outbox(CONFLATING)
    outbox.put([FIRST])
    sent = []
    for n in range(25):
        outbox.put([value(n, str(series)) for series in range(10)])
        sent += summary(outbox.pop(1))
    assert {name for name, _, _ in sent} == {"first", *map(str, range(10))}


def test_notifications_precede_telemetry_and_are_never_skipped() -> None:
    """They are few, and each one matters."""
    outbox = Outbox(OutboxLimits(max_messages=2))
    first, second = notifications(3, 4)
    assert outbox.put([FIRST, FIRST, first, value(1), second, value(2)])
    assert outbox.pop(1_000) == [first, second, FIRST, FIRST]
    assert summary(outbox.pop(1_000)) == [("t", 2, 1)]


def test_too_many_series_are_rejected() -> None:
    """More values of the same series are accepted."""
    outbox = Outbox(OutboxLimits(max_messages=1, conflated_max_series=3))
    assert outbox.put([FIRST, *(value(n, str(n % 3)) for n in range(30))])
    assert not outbox.put([value(30, "another")])


def test_too_many_bytes_of_telemetry_are_rejected() -> None:
    """But one larger value may wait alone."""
    outbox = Outbox(OutboxLimits(max_messages=1, conflated_max_bytes=1_000))
    assert outbox.put([FIRST, *(value(n, "a", padding=2_000) for n in range(3))])
    assert not outbox.put([value(4, "b")])


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), max_size=8), st.integers(1, 1_500)),
        max_size=30,
    ),
    st.integers(1, 10),
)
def test_no_value_is_lost_without_being_counted(steps: list[tuple[list[tuple[int, int]], int]], room: int) -> None:
    """Per series, received plus skipped equals published, in order; notifications (series 0) are never skipped."""
    outbox = Outbox(OutboxLimits(max_messages=room, max_bytes=400 * room))
    published = 0
    popped: list[Frame] = []
    sent: dict[str, list[int]] = {}
    for new, max_bytes in steps:
        for series, padding in new:
            frame = value(published, str(series), padding)
            if series == 0:
                frame.series = None
            sent.setdefault(str(series), []).append(published)
            published += 1
            if not outbox.put([frame]):
                assert series == 0, "a few series always fit"
                return
        popped += outbox.pop(max_bytes)
        assert (outbox.size_bytes > 0) == (len(outbox) > 0)
    popped += pop_all(outbox)
    assert outbox.size_bytes == 0
    for name, numbers in sent.items():
        got = [(number, skipped) for series, number, skipped in summary(popped) if series == name]
        assert [number for number, _ in got] == sorted(number for number, _ in got)
        assert got[-1][0] == numbers[-1]
        assert len(got) + sum(skipped for _, skipped in got) == len(numbers)
        if name == "0":
            assert [number for number, _ in got] == numbers


# -- a snapshot that is being sent ----------------------------------------------------------------------------------


def last_value(number: int, series: str) -> LastValue:
    """Return a last value."""
    return LastValue(
        DeviceMessage(
            tenant_id=TenantId("acme"),
            device_id=DeviceId("d1"),
            series=series,
            topic="t",
            data=str(number).encode(),
            timestamp_ms=1,
        )
    )


def brief(frames: list[Frame]) -> list[tuple[str, int, bool, int]]:
    """Return series, number, whether it belongs to a snapshot, and skipped."""
    parsed = [json.loads(frame.payload) for frame in frames]
    return [
        (fields["series"], fields.get("n", fields.get("data")), "snapshot" in fields, fields.get("skipped", 0))
        for fields in parsed
    ]


def test_a_snapshot_precedes_the_telemetry_that_is_published_later() -> None:
    """Notifications precede both."""
    outbox = Outbox(OutboxLimits())
    assert outbox.replay([last_value(1, "a"), last_value(2, "b")])
    outbox.put([value(3, "a"), *notifications(5)])
    notification, *others = pop_all(outbox)
    assert notification.series is None
    assert brief(others) == [("a", 1, True, 0), ("b", 2, True, 0), ("a", 3, False, 0)]


def test_a_snapshot_that_is_requested_again_uses_no_more_memory() -> None:
    """If the client does not read, newer values replace the older ones."""
    outbox = Outbox(OutboxLimits())
    for number in range(1_000):
        outbox.replay([last_value(number, "a"), last_value(number, "b")])
    assert len(outbox) == 2
    assert brief(pop_all(outbox)) == [("a", 999, True, 0), ("b", 999, True, 0)]


def test_a_snapshot_follows_the_telemetry_that_waits_already() -> None:
    """That telemetry is older; an old value must not be the last that a client gets."""
    outbox = Outbox(OutboxLimits())
    outbox.put([value(1, "a")])
    assert outbox.replay([last_value(2, "a")])
    assert brief(pop_all(outbox)) == [("a", 1, False, 0), ("a", 2, True, 0)]


def test_a_snapshots_value_that_is_replaced_is_not_counted_as_skipped() -> None:
    """It was published before: received plus skipped equals what was published since."""
    outbox = Outbox(CONFLATING)
    outbox.put([FIRST, value(1, "a"), value(2, "a")])
    outbox.replay([last_value(2, "a")])
    outbox.put([value(3, "a"), value(4, "a")])
    shown = [("a", 2, False, 1), ("a", 2, True, 0), ("a", 4, False, 1)]
    assert brief(pop_all(outbox))[1:] == shown
    assert outbox.skipped == 2


def test_a_slow_client_that_asks_again_and_again_gets_the_newest_and_uses_no_more_memory() -> None:
    """What waits before the snapshot is conflated; nothing is sent that is older than what was sent before."""
    outbox = Outbox(OutboxLimits(max_messages=5))
    for number in range(1_000):
        assert outbox.put([value(number, "a"), value(number, "b")])
        assert outbox.replay([last_value(number, "a"), last_value(number, "b")])
        assert outbox.replaying
    assert len(outbox) <= 6
    assert outbox.put([value(1_000, "a")])
    frames = brief(pop_all(outbox))
    assert not outbox.replaying
    assert frames[-3:] == [("a", 999, True, 0), ("b", 999, True, 0), ("a", 1_000, False, 0)]
    for series in ("a", "b"):
        numbers = [number for name, number, _, _ in frames if name == series]
        assert numbers == sorted(numbers)


def test_a_slow_client_cannot_collect_more_series_than_the_limit() -> None:
    """By asking for one snapshot after the other."""
    outbox = Outbox(OutboxLimits(max_messages=2, conflated_max_series=10))
    for number in range(100):
        if not (outbox.put([value(1, f"{number}-{each}") for each in range(5)]) and outbox.replay([])):
            break
    assert number < 10


def test_a_large_snapshot_raises_the_limits_for_what_changes_meanwhile() -> None:
    """Otherwise a slow client of a large fleet would be closed at each attempt. Afterwards the usual limits apply."""
    outbox = Outbox(OutboxLimits(max_messages=1, conflated_max_series=2, conflated_max_bytes=200))
    outbox.replay([last_value(0, str(number)) for number in range(50)])
    assert outbox.put([value(1, str(number)) for number in range(50)])
    assert len(pop_all(outbox)) == 100
    outbox.pop(100)
    assert not outbox.put([value(2, str(number)) for number in range(50)])
