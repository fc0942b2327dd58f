"""What waits for a slow socket is bounded, in order, and of telemetry only the latest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.delivery.frames import Frame
from hermes.delivery.last_values import LastValue
from hermes.delivery.messages import DeviceMessage
from hermes.delivery.outbox import Outbox, OutboxLimits
from hermes.ids import DeviceId, TenantId


def notices(*sizes: int) -> list[Frame]:
    """Frames whose payloads have these sizes; the two header bytes come on top."""
    return [Frame(b"x" * size) for size in sizes]


def value(number: int, series: str = "t", padding: int = 0) -> Frame:
    """One device's value; its number says when it was published."""
    payload = json.dumps({"series": series, "n": number, "pad": "x" * padding}).encode()
    return Frame(payload, (TenantId("acme"), DeviceId("d1"), series))


def told(frames: list[Frame]) -> list[tuple[str, int, int]]:
    """Series, number, skipped of each frame."""
    parsed = [json.loads(frame.payload) for frame in frames]
    return [(fields["series"], fields["n"], fields.get("skipped", 0)) for fields in parsed]


COLLAPSING = OutboxLimits(max_messages=1)
FIRST = value(-1, "first")  # it waits in full; what comes after it collapses


def emptied(outbox: Outbox) -> list[Frame]:
    """All that waits, taken bite by bite."""
    taken: list[Frame] = []
    while len(outbox):
        taken += outbox.take(100)
    return taken


def test_notices_leave_in_the_order_in_which_they_came() -> None:
    """First in, first out, in bites of about the asked size."""
    outbox = Outbox(OutboxLimits())
    first, second, third = notices(8, 8, 8)
    assert outbox.put([first, second])
    assert outbox.put([third])
    assert outbox.take(20) == [first, second]
    assert outbox.take(20) == [third]
    assert outbox.take(20) == []


def test_a_frame_larger_than_the_bite_leaves_alone() -> None:
    """Or it would never leave."""
    outbox = Outbox(OutboxLimits())
    outbox.put(notices(100, 8))
    assert [len(frame) for frame in outbox.take(20)] == [102]
    outbox.clear()
    outbox.put([value(1, "a", padding=100), value(2, "b")])
    assert told(outbox.take(20)) == [("a", 1, 0)]
    assert told(outbox.take(20)) == [("b", 2, 0)]


def test_notices_past_the_bound_of_messages_are_refused() -> None:
    """Then the socket must be closed."""
    outbox = Outbox(OutboxLimits(max_messages=3))
    assert outbox.put(notices(1, 1, 1))
    assert not outbox.put(notices(1))


def test_the_bounds_are_what_may_wait() -> None:
    """Exactly so many bytes fit, and not one more."""
    two = notices(48, 48)
    assert Outbox(OutboxLimits(max_bytes=100)).put(two)
    assert not Outbox(OutboxLimits(max_bytes=99)).put(two)
    values = [value(1, "a"), value(2, "b"), value(3, "c")]
    size_bytes = len(values[0])
    assert {len(frame) for frame in values} == {size_bytes}
    in_full = Outbox(OutboxLimits(max_bytes=2 * size_bytes))
    in_full.put([value(1, "a")] * 2)
    assert in_full.skipped == 0
    collapsing = Outbox(OutboxLimits(max_bytes=2 * size_bytes - 1))
    collapsing.put([value(1, "a")] * 3)
    assert collapsing.skipped == 1
    assert Outbox(OutboxLimits(max_messages=1, collapsed_max_bytes=2 * size_bytes)).put(values)
    assert not Outbox(OutboxLimits(max_messages=1, collapsed_max_bytes=2 * size_bytes - 1)).put(values)


def test_a_bite_counts_notices_and_telemetry_together() -> None:
    """And takes no telemetry while notices are left."""
    outbox = Outbox(OutboxLimits())
    telemetry = value(1)
    outbox.put([telemetry, *notices(38, 38)])
    assert [len(frame) for frame in outbox.take(40)] == [40]
    assert [len(frame) for frame in outbox.take(40 + len(telemetry) - 1)] == [40]
    assert outbox.take(1_000) == [telemetry]


def test_notices_past_the_bound_of_bytes_are_refused() -> None:
    """But one larger frame may wait alone."""
    outbox = Outbox(OutboxLimits(max_bytes=100))
    assert outbox.put(notices(200))
    outbox.take(1)
    assert outbox.put(notices(60))
    assert not outbox.put(notices(60))


def test_telemetry_waits_in_full_up_to_the_bound() -> None:
    """A client that was busy for a moment loses nothing."""
    outbox = Outbox(OutboxLimits(max_messages=100))
    assert outbox.put([value(n) for n in range(100)])
    assert told(outbox.take(100_000)) == [("t", n, 0) for n in range(100)]
    assert outbox.skipped == 0


@pytest.mark.parametrize("limits", [OutboxLimits(max_messages=3), OutboxLimits(max_bytes=120)], ids=str)
def test_past_it_only_the_latest_value_of_a_series_waits_and_says_how_many_it_stands_for(limits: OutboxLimits) -> None:
    """Received and skipped together are what was published."""
    outbox = Outbox(limits)
    assert outbox.put([value(n) for n in range(1_000)])
    assert len(outbox) == 4
    assert told(outbox.take(1_000)) == [("t", 0, 0), ("t", 1, 0), ("t", 2, 0)]
    assert told(outbox.take(1_000)) == [("t", 999, 996)]
    assert outbox.put([value(1_000)])
    assert told(outbox.take(1_000)) == [("t", 1_000, 0)]
    assert outbox.skipped == 996


def test_values_of_different_series_leave_in_the_order_in_which_they_were_published() -> None:
    """The replaced one's turn is not inherited."""
    outbox = Outbox(COLLAPSING)
    outbox.put([FIRST, value(0, "a"), value(1, "b"), value(2, "a")])
    assert told(emptied(outbox)) == [told([FIRST])[0], ("b", 1, 0), ("a", 2, 1)]


def test_a_value_never_overtakes_those_that_have_collapsed() -> None:
    """Even where there would be room again for values in full."""
    outbox = Outbox(OutboxLimits(max_messages=2))
    outbox.put([value(n) for n in range(5)])
    assert told(outbox.take(1)) == [("t", 0, 0)]
    outbox.put([value(5)])
    assert told(emptied(outbox)) == [("t", 1, 0), ("t", 5, 3)]


def test_series_that_change_all_the_time_all_leave_on_a_slow_line() -> None:
    """What had collapsed leaves before what comes meanwhile."""
    outbox = Outbox(COLLAPSING)
    outbox.put([FIRST])
    left = []
    for n in range(25):
        outbox.put([value(n, str(series)) for series in range(10)])
        left += told(outbox.take(1))
    assert {name for name, _, _ in left} == {"first", *map(str, range(10))}


def test_notices_go_before_telemetry_and_are_never_skipped() -> None:
    """They are few, and someone waits for them."""
    outbox = Outbox(OutboxLimits(max_messages=2))
    first, second = notices(3, 4)
    assert outbox.put([FIRST, FIRST, first, value(1), second, value(2)])
    assert outbox.take(1_000) == [first, second, FIRST, FIRST]
    assert told(outbox.take(1_000)) == [("t", 2, 1)]


def test_too_many_series_are_refused() -> None:
    """More values of the same ones are not."""
    outbox = Outbox(OutboxLimits(max_messages=1, collapsed_max_series=3))
    assert outbox.put([FIRST, *(value(n, str(n % 3)) for n in range(30))])
    assert not outbox.put([value(30, "another")])


def test_too_many_bytes_of_telemetry_are_refused() -> None:
    """But one larger value may wait alone."""
    outbox = Outbox(OutboxLimits(max_messages=1, collapsed_max_bytes=1_000))
    assert outbox.put([FIRST, *(value(n, "a", padding=2_000) for n in range(3))])
    assert not outbox.put([value(4, "b")])


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), max_size=8), st.integers(1, 1_500)),
        max_size=30,
    ),
    st.integers(1, 10),
)
def test_whatever_comes_and_goes_nothing_is_lost_unsaid(
    steps: list[tuple[list[tuple[int, int]], int]], room: int
) -> None:
    """Per series: numbers rise, received plus skipped is published; notices (series 0) arrive one by one."""
    outbox = Outbox(OutboxLimits(max_messages=room, max_bytes=400 * room))
    published = 0
    taken: list[Frame] = []
    sent: dict[str, list[int]] = {}
    for new, bite in steps:
        for series, padding in new:
            frame = value(published, str(series), padding)
            if series == 0:
                frame.series = None
            sent.setdefault(str(series), []).append(published)
            published += 1
            if not outbox.put([frame]):
                assert series == 0, "a few series always fit"
                return
        taken += outbox.take(bite)
        assert (outbox.size_bytes > 0) == (len(outbox) > 0)
    taken += emptied(outbox)
    assert outbox.size_bytes == 0
    for name, numbers in sent.items():
        got = [(number, skipped) for series, number, skipped in told(taken) if series == name]
        assert [number for number, _ in got] == sorted(number for number, _ in got)
        assert got[-1][0] == numbers[-1]
        assert len(got) + sum(skipped for _, skipped in got) == len(numbers)
        if name == "0":
            assert [number for number, _ in got] == numbers


# -- a snapshot under way -------------------------------------------------------------------------------------------


def remembered(number: int, series: str) -> LastValue:
    """One last value."""
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
    """Series, number, whether it is a snapshot's, skipped."""
    parsed = [json.loads(frame.payload) for frame in frames]
    return [
        (fields["series"], fields.get("n", fields.get("data")), "snapshot" in fields, fields.get("skipped", 0))
        for fields in parsed
    ]


def test_a_snapshot_goes_before_the_telemetry_that_comes_later() -> None:
    """And notices before both."""
    outbox = Outbox(OutboxLimits())
    assert outbox.replay([remembered(1, "a"), remembered(2, "b")])
    outbox.put([value(3, "a"), *notices(5)])
    notice, *rest = emptied(outbox)
    assert notice.series is None
    assert brief(rest) == [("a", 1, True, 0), ("b", 2, True, 0), ("a", 3, False, 0)]


def test_a_snapshot_that_is_asked_for_again_takes_no_more_room() -> None:
    """Who asks without reading gets the newer values in the places of the older ones."""
    outbox = Outbox(OutboxLimits())
    for number in range(1_000):
        outbox.replay([remembered(number, "a"), remembered(number, "b")])
    assert len(outbox) == 2
    assert brief(emptied(outbox)) == [("a", 999, True, 0), ("b", 999, True, 0)]


def test_a_snapshot_goes_after_the_telemetry_that_waits_already() -> None:
    """That is older; an old value must not be the last that a client sees."""
    outbox = Outbox(OutboxLimits())
    outbox.put([value(1, "a")])
    assert outbox.replay([remembered(2, "a")])
    assert brief(emptied(outbox)) == [("a", 1, False, 0), ("a", 2, True, 0)]


def test_a_snapshots_value_that_is_replaced_is_not_counted_as_skipped() -> None:
    """It was published before: received plus skipped is what came since."""
    outbox = Outbox(COLLAPSING)
    outbox.put([FIRST, value(1, "a")])
    outbox.replay([remembered(1, "a")])
    outbox.put([value(2, "a")])
    assert brief(emptied(outbox))[1:] == [("a", 2, False, 1)]
    assert outbox.skipped == 1


def test_a_large_snapshot_makes_room_for_what_changes_meanwhile() -> None:
    """Else a slow client of a large fleet would be sent away each time. When all has left, the bounds are the usual."""
    outbox = Outbox(OutboxLimits(max_messages=1, collapsed_max_series=2, collapsed_max_bytes=200))
    outbox.replay([remembered(0, str(number)) for number in range(50)])
    assert outbox.put([value(1, str(number)) for number in range(50)])
    assert len(emptied(outbox)) == 100
    outbox.take(100)
    assert not outbox.put([value(2, str(number)) for number in range(50)])
