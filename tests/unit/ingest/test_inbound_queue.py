"""The queue from MQTT: order, changes of the link, cost."""

from hypothesis import given
from hypothesis import strategies as st

from hermes.ingest.inbound_queue import InboundQueue, LinkChange
from hermes.ingest.ingest import InboundMessage
from tests.support.growth import LINEAR_MAX, growth


def queue_of(max_messages: int, *, max_bytes: int = 1_000_000) -> InboundQueue:
    """Return an empty queue; its topics are ``tenant/device``."""

    def sender_of(topic: str) -> tuple[str, str]:
        tenant, _, device = topic.partition("/")
        return tenant, device

    return InboundQueue(sender_of=sender_of, max_messages=max_messages, max_bytes=max_bytes)


def message(topic: str, number: int, *, size: int = 0) -> InboundMessage:
    """Return a message with a number as its time."""
    return InboundMessage(topic, b"x" * size, False, (), number)


def change() -> LinkChange:
    """Return a change that is equal to itself only."""
    return LinkChange(lambda: None, connected=True)


STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(st.sampled_from(["a/1", "a/2", "b/1", "c/1"]), st.integers(0, 30)), min_size=1, max_size=12),
        st.just("change"),
        st.integers(1, 6),
    ),
    max_size=40,
)


@given(max_messages=st.integers(1, 15), max_bytes=st.integers(30, 300), steps=STEPS)
def test_what_is_taken_is_in_order_and_after_the_last_change_of_the_link_before_it(
    max_messages: int, max_bytes: int, steps: list[list[tuple[str, int]] | str | int]
) -> None:
    """Whatever was dropped between; nothing is lost without being counted."""
    queue = queue_of(max_messages, max_bytes=max_bytes)
    arrived: list[LinkChange | None] = []  # for each message, the last change before it
    last: LinkChange | None = None
    taken: list[InboundMessage | LinkChange] = []
    for step in [*steps, 10_000]:
        if isinstance(step, int):
            taken += queue.take(step, 1_000_000)
        elif isinstance(step, str):
            last = change()
            queue.append_change(last)
        else:
            batch = [message(topic, len(arrived) + index, size=size) for index, (topic, size) in enumerate(step)]
            arrived += [last] * len(batch)
            queue.extend(batch)
            assert len(queue._attributed) + queue._newer_messages <= max_messages
            assert queue._attributed.size + queue._newer_bytes <= max_bytes
    current: LinkChange | None = None
    numbers: list[int] = []
    for item in taken:
        if isinstance(item, LinkChange):
            current = item
        else:
            numbers.append(item.timestamp_ms)
            assert current is arrived[item.timestamp_ms]
    assert current is last
    assert numbers == sorted(numbers)
    assert len(numbers) + queue.dropped.total() == len(arrived)
    assert len(queue) == queue._newer_messages == queue._newer_bytes == 0


def test_senders_are_not_looked_up_while_the_queue_is_at_most_half_full() -> None:
    """The queue then costs what it costs without shares."""
    topics: list[str] = []

    def sender_of(topic: str) -> tuple[str, str]:
        topics.append(topic)
        return topic, topic

    queue = InboundQueue(sender_of=sender_of, max_messages=1_000, max_bytes=100_000)
    for number in range(10):
        queue.extend([message("a", number) for _ in range(500)])
        queue.take(500, 1_000_000)
    assert topics == []
    queue.extend([message("a", number) for number in range(501)])
    assert len(topics) == 501


def flood(count: int) -> None:
    """One tenant fills the queue several times, beside the messages of many others."""
    queue = queue_of(2 * count)
    queue.extend([message(f"t{number}/d", number) for number in range(count)])
    for _ in range(8):
        for begin in range(0, count, 50):
            queue.extend([message("acme/d", begin)] * 50)


def test_a_full_queue_takes_constant_time_per_message() -> None:
    """Regardless of its size and of the number of tenants."""
    assert growth(flood, 200) < LINEAR_MAX
