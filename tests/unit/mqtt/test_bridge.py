"""The bridge from the MQTT thread to the event loop: batches, bounds, order, dropped messages."""

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from hermes.delivery import channels
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.link_state import LinkState, MqttLinkState
from hermes.delivery.messages import DeviceMessage, DeviceStatus, LinkStatus
from hermes.ids import TenantId
from hermes.ingest.ingest import PART_S
from hermes.ingest.sparkplug.reader import Sparkplug
from hermes.metrics import Metrics
from hermes.mqtt import bridge as bridges
from hermes.mqtt.bridge import PAYLOAD_MAX_BYTES, Bridge
from hermes.topics.topic_map import TopicMap
from tests.support.brokers import Received
from tests.support.edge_nodes import message, metric
from tests.support.ingests import Status, make_ingest

TOPIC = "tenants/acme/devices/d1/temp"
NOW_S = 1_763_836_800.123


class Crossing:
    """A bridge on the running loop, with everything that it calls.

    The loop's clock stands still unless the test changes ``now_s``, so that no pause depends on the machine's speed.
    """

    def __init__(
        self,
        *,
        templates: Sequence[str] = ("hermes",),
        publish: Callable[[DeviceMessage], object] | None = None,
        flush: Callable[[], None] = lambda: None,
        sparkplug: bool = False,
        **bounds: int,
    ) -> None:
        self.received = Received()
        self.work_s = 0.0  # of each step of a long message, by the ingest's clock
        self.statuses: list[Status] = []
        self.metrics = Metrics()
        self.link = MqttLinkState()
        self.wakes = 0
        self.loop = asyncio.get_running_loop()
        self._call_soon_threadsafe: Callable[..., asyncio.Handle] = self.loop.call_soon_threadsafe
        setattr(self.loop, "call_soon_threadsafe", self._counted)  # noqa: B010 - mypy rejects an assignment to a method
        self.now_s = self.loop.time()
        setattr(self.loop, "time", lambda: self.now_s)  # noqa: B010
        self.waits = 0
        self._call_at: Callable[..., asyncio.TimerHandle] = self.loop.call_at
        setattr(self.loop, "call_at", self._counted_wait)  # noqa: B010
        self.last_values = LastValues(limits=LastValuesLimits(), metrics=self.metrics)
        self.bridge = Bridge(
            ingest=make_ingest(
                TopicMap(templates),
                metrics=self.metrics,
                publish=publish or self.received,
                publish_status=self.statuses.append,
                last_values=self.last_values,
                sparkplug=Sparkplug(publish=lambda topic, payload: True, metrics=self.metrics) if sparkplug else None,
                clock=self._ingest_clock,
            ),
            flush=flush,
            link=self.link,
            metrics=self.metrics,
            loop=self.loop,
            clock=lambda: NOW_S,
            **bounds,
        )

    def _ingest_clock(self) -> float:
        self.now_s += self.work_s
        return self.now_s

    def _counted(self, *arguments: Any, **options: Any) -> asyncio.Handle:
        self.wakes += 1
        return self._call_soon_threadsafe(*arguments, **options)

    def _counted_wait(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        self.waits += 1
        return self._call_at(*arguments, **options)

    def put(self, payload: bytes, topic: str = TOPIC, *, retained: bool = False, ids: Sequence[int] = ()) -> None:
        """Put a message as the thread does."""
        self.bridge.put(topic, payload, retained=retained, subscription_ids=ids)

    async def drained(self) -> None:
        """Wake the bridge, and let the loop publish all of it."""
        self.bridge.wake()
        while self.bridge._queue or self.bridge._drain_pending:
            self.now_s = max(self.now_s, self.bridge._paused_until_s)
            await asyncio.sleep(0)

    def dropped(self, reason: str) -> float:
        """Return the counter of this reason."""
        value = self.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": reason})
        assert value is not None
        return value

    def share_dropped(self, holder: str) -> float | None:
        """Return how many were dropped because this holder had too much."""
        labels = {"store": "mqtt_queue", "holder": holder}
        return self.metrics.registry.get_sample_value("hermes_share_dropped_total", labels)

    def count(self, name: str) -> float | None:
        """Return another counter or gauge."""
        return self.metrics.registry.get_sample_value(name)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on an event loop of its own."""
    asyncio.run(scenario())


def test_a_message_becomes_a_device_message() -> None:
    """Topic, payload and the time of its arrival."""

    async def scenario() -> None:
        crossing = Crossing()
        crossing.put(b' {"v": 21.50} ')
        await crossing.drained()
        assert crossing.received.messages == [
            DeviceMessage(
                tenant_id="acme",  # type: ignore[arg-type]
                device_id="d1",  # type: ignore[arg-type]
                series="temp",
                topic=TOPIC,
                data=b'{"v": 21.50}',
                timestamp_ms=1_763_836_800_123,
            )
        ]
        assert crossing.count("hermes_mqtt_received_total") == 1

    run(scenario)


def test_a_retained_message_has_no_time() -> None:
    """Its age is unknown."""

    async def scenario() -> None:
        crossing = Crossing()
        crossing.put(b"1", retained=True)
        await crossing.drained()
        (message,) = crossing.received.messages
        assert message.retained
        assert message.timestamp_ms is None

    run(scenario)


@pytest.mark.parametrize(
    ("payload", "data", "encoding"),
    [(b"", b"null", ""), (b"ON", b'"ON"', "text"), (b"\xff", b'"/w=="', "base64"), (b"NaN", b'"NaN"', "text")],
)
def test_every_payload_is_published(payload: bytes, data: bytes, encoding: str) -> None:
    """As JSON, text, base64 or null."""

    async def scenario() -> None:
        crossing = Crossing()
        crossing.put(payload)
        await crossing.drained()
        (message,) = crossing.received.messages
        assert (message.data, message.encoding) == (data, encoding)

    run(scenario)


def test_the_loop_is_woken_once_per_batch() -> None:
    """However many messages it holds, and not again before the loop has reacted to the last wake-up."""

    async def scenario() -> None:
        crossing = Crossing()
        for _ in range(3):
            for number in range(100):
                crossing.put(b"%d" % number)
            crossing.bridge.wake()
        crossing.bridge.wake()
        assert crossing.wakes == 1
        await crossing.drained()
        assert len(crossing.received.messages) == 300
        assert crossing.count("hermes_mqtt_batches_total") == 1
        crossing.bridge.wake()
        assert crossing.wakes == 1
        crossing.put(b"1")
        crossing.bridge.wake()
        assert crossing.wakes == 2
        await crossing.drained()

    run(scenario)


def test_a_large_batch_is_published_in_several_turns() -> None:
    """So that the loop can do other work between them."""

    async def scenario() -> None:
        crossing = Crossing()
        for number in range(2 * bridges.TURN_MAX_MESSAGES + 1):
            crossing.put(b"%d" % number)
        crossing.bridge.wake()
        seen: list[int] = []
        while not seen or seen[-1] < 2 * bridges.TURN_MAX_MESSAGES + 1:
            await asyncio.sleep(0)
            seen.append(len(crossing.received.messages))
        assert bridges.TURN_MAX_MESSAGES in seen
        assert 2 * bridges.TURN_MAX_MESSAGES in seen
        assert crossing.received.data == [b"%d" % number for number in range(seen[-1])]
        assert crossing.count("hermes_mqtt_queued") == 0

    run(scenario)


def test_a_turn_is_bounded_in_time_too() -> None:
    """Few large messages are as much work as many small ones; the time is looked at after each large one."""

    async def scenario() -> None:
        turns: list[int] = []

        def publish(message: DeviceMessage) -> None:
            published.append(message)
            crossing.now_s += bridges.TURN_MAX_S / 2.5  # not / 3: its sum may be rounded to just below the limit

        published: list[DeviceMessage] = []
        crossing = Crossing(publish=publish, flush=lambda: turns.append(len(published)))
        for _ in range(9):
            crossing.put(b"x" * bridges.SLICE_MAX_BYTES)
        await crossing.drained()
        assert turns == [3, 6, 9]

    run(scenario)


def test_a_full_queue_drops_its_oldest_messages(caplog: pytest.LogCaptureFixture) -> None:
    """They are counted, and logged once."""

    async def scenario() -> None:
        crossing = Crossing(queue_max_messages=10)
        for _ in range(2):
            for number in range(25):
                crossing.put(b"%d" % number)
            await crossing.drained()
        assert crossing.received.data == [b"%d" % number for number in range(15, 25)] * 2
        assert crossing.dropped("overrun") == 30
        assert crossing.count("hermes_mqtt_received_total") == 50

    run(scenario)
    assert [record.message for record in caplog.records] == [
        "the event loop is too slow: the oldest messages are dropped; counted as overrun, not logged again"
    ]


def test_the_queue_is_bounded_in_bytes_too() -> None:
    """Topics count as well as payloads."""

    async def scenario() -> None:
        crossing = Crossing(queue_max_bytes=10 * (1_000 + len(TOPIC)))
        for _ in range(12):
            crossing.put(b"x" * 1_000)
        await crossing.drained()
        assert len(crossing.received.messages) == 10
        assert crossing.dropped("overrun") == 2

    run(scenario)


def test_a_flood_of_one_tenant_does_not_drop_another_tenants_messages() -> None:
    """The flood itself loses its oldest; what is dropped is counted for its owner."""

    async def scenario() -> None:
        crossing = Crossing(queue_max_messages=1_000)
        for number in range(10_000):
            crossing.put(b"0", f"tenants/acme/devices/d{number % 50}/x")
            if number % 50 == 0:
                crossing.put(b"%d" % number, "tenants/globex/devices/d1/temp")
            if number % 500 == 0:
                crossing.bridge.wake()
        await crossing.drained()
        quiet = [message.data for message in crossing.received.messages if message.tenant_id == "globex"]
        assert quiet == [b"%d" % number for number in range(0, 10_000, 50)]
        assert len(crossing.received.messages) == 1_000
        assert crossing.dropped("overrun") == crossing.share_dropped("tenant") == 9_200

    run(scenario)


def test_a_flood_of_one_device_does_not_drop_messages_of_the_tenants_others() -> None:
    """In number and in bytes."""

    async def scenario() -> None:
        crossing = Crossing(queue_max_messages=1_000, queue_max_bytes=100_000)
        crossing.put(b"quiet", "tenants/acme/devices/d2/temp")
        for size in (1, 2_000):
            for _ in range(2_000):
                crossing.put(b"1" * size)
            crossing.bridge.wake()
        await crossing.drained()
        assert crossing.received.data[0] == b'"quiet"'
        assert crossing.dropped("overrun") == crossing.share_dropped("device")

    run(scenario)


def test_a_device_that_names_many_tenants_in_its_payload_has_one_share() -> None:
    """Only its topic shows who it is."""

    async def scenario() -> None:
        crossing = Crossing(templates=["app/{app}/{device_id};tenant_id=/t"], queue_max_messages=100)
        crossing.put(b'{"t":"victim"}', "app/1/quiet")
        for number in range(1_000):
            crossing.put(b'{"t":"t%d"}' % number, "app/1/loud")
        await crossing.drained()
        assert crossing.received.messages[0].tenant_id == "victim"
        assert crossing.share_dropped("device") == 901

    run(scenario)


def test_link_changes_keep_their_place_between_the_messages() -> None:
    """A message that arrived before the link was lost is published before that."""

    async def scenario() -> None:
        states: list[tuple[bytes, LinkState]] = []
        crossing = Crossing(publish=lambda message: states.append((message.data, crossing.link.state)))
        crossing.bridge.connecting("waiting")
        crossing.put(b"1")
        crossing.bridge.up()
        crossing.put(b"2")
        crossing.bridge.down("gone")
        crossing.put(b"3")
        await crossing.drained()
        assert states == [(b"1", LinkState.CONNECTING), (b"2", LinkState.UP), (b"3", LinkState.DOWN)]
        assert crossing.link.missing == ("gone",)
        assert crossing.count("hermes_mqtt_connected") == 0
        crossing.bridge.up()
        await crossing.drained()
        assert crossing.link.ready
        assert crossing.count("hermes_mqtt_connected") == 1

    run(scenario)


def test_link_changes_survive_an_overrun_and_stay_bounded() -> None:
    """Only the last of several consecutive changes is published."""

    async def scenario() -> None:
        crossing = Crossing(queue_max_messages=1)
        for number in range(50):
            crossing.bridge.up()
            crossing.bridge.down(f"{number}")
            crossing.put(b"%d" % number)
        crossing.bridge.wake()
        assert len(crossing.bridge._queue) <= 3
        await crossing.drained()
        assert crossing.link.missing == ("49",)
        assert crossing.received.data == [b"49"]

    run(scenario)


def test_each_kind_of_drop_is_counted_and_its_first_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One line per reason and template, never one per topic."""

    async def scenario() -> None:
        crossing = Crossing(templates=["hermes", "up/{device_id};tenant_id=/t", "gw/{device_id};tenant_id=/t"])
        for number in range(20):
            crossing.put(b"1", f"nothing/{number}")
            crossing.put(b"{}", f"up/{number}")
            crossing.put(b'{"t":7}'[:-1], f"gw/{number}")
            crossing.put(b"x" * (PAYLOAD_MAX_BYTES + 1), f"tenants/acme/devices/{number}")
            crossing.bridge.put_bad_topic(b"\xff%d" % number)
        crossing.put(b"x" * PAYLOAD_MAX_BYTES)
        crossing.put(b'{"t":7}', "up/d")
        await crossing.drained()
        assert [message.tenant_id for message in crossing.received.messages] == ["acme", "7"]
        for reason, count in {"unmatched": 20, "pointer": 40, "too_large": 20, "bad_topic": 20}.items():
            assert crossing.dropped(reason) == count
        assert crossing.count("hermes_mqtt_received_total") == 102

    run(scenario)
    lines = sorted(record.message for record in caplog.records)
    assert len(lines) == 5
    assert any("'nothing/0'" in line for line in lines)
    assert any("up/{device_id};tenant_id=/t" in line for line in lines)
    assert any("gw/{device_id};tenant_id=/t" in line for line in lines)
    assert any("over 1 MiB" in line for line in lines)
    assert any("not UTF-8" in line for line in lines)


def test_a_hostile_topic_stays_one_short_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks are escaped and length is cut."""

    async def scenario() -> None:
        crossing = Crossing()
        crossing.put(b"1", "x\nERROR forged" + "y" * 60_000)
        await crossing.drained()

    run(scenario)
    (record,) = caplog.records
    assert "\n" not in record.message
    assert len(record.message) < 400


def test_copies_through_overlapping_filters_are_delivered_once() -> None:
    """The other copies are counted as dropped."""

    async def scenario() -> None:
        crossing = Crossing(templates=["a/{tenant_id};device_id=first", "{tenant_id}/b;device_id=second"])
        crossing.put(b"1", "a/b", ids=[2])
        crossing.put(b"1", "a/b", ids=[1])
        crossing.put(b"2", "c/b", ids=[2])
        await crossing.drained()
        assert [(m.device_id, m.data) for m in crossing.received.messages] == [("first", b"1"), ("second", b"2")]
        assert crossing.dropped("duplicate_copy") == 1

    run(scenario)


def test_a_failing_message_does_not_affect_its_batch(caplog: pytest.LogCaptureFixture) -> None:
    """The error's traceback is logged, the rest is delivered."""

    async def scenario() -> None:
        received = Received()

        def publish(message: DeviceMessage) -> None:
            if message.data in (b"2", b"3"):
                raise RuntimeError("injected")
            received(message)

        crossing = Crossing(publish=publish)
        for number in range(5):
            crossing.put(b"%d" % number)
        await crossing.drained()
        assert received.data == [b"0", b"1", b"4"]
        assert crossing.dropped("error") == 2

    run(scenario)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "injected" in str(record.exc_info[1])


def test_a_closed_loop_does_not_break_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """The thread may read for a moment longer than the loop runs; the queue stays bounded."""
    kept: list[Crossing] = []

    async def scenario() -> None:
        kept.append(Crossing(queue_max_messages=10))

    run(scenario)
    faults: list[BaseException] = []

    def read_on() -> None:
        try:
            for _ in range(100):
                kept[0].put(b"1")
                kept[0].bridge.wake()
            kept[0].bridge.down("stopped")
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            faults.append(error)

    thread = threading.Thread(target=read_on)
    thread.start()
    thread.join(60)
    assert faults == []
    assert len(kept[0].bridge._queue) <= 11
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_messages_cross_from_a_real_thread_in_order() -> None:
    """No message is lost or duplicated while both sides work at the same time."""

    async def scenario() -> None:
        crossing = Crossing()

        def produce() -> None:
            for number in range(20_000):
                crossing.put(b"%d" % number)
                if number % 37 == 0:
                    crossing.bridge.wake()
            crossing.bridge.wake()

        await asyncio.to_thread(produce)
        await crossing.drained()
        assert crossing.received.data == [b"%d" % number for number in range(20_000)]

    run(scenario)


async def turns_of_the_loop() -> None:
    """Let the loop run everything that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_after_a_turn_the_loop_pauses_mqtt_for_as_long_as_the_turn_took() -> None:
    """So that what arrives meanwhile shares one turn; the flush is part of the turn."""

    async def scenario() -> None:
        turns: list[int] = []

        def flush() -> None:
            turns.append(len(crossing.received.messages))
            crossing.now_s += 0.01

        crossing = Crossing(flush=flush)
        crossing.put(b"0")
        crossing.bridge.wake()
        await turns_of_the_loop()
        assert turns == [1]
        for number in range(5):
            crossing.put(str(number).encode())
            crossing.bridge.wake()
            await turns_of_the_loop()
        crossing.now_s += 0.009
        await turns_of_the_loop()
        assert turns == [1]
        crossing.now_s += 0.001
        while len(turns) < 2:
            await asyncio.sleep(0)
        assert turns == [1, 6]
        assert (crossing.wakes, crossing.waits) == (2, 1)

    run(scenario)


def test_an_idle_loop_publishes_a_message_at_once() -> None:
    """A short turn is not followed by a pause."""

    async def scenario() -> None:
        crossing = Crossing()
        for number in range(1, 4):
            crossing.put(b"0")
            crossing.bridge.wake()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(crossing.received.messages) == number

    run(scenario)


def test_with_a_backlog_there_is_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next part of it is published in the next iteration of the loop."""

    async def scenario() -> None:
        turns: list[int] = []

        def flush() -> None:
            crossing.now_s += 0.001
            turns.append(len(crossing.received.messages))

        monkeypatch.setattr(bridges, "TURN_MAX_MESSAGES", 10)
        crossing = Crossing(flush=flush)
        for number in range(50):
            crossing.put(str(number).encode())
        await crossing.drained()
        assert turns == [10, 20, 30, 40, 50]
        assert crossing.waits == 0

    run(scenario)


def test_a_turn_that_fails_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and logged; the rest of the queue and later messages are delivered."""

    async def scenario() -> None:
        faults = [MemoryError("no room")]

        def flush() -> None:
            if faults:
                raise faults.pop()

        monkeypatch.setattr(bridges, "TURN_MAX_MESSAGES", 10)
        crossing = Crossing(flush=flush)
        for number in range(25):
            crossing.put(str(number).encode())
        await crossing.drained()
        crossing.put(b"25")
        await crossing.drained()
        assert [message.data for message in crossing.received.messages] == [str(n).encode() for n in range(26)]
        assert crossing.dropped("error") == 1

    run(scenario)
    assert "a turn's messages could not be written" in caplog.text


def test_a_pause_is_bounded() -> None:
    """Regardless of how long the turn lasted."""

    async def scenario() -> None:
        def flush() -> None:
            crossing.now_s += 60.0

        crossing = Crossing(flush=flush)
        crossing.put(b"0")
        await crossing.drained()
        assert crossing.bridge._paused_until_s == crossing.now_s + bridges.PAUSE_MAX_S

    run(scenario)


# -- messages with many values ------------------------------------------------------------------------------------


BIRTH, DATA = "spBv1.0/plant/NBIRTH/edge1", "spBv1.0/plant/NDATA/edge1"


def births(count: int) -> bytes:
    """Return the birth of an edge node with so many metrics."""
    return message(*(metric(f"m{number}", "Int32", int_value=number) for number in range(count)), seq=0)


def test_the_values_of_one_message_are_published_in_turns_before_the_next_message() -> None:
    """The loop does other work between them; nothing overtakes."""

    async def scenario() -> None:
        turns: list[int] = []
        crossing = Crossing(templates=["sparkplug", "hermes"], sparkplug=True, flush=lambda: turns.append(len(values)))
        values = crossing.received.messages
        crossing.work_s = PART_S / 10
        crossing.put(b"1")
        crossing.put(births(1_000), BIRTH)
        crossing.put(message(metric("m7", "Int32", int_value=77), seq=1), DATA)
        crossing.put(b"2")
        await crossing.drained()
        series = [each.series for each in values]
        assert series == ["temp", *(f"m{number}" for number in range(1_000)), "m7", "temp"]
        assert len(turns) > 30
        assert max(after - before for before, after in itertools.pairwise(turns)) < 100
        assert crossing.count("hermes_mqtt_received_total") == 4

    run(scenario)


def test_a_long_message_with_an_error_at_its_end_changes_nothing() -> None:
    """Although its beginning is decoded in earlier turns; the next message is delivered."""

    async def scenario() -> None:
        crossing = Crossing(templates=["sparkplug"], sparkplug=True)
        crossing.work_s = PART_S / 10
        values = [metric(f"m{number}", "Int32", int_value=number) for number in range(500)]
        deep = metric("deep", "Template")
        inner = deep
        for _ in range(20):
            inner = inner.template_value.metrics.add(name="x")
        inner.template_value.version = "1"
        crossing.put(message(*values, deep, seq=0), BIRTH)
        crossing.put(message(metric("m7", "Int32", int_value=77), seq=1), DATA)
        await crossing.drained()
        assert [each.series for each in crossing.received.messages] == ["m7"]
        assert crossing.statuses == []
        assert crossing.dropped("undecodable") == 1

    run(scenario)


def test_messages_of_the_thread_during_a_long_message_do_not_start_a_second_turn() -> None:
    """Each iteration of the loop has one turn at most, whoever asked for it."""

    async def scenario() -> None:
        turns: list[int] = []
        crossing = Crossing(templates=["sparkplug", "hermes"], sparkplug=True, flush=lambda: turns.append(len(turns)))
        crossing.work_s = PART_S
        crossing.put(births(100), BIRTH)
        crossing.bridge.wake()
        iterations = 0
        while crossing.bridge._drain_pending or crossing.bridge._ingest.has_work:
            crossing.put(b"%d" % iterations)
            if iterations < 20:
                crossing.bridge.wake()
            await asyncio.sleep(0)
            iterations += 1
            assert len(turns) <= iterations
            crossing.now_s = max(crossing.now_s, crossing.bridge._paused_until_s)
        assert len(turns) >= 20

    run(scenario)


# -- outages ------------------------------------------------------------------------------------------------------


def stale(crossing: Crossing) -> list[bool]:
    """Return whether the values of the snapshot are marked as stale."""
    values = crossing.last_values.for_channels([channels.tenant(TenantId("acme"))])
    return [b'"stale":true' in each.frame.payload for each in values]


def test_when_the_broker_has_sent_everything_what_it_does_not_retain_any_more_is_cleared() -> None:
    """In order with the messages before and after."""

    async def scenario() -> None:
        crossing = Crossing()
        crossing.put(b"21", retained=True)
        crossing.put(b"true", TOPIC.replace("temp", "online"), retained=True)
        crossing.bridge.up()
        crossing.bridge.down("gone")
        await crossing.drained()
        assert stale(crossing) == [True, True, True]
        crossing.bridge.up()
        crossing.put(b"true", TOPIC.replace("temp", "online"), retained=True)
        crossing.bridge.retained_sent()
        await crossing.drained()
        assert [(each.series, each.clears) for each in crossing.received.messages] == [
            ("temp", False),
            ("online", False),
            ("online", False),
            ("temp", True),
        ], "the value that a snapshot has marked is confirmed, the other one is cleared"
        assert stale(crossing) == [False, False]

    run(scenario)


def test_an_outage_that_a_blocked_loop_has_missed_makes_the_values_stale_too() -> None:
    """Both changes of the link wait in the queue, and only the last one is applied."""

    async def scenario() -> None:
        crossing = Crossing()
        crossing.put(b"21", retained=True)
        crossing.bridge.up()
        await crossing.drained()
        crossing.bridge.down("gone")
        crossing.bridge.up()
        assert crossing.statuses == []
        await crossing.drained()
        assert stale(crossing) == [True]
        assert [each.up for each in crossing.statuses if isinstance(each, LinkStatus)] == [True], "sockets are told"
        crossing.bridge.down("gone")
        crossing.bridge.up()
        crossing.bridge.retained_sent()
        await crossing.drained()
        assert stale(crossing) == []
        assert crossing.link.ready

    run(scenario)


def test_an_outage_is_not_forgotten_with_the_messages_that_are_dropped_around_it() -> None:
    """The change moves to a later message, or is joined with the next change."""

    async def scenario() -> None:
        crossing = Crossing(queue_max_messages=3)
        crossing.put(b"21", retained=True)
        crossing.bridge.up()
        await crossing.drained()
        crossing.bridge.down("gone")
        for number in range(3):
            crossing.put(b"%d" % number, f"tenants/globex/devices/d{number}/x")
        crossing.bridge.up()
        for number in range(3, 6):
            crossing.put(b"%d" % number, f"tenants/globex/devices/d{number}/x")
        crossing.bridge.wake()
        await crossing.drained()
        assert stale(crossing) == [True]

    run(scenario)


def test_nothing_is_removed_if_retained_messages_were_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The broker has sent them, so their absence means nothing; the values stay stale."""

    async def scenario() -> None:
        crossing = Crossing(queue_max_messages=4)
        crossing.put(b"21", retained=True)
        crossing.bridge.up()
        crossing.bridge.down("gone")
        await crossing.drained()
        crossing.bridge.up()
        for number in range(10):
            crossing.put(b"1", f"tenants/globex/devices/d{number}/x", retained=True)
        crossing.bridge.retained_sent()
        await crossing.drained()
        assert stale(crossing) == [True]
        crossing.bridge.down("gone again")
        crossing.bridge.up()
        crossing.bridge.retained_sent()
        await crossing.drained()
        assert stale(crossing) == []

    run(scenario)
    assert "stay marked as stale" in caplog.text
    caplog.clear()


def test_a_removal_is_done_in_turns_between_which_messages_are_delivered() -> None:
    """Many values vanish at once when a broker restarts without its storage."""

    async def scenario() -> None:
        turns: list[int] = []
        crossing = Crossing(flush=lambda: turns.append(len(crossing.received.messages)))
        for number in range(1_000):
            crossing.put(b"1", f"tenants/acme/devices/d{number}/x", retained=True)
        crossing.bridge.up()
        crossing.bridge.down("gone")
        crossing.bridge.up()
        await crossing.drained()
        del turns[:], crossing.received.messages[:]
        crossing.work_s = PART_S / 10
        crossing.bridge.retained_sent()
        crossing.put(b"2")
        await crossing.drained()
        data = crossing.received.data
        assert data.count(b"null") == 1_000
        assert data.index(b"2") < 50
        assert max(after - before for before, after in itertools.pairwise(turns)) <= 20
        assert len(crossing.last_values) == 1

    run(scenario)


def test_unknown_presence_is_published() -> None:
    """As a status without a value of online."""

    async def scenario() -> None:
        crossing = Crossing()
        crossing.put(b"true", TOPIC.replace("temp", "online"))
        crossing.bridge.up()
        crossing.bridge.down("gone")
        crossing.bridge.up()
        crossing.bridge.retained_sent()
        await crossing.drained()
        assert [each.online for each in crossing.statuses if isinstance(each, DeviceStatus)] == [True, None]

    run(scenario)
