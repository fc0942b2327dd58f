"""What waits for a slow socket is bounded and in order."""

from hypothesis import given
from hypothesis import strategies as st

from hermes.delivery.frames import Frame
from hermes.delivery.outbox import Outbox, OutboxLimits


def frames(*sizes: int) -> list[Frame]:
    """Frames whose payloads have these sizes; the two header bytes come on top."""
    return [Frame(b"x" * size) for size in sizes]


def test_frames_leave_in_the_order_in_which_they_came() -> None:
    """First in, first out, in bites of about the asked size."""
    outbox = Outbox(OutboxLimits())
    first, second, third = frames(8, 8, 8)
    assert outbox.put([first, second])
    assert outbox.put([third])
    assert outbox.take(20) == [first, second]
    assert outbox.take(20) == [third]
    assert outbox.take(20) == []


def test_a_frame_larger_than_the_bite_leaves_alone() -> None:
    """Or it would never leave."""
    outbox = Outbox(OutboxLimits())
    outbox.put(frames(100, 8))
    assert [len(frame) for frame in outbox.take(20)] == [102]


def test_past_the_bound_of_messages_nothing_is_taken() -> None:
    """All of them or none."""
    outbox = Outbox(OutboxLimits(max_messages=3))
    assert outbox.put(frames(1, 1))
    assert not outbox.put(frames(1, 1))
    assert len(outbox) == 2
    assert outbox.put(frames(1))


def test_past_the_bound_of_bytes_nothing_is_taken() -> None:
    """But one larger frame may wait alone."""
    outbox = Outbox(OutboxLimits(max_bytes=100))
    assert outbox.put(frames(200 - 4))
    assert not outbox.put(frames(1))
    outbox.take(1)
    assert not outbox.put(frames(60, 60))
    assert outbox.put(frames(60))
    assert not outbox.put(frames(60))


@given(st.lists(st.tuples(st.lists(st.integers(0, 300), max_size=5), st.integers(1, 500)), max_size=30))
def test_its_count_of_bytes_is_the_sum_of_what_waits(steps: list[tuple[list[int], int]]) -> None:
    """Whatever comes and goes, and never past the bound but for one alone."""
    limits = OutboxLimits(max_bytes=600, max_messages=10)
    outbox = Outbox(limits)
    waiting: list[Frame] = []
    for sizes, bite in steps:
        new = frames(*sizes)
        if outbox.put(new):
            waiting += new
        assert outbox.size_bytes == sum(map(len, waiting))
        assert outbox.size_bytes <= limits.max_bytes or len(waiting) == 1
        taken = outbox.take(bite)
        assert taken == waiting[: len(taken)]
        waiting = waiting[len(taken) :]
    outbox.clear()
    assert (len(outbox), outbox.size_bytes) == (0, 0)
