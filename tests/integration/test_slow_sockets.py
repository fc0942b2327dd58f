"""A socket that does not read does not affect others, and resumes with the latest values."""

import json
import logging
import os
import struct
from collections import defaultdict
from typing import Any

import pytest

from hermes.delivery.messages import Broadcast, DeviceMessage
from hermes.ids import DeviceId, TenantId
from hermes.testing import ClientSocket
from tests.support.gateways import Hermes, eventually, token
from tests.support.raw_socket import FIN, PING, TEXT, RawSocket, open_raw

RECEIVE_BUFFER_BYTES = 4_096  # the kernel makes it a little more; the server's side fills up soon
PADDING = "x" * 2_000
SERIES = 8
TURN = 20  # messages that are published before the reader reads them
BLOCKED_WITHIN = 20_000  # messages: 40 MB is more than any kernel buffers for one socket
READER = "1"  # the user of the socket that is read


def value(number: int, *, padding: str = PADDING) -> DeviceMessage:
    """Return message ``number``; its series is that number modulo eight."""
    return DeviceMessage(
        tenant_id=TenantId("acme"),
        device_id=DeviceId(f"d{number % 2}"),
        series=f"s{number % SERIES}",
        topic="t",
        data=json.dumps({"n": number, "pad": padding}).encode(),
        timestamp_ms=1,
    )


class Reader:
    """A client that reads everything before more is published, so it is never slow."""

    def __init__(self, socket: ClientSocket) -> None:
        self._socket = socket
        self._count = 0

    async def read(self, count: int) -> None:
        """Read the messages up to number ``count - 1``: each once, in order, none skipped."""
        while self._count < count:
            frame = await self._socket.receive()
            assert (frame["data"]["n"], "skipped" in frame) == (self._count, False)
            self._count += 1


async def open_reader(hermes: Hermes) -> Reader:
    """Open a socket of the tenant for a client that reads."""
    return Reader(await hermes.open("/ws/tenant/acme", token(READER, tenant_id="acme")))


async def open_frozen(
    hermes: Hermes, path: str = "/ws/tenant/acme", *, user_id: str = "2", headers: dict[str, str] | None = None
) -> RawSocket:
    """Open a socket that nothing reads from until `RawSocket.resume`."""
    frozen = await open_raw(
        hermes,
        path,
        token(user_id, tenant_id="acme"),
        headers=headers,
        receive_buffer_bytes=RECEIVE_BUFFER_BYTES,
    )
    frozen.pause()
    return frozen


async def publish(hermes: Hermes, numbers: range, reader: Reader | None = None) -> None:
    """Publish these messages; the reader reads them after each turn."""
    for first in range(numbers.start, numbers.stop, TURN):
        stop = min(first + TURN, numbers.stop)
        for number in range(first, stop):
            hermes.gateway.hub.publish(value(number))
        await hermes.gateway.hub.flushed()
        if reader is not None:
            await reader.read(stop)


def blocked(hermes: Hermes) -> int:
    """Return how many sockets are slow now, the reader's not counted."""
    return sum(session.blocked for session in hermes.gateway.hub.sessions if session.principal.user_id != READER)


async def publish_until_blocked(hermes: Hermes, reader: Reader | None = None, *, sockets: int = 1) -> int:
    """Publish until this many sockets are slow; return the number of messages."""
    count = 0
    while blocked(hermes) < sockets:
        await publish(hermes, range(count, count + TURN), reader)
        count += TURN
        assert count < BLOCKED_WITHIN, "the socket never blocked"
    return count


async def frames_until(socket: RawSocket, last: int) -> list[dict[str, Any]]:
    """Return all device frames up to the one with this number."""
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1]["data"]["n"] != last:
        frame = json.loads(await socket.text())
        if frame["channel"] == "device":
            frames.append(frame)
    return frames


def total(hermes: Hermes, name: str) -> float:
    """Return a counter's value."""
    lines = hermes.gateway.metrics.exposition().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


OFFERS = pytest.mark.parametrize(
    "offer", [{}, {"Sec-WebSocket-Extensions": "permessage-deflate"}], ids=["plain", "deflate"]
)


@pytest.mark.gen_test
@OFFERS
async def test_a_frozen_socket_resumes_with_the_latest_values_and_the_right_skipped(
    hermes: Hermes, offer: dict[str, str], complaints: list[logging.LogRecord]
) -> None:
    """Per series, received plus skipped equals published, in order, the last value last; others got every frame."""
    reader = await open_reader(hermes)
    frozen = await open_frozen(hermes, headers=offer)
    count = await publish_until_blocked(hermes, reader)
    last = count + 1_000
    await publish(hermes, range(count, last + 1), reader)
    frozen.resume()
    got: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for frame in await frames_until(frozen, last):
        got[frame["series"]].append((frame["data"]["n"], frame.get("skipped", 0)))
    for name, frames in got.items():
        assert [number for number, _ in frames] == sorted(number for number, _ in frames)
        assert len(frames) + sum(skipped for _, skipped in frames) == len(range(int(name[1:]), last + 1, SERIES))
    assert len(got) == SERIES
    assert sum(skipped for frames in got.values() for _, skipped in frames) == total(hermes, "hermes_skipped_total")
    assert total(hermes, "hermes_skipped_total") > 0
    await publish(hermes, range(last + 1, last + 9), reader)
    assert [frame.get("skipped") for frame in await frames_until(frozen, last + 8)] == [None] * 8


@pytest.mark.gen_test
async def test_notifications_to_a_frozen_socket_of_both_kinds_are_never_skipped(hermes: Hermes) -> None:
    """On ``/ws`` they arrive one by one and in order, whatever happens to the telemetry between them."""
    frozen = await open_frozen(hermes, "/ws", user_id="123")
    count = await publish_until_blocked(hermes)
    for number in range(50):
        await publish(hermes, range(count, count + TURN))
        count += TURN
        addressee = {"user_id": "123"} if number % 2 else {"tenant_id": "acme"}
        assert (await hermes.notify(addressee | {"title": str(number), "message": ""}))["sent"]
    hermes.gateway.hub.publish(value(count))
    frozen.resume()
    titles: dict[str, list[int]] = defaultdict(list)
    while True:
        frame = json.loads(await frozen.text())
        if "title" in frame:
            titles[frame["channel"]].append(int(frame["title"]))
        elif frame["data"]["n"] == count:
            break
    assert titles == {"tenant": list(range(0, 50, 2)), "notifications": list(range(1, 50, 2))}


@pytest.mark.gen_test
async def test_what_waits_for_a_frozen_socket_is_bounded(hermes: Hermes) -> None:
    """However much is published: a mebibyte, and one value for each series."""
    await open_frozen(hermes)
    count = await publish_until_blocked(hermes)
    await publish(hermes, range(count, count + 4_000))
    await eventually(lambda: total(hermes, "hermes_sockets_blocked") == 1)
    (session,) = hermes.gateway.hub.sessions
    assert SERIES < session.waiting < 1_048_576 / len(PADDING) + SERIES


@pytest.mark.gen_test
async def test_a_frozen_socket_with_too_many_series_is_closed_with_1013(hermes: Hermes) -> None:
    """Ten thousand may wait, beside the thousand values that wait in full."""
    frozen = await open_frozen(hermes)
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
    frozen.resume()
    closed = await frozen.close_frame()
    assert closed is not None
    assert closed[0] == 1013
    assert closed[1].startswith("slow_consumer;retry_ms=")


@pytest.mark.gen_test
async def test_a_socket_that_reads_a_byte_now_and_then_does_not_affect_others(
    hermes: Hermes, complaints: list[logging.LogRecord]
) -> None:
    """It stays open and blocked; the reader gets every frame."""
    reader = await open_reader(hermes)
    crawling = await open_frozen(hermes)
    count = await publish_until_blocked(hermes, reader)
    for _ in range(20):
        assert len(os.read(crawling.writer.get_extra_info("socket").fileno(), 1)) == 1
        await publish(hermes, range(count, count + TURN), reader)
        count += TURN
    assert blocked(hermes) == 1


@pytest.mark.gen_test
async def test_receivers_that_reset_or_close_or_send_garbage_mid_write_do_not_affect_others(
    hermes: Hermes, complaints: list[logging.LogRecord]
) -> None:
    """Each ends alone, without a traceback; the reader gets every frame."""
    reader = await open_reader(hermes)
    bad = [await open_frozen(hermes) for _ in range(30)]
    count = await publish_until_blocked(hermes, reader, sockets=30)
    for number, socket in enumerate(bad):
        await publish(hermes, range(count, count + 5), reader)
        count += 5
        if number % 4 == 0:
            socket.reset()
        elif number % 4 == 1:
            socket.writer.close()
        elif number % 4 == 2:
            await socket.send_bytes(b"\xff" * 64)
        else:
            await socket.send(8, struct.pack("!H", 1000), flags=FIN)
    await publish(hermes, range(count, count + 100), reader)
    count += 100
    for socket in bad:
        socket.writer.transport.abort()
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
    await publish(hermes, range(count, count + 1), reader)


@pytest.mark.gen_test
async def test_a_frozen_socket_gets_the_answers_to_its_pings_in_order(hermes: Hermes) -> None:
    """What the client sends while its data waits is answered after that data."""
    frozen = await open_frozen(hermes)
    await publish_until_blocked(hermes)
    await frozen.send(PING, b"hello")
    await frozen.send(TEXT, b'{"action":"ping","n":1}')
    frozen.resume()
    answers: list[bytes] = []
    while len(answers) < 2:
        frame = await frozen.frame()
        assert frame is not None
        if frame[0] == FIN | 0xA or b'"pong"' in frame[1]:
            answers.append(frame[1])
    assert answers == [b"hello", b'{"n":1,"action":"pong"}']


@pytest.mark.gen_test
async def test_a_message_of_a_mebibyte_reaches_a_hundred_sockets(hermes: Hermes) -> None:
    """Also those that read it only later."""
    sockets = [await open_raw(hermes, "/ws/tenant/acme", token(str(number), tenant_id="acme")) for number in range(100)]
    text = "m" * 1_000_000
    hermes.gateway.hub.publish(value(0, padding=text))
    for socket in sockets:
        frame = await socket.text()
        assert len(frame) > 1_000_000
        assert frame.endswith('"timestamp":1}')


@pytest.mark.gen_test
async def test_messages_without_a_subscriber_leave_nothing_behind(hermes: Hermes) -> None:
    """A hundred thousand cause no flush, and no frame on a socket that is subscribed to something else."""
    other = await hermes.open("/ws/tenant/globex", token("1", tenant_id="globex"))
    message = value(0, padding="")
    broadcast = Broadcast(TenantId("acme"), "1", "t", "", "info", 1)
    for number in range(100_000):
        receipt = hermes.gateway.hub.publish(message if number % 2 else broadcast)
        assert receipt.sockets == 0
    assert total(hermes, "hermes_flushes_total") == 0
    await other.expect_silence()
