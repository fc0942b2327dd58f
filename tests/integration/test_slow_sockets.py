"""A socket that does not read costs nobody anything: others get all, and it resumes with the latest values."""

import asyncio
import json
import logging
import struct
from collections import defaultdict
from typing import Any

import pytest

from hermes.delivery.messages import Broadcast, DeviceMessage
from hermes.ids import DeviceId, TenantId
from tests.support.gateways import Hermes, Socket, eventually, token
from tests.support.raw_socket import FIN, PING, TEXT, RawSocket, open_raw

RECEIVE_BUFFER_BYTES = 4_096  # the kernel makes it a little more; the server's side fills up soon
PADDING = "x" * 2_000
SERIES = 8
TURN = 20  # messages in one turn of the loop
BLOCKED_WITHIN = 20_000  # messages: 40 MB is more than any kernel keeps for one socket


def value(number: int, *, padding: str = PADDING, tenant: str = "acme") -> DeviceMessage:
    """Message ``number``; its series is that number modulo eight."""
    return DeviceMessage(
        tenant_id=TenantId(tenant),
        device_id=DeviceId(f"d{number % 2}"),
        series=f"s{number % SERIES}",
        topic="t",
        data=json.dumps({"n": number, "pad": padding}).encode(),
        timestamp_ms=1,
    )


async def publish(hermes: Hermes, numbers: range) -> None:
    """Some of them in every turn of the loop, with time for readers in between."""
    for number in numbers:
        hermes.gateway.hub.publish(value(number))
        if number % TURN == 0:
            await asyncio.sleep(0.001)
    await hermes.gateway.hub.flushed()


def blocked(hermes: Hermes) -> int:
    """How many sockets are slow just now."""
    return sum(session.blocked for session in hermes.gateway.hub.sessions)


async def publish_until_blocked(hermes: Hermes, sockets: int = 1) -> int:
    """Publish until so many sockets are slow; how many messages that took."""
    count = 0
    while blocked(hermes) < sockets:
        await publish(hermes, range(count, count + TURN))
        count += TURN
        assert count < BLOCKED_WITHIN, "the socket never blocked"
    return count


class Reader:
    """A client that reads all the time; none of its frames may say that others were skipped."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.numbers: list[int] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (frame := await self.socket.connection.read_message()) is not None:
            fields = json.loads(frame)
            assert "skipped" not in fields
            self.numbers.append(fields["data"]["n"])

    async def has_all(self, count: int) -> None:
        """It has heard the numbers from 0 up to this one, each once and in order."""
        await eventually(lambda: self._task.done() or len(self.numbers) >= count)
        assert self.numbers == list(range(count))


async def reader(hermes: Hermes) -> Reader:
    """A socket of the tenant that is read from now on."""
    return Reader(await hermes.open("/ws/tenant/acme", token("1", tenant_id="acme")))


async def frames_until(socket: RawSocket, last: int) -> list[dict[str, Any]]:
    """All device frames up to the one with this number."""
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1]["data"]["n"] != last:
        frame = json.loads(await socket.text())
        if frame["channel"] == "device":
            frames.append(frame)
    return frames


def total(hermes: Hermes, name: str) -> float:
    """A counter's value."""
    lines = hermes.gateway.metrics.exposition().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


OFFERS = pytest.mark.parametrize(
    "offer", [{}, {"Sec-WebSocket-Extensions": "permessage-deflate"}], ids=["plain", "deflate"]
)


@pytest.mark.gen_test(timeout=30)
@OFFERS
async def test_a_frozen_socket_resumes_with_the_latest_values_and_the_right_skipped(
    hermes: Hermes, offer: dict[str, str], complaints: list[logging.LogRecord]
) -> None:
    """Per series: received plus skipped is published, in order, the last value last; others got every frame."""
    good = await reader(hermes)
    frozen = await open_raw(
        hermes,
        "/ws/tenant/acme",
        token("2", tenant_id="acme"),
        headers=offer,
        receive_buffer_bytes=RECEIVE_BUFFER_BYTES,
    )
    count = await publish_until_blocked(hermes)
    last = count + 1_000
    await publish(hermes, range(count, last + 1))
    await good.has_all(last + 1)
    got: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for frame in await frames_until(frozen, last):
        got[frame["series"]].append((frame["data"]["n"], frame.get("skipped", 0)))
    for name, frames in got.items():
        assert [number for number, _ in frames] == sorted(number for number, _ in frames)
        assert len(frames) + sum(skipped for _, skipped in frames) == len(range(int(name[1:]), last + 1, SERIES))
    assert len(got) == SERIES
    assert sum(skipped for frames in got.values() for _, skipped in frames) == total(hermes, "hermes_skipped_total")
    assert total(hermes, "hermes_skipped_total") > 0
    await publish(hermes, range(last + 1, last + 9))
    assert [frame.get("skipped") for frame in await frames_until(frozen, last + 8)] == [None] * 8


@pytest.mark.gen_test(timeout=30)
async def test_notices_to_a_frozen_socket_of_both_kinds_are_never_skipped(hermes: Hermes) -> None:
    """On ``/ws`` they arrive one by one and in order, whatever becomes of the telemetry between them."""
    frozen = await open_raw(hermes, "/ws", token("123", tenant_id="acme"), receive_buffer_bytes=RECEIVE_BUFFER_BYTES)
    count = await publish_until_blocked(hermes)
    for number in range(50):
        await publish(hermes, range(count, count + TURN))
        count += TURN
        addressee = {"user_id": "123"} if number % 2 else {"tenant_id": "acme"}
        assert (await hermes.notify(addressee | {"title": str(number), "message": ""}))["sent"]
    hermes.gateway.hub.publish(value(count))
    titles: dict[str, list[int]] = defaultdict(list)
    while True:
        frame = json.loads(await frozen.text())
        if "title" in frame:
            titles[frame["channel"]].append(int(frame["title"]))
        elif frame["data"]["n"] == count:
            break
    assert titles == {"tenant": list(range(0, 50, 2)), "notifications": list(range(1, 50, 2))}


@pytest.mark.gen_test(timeout=30)
async def test_what_waits_for_a_frozen_socket_is_bounded(hermes: Hermes) -> None:
    """However much is sent to others: a mebibyte, and one value for each series."""
    await open_raw(hermes, "/ws/tenant/acme", token("2", tenant_id="acme"), receive_buffer_bytes=RECEIVE_BUFFER_BYTES)
    count = await publish_until_blocked(hermes)
    await publish(hermes, range(count, count + 4_000))
    await eventually(lambda: total(hermes, "hermes_sockets_blocked") == 1)
    (session,) = hermes.gateway.hub.sessions
    assert SERIES < session.waiting < 1_048_576 / len(PADDING) + SERIES


@pytest.mark.gen_test(timeout=30)
async def test_a_frozen_socket_with_too_many_series_is_closed_with_1013(hermes: Hermes) -> None:
    """Ten thousand may wait, beside the thousand values that wait in full."""
    frozen = await open_raw(
        hermes, "/ws/tenant/acme", token("2", tenant_id="acme"), receive_buffer_bytes=RECEIVE_BUFFER_BYTES
    )
    await publish_until_blocked(hermes)
    number = 0
    while blocked(hermes):
        hermes.gateway.hub.publish(
            DeviceMessage(TenantId("acme"), DeviceId(str(number)), "", "t", b"1", timestamp_ms=1)
        )
        await hermes.gateway.hub.flushed()
        number += 1
        assert number < 12_000, "no bound"
    assert number > 10_000
    closed = await frozen.close_frame()
    assert closed is not None
    assert closed[0] == 1013
    assert closed[1].startswith("slow_consumer;retry_ms=")


@pytest.mark.gen_test(timeout=30)
async def test_a_socket_that_reads_a_byte_now_and_then_harms_nobody(
    hermes: Hermes, complaints: list[logging.LogRecord]
) -> None:
    """It stays open and blocked; the others get all."""
    good = await reader(hermes)
    crawling = await open_raw(
        hermes, "/ws/tenant/acme", token("2", tenant_id="acme"), receive_buffer_bytes=RECEIVE_BUFFER_BYTES
    )
    count = await publish_until_blocked(hermes)
    for _ in range(20):
        await crawling.reader.read(1)
        await publish(hermes, range(count, count + TURN))
        count += TURN
    await good.has_all(count)
    assert blocked(hermes) == 1


@pytest.mark.gen_test(timeout=30)
async def test_receivers_that_reset_or_close_or_send_garbage_mid_write_harm_nobody(
    hermes: Hermes, complaints: list[logging.LogRecord]
) -> None:
    """Each ends alone, without a traceback; the one that reads gets every frame."""
    good = await reader(hermes)
    bad = [
        await open_raw(
            hermes, "/ws/tenant/acme", token("2", tenant_id="acme"), receive_buffer_bytes=RECEIVE_BUFFER_BYTES
        )
        for _ in range(30)
    ]
    count = await publish_until_blocked(hermes, sockets=30)
    for number, socket in enumerate(bad):
        await publish(hermes, range(count, count + 5))
        count += 5
        if number % 4 == 0:
            socket.reset()
        elif number % 4 == 1:
            socket.writer.close()
        elif number % 4 == 2:
            await socket.send_bytes(b"\xff" * 64)
        else:
            await socket.send(8, struct.pack("!H", 1000), flags=FIN)
    await publish(hermes, range(count, count + 100))
    count += 100
    await good.has_all(count)
    for socket in bad:
        socket.writer.transport.abort()
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
    await publish(hermes, range(count, count + 1))
    await good.has_all(count + 1)


@pytest.mark.gen_test(timeout=30)
async def test_a_frozen_socket_still_answers_for_its_pings(hermes: Hermes) -> None:
    """What the client asks while its data waits is answered in its turn."""
    frozen = await open_raw(
        hermes, "/ws/tenant/acme", token("2", tenant_id="acme"), receive_buffer_bytes=RECEIVE_BUFFER_BYTES
    )
    await publish_until_blocked(hermes)
    await frozen.send(PING, b"hello")
    await frozen.send(TEXT, b'{"action":"ping","n":1}')
    answers: list[bytes] = []
    while len(answers) < 2:
        frame = await frozen.frame()
        assert frame is not None
        if frame[0] == FIN | 0xA or b'"pong"' in frame[1]:
            answers.append(frame[1])
    assert answers == [b"hello", b'{"n":1,"action":"pong"}']


@pytest.mark.gen_test(timeout=60)
async def test_a_message_of_a_mebibyte_reaches_many_sockets_from_one_copy(hermes: Hermes) -> None:
    """Also those that read it only later."""
    sockets = [await open_raw(hermes, "/ws/tenant/acme", token(str(number), tenant_id="acme")) for number in range(100)]
    text = "m" * 1_000_000
    hermes.gateway.hub.publish(value(0, padding=text))
    for socket in sockets:
        frame = await socket.text()
        assert len(frame) > 1_000_000
        assert frame.endswith('"timestamp":1}')


@pytest.mark.gen_test(timeout=60)
async def test_a_million_messages_that_nobody_hears_leave_nothing_behind(hermes: Hermes) -> None:
    """Neither in the hub nor for those who listen to something else."""
    other = await hermes.open("/ws/tenant/globex", token("1", tenant_id="globex"))
    message = value(0, padding="")
    notice = Broadcast(TenantId("acme"), "1", "t", "", "info", 1)
    for number in range(1_000_000):
        receipt = hermes.gateway.hub.publish(message if number % 2 else notice)
        assert receipt.sockets == 0
    assert total(hermes, "hermes_flushes_total") == 0
    await other.silence()
