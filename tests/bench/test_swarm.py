"""The load client counts delivered, lost, displaced and skipped messages correctly."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.contenders import TENANT, Broadcaster
from bench.contenders.broker import broker
from bench.contenders.floor import floor
from bench.contenders.hermes import Hermes, hermes, hermes_broadcasts
from bench.contenders.mosquitto_websockets import mosquitto_websockets
from bench.load.swarm import HttpSource, LineSource, MqttSource, Seen, Swarm
from bench.processes import BenchError
from hermes.delivery.frames import Frame
from tests.support.programs import needs, wait_until

TIMEOUT_S = 60.0  # reached only in a test that fails
SHORT_GRACE_S = 2.0  # for what never comes
MESSAGES = 10
BODY = '{"n":%n,"t":%t}'
Answer = Callable[[int, int, bytes], bytes]  # message, socket, line → what the server sends


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    """The client is compiled when it is first needed."""
    needs("cc")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Hermes]:
    """A real Hermes."""
    with hermes() as server:
        yield server


@pytest.fixture(scope="module")
def broadcasts() -> Iterator[Broadcaster]:
    """A server that sends the same notifications to all its sockets."""
    with hermes_broadcasts() as server:
        yield server


def text(line: bytes) -> bytes:
    """A whole frame."""
    return Frame(line).plain


def faithful(_message: int, _socket: int, line: bytes) -> bytes:
    """What a good server sends."""
    return text(line)


@dataclass
class Scripted:
    """A server with known faults: it sends the result of ``answer`` to each socket, in pieces of ``piece`` bytes.

    With ``hangs_up`` it ends each socket after the last message, so that the client need not wait for what is lost.
    """

    sockets: int
    answer: Answer
    piece: int = 65_536
    hangs_up: bool = False

    @contextlib.contextmanager
    def running(self) -> Iterator[Swarm]:
        """Serve in a thread; yields a load for it."""
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as source:
            for end in (listener, source):
                end.settimeout(TIMEOUT_S)
            thread = threading.Thread(target=self._serve, args=(listener, source), name="scripted server")
            thread.start()
            yield Swarm(
                port=listener.getsockname()[1],
                paths=["/ws"],
                sockets=self.sockets,
                source=LineSource(source.getsockname()[1], BODY),
                messages=MESSAGES,
                rate_per_s=200,
                grace_s=TIMEOUT_S,
            )
            thread.join()

    def _serve(self, listener: socket.socket, source: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            members = [stack.enter_context(self._member(listener)) for _ in range(self.sockets)]
            publisher = stack.enter_context(source.accept()[0])
            publisher.settimeout(TIMEOUT_S)
            with publisher.makefile("rb") as lines:
                for message, line in enumerate(lines):
                    for number, member in enumerate(members):
                        self._send(member, self.answer(message, number, line[:-1]))
                    if self.hangs_up and message == MESSAGES - 1:
                        self._hang_up(members)

    def _hang_up(self, members: list[socket.socket]) -> None:
        for member in members:
            with contextlib.suppress(OSError):  # the client asked to close this socket
                member.shutdown(socket.SHUT_WR)

    def _member(self, listener: socket.socket) -> socket.socket:
        member, _ = listener.accept()
        member.settimeout(TIMEOUT_S)
        member.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += member.recv(4_096)
        member.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        return member

    def _send(self, member: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the client asked to close this socket
            for at in range(0, len(data), self.piece):
                member.sendall(data[at : at + self.piece])
                if at == 0 and len(data) > self.piece:
                    wait_until(lambda: everything_read(member))  # the client has read it before the rest comes


def everything_read(member: socket.socket) -> bool:
    """Whether the other end of this connection has read all that came to it; see proc_net_tcp(5).

    The table is not read at one instant: while other connections come and go, a row can be missing or stand twice.
    """
    ends = [f":{member.getpeername()[1]:04X}", f":{member.getsockname()[1]:04X}"]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    unread = [row[4].partition(":")[2] for row in rows if row[1].endswith(ends[0]) and row[2].endswith(ends[1])]
    return bool(unread) and not any(int(count, 16) for count in unread)


def seen_of(answer: Answer, *, sockets: int = 3, piece: int = 65_536, hangs_up: bool = False) -> Seen:
    """The client's result for this server."""
    with Scripted(sockets, answer, piece, hangs_up).running() as swarm:
        return swarm.run()


# -- a server without fault -------------------------------------------------------------------------------------


def test_every_frame_of_the_floor_is_counted() -> None:
    """One at a time to twenty sockets, with the time of each."""
    with floor() as server:
        swarm = Swarm(port=server.port, paths=["/"], sockets=20, source=server.source, messages=50, grace_s=TIMEOUT_S)
        seen = swarm.run().complete()
    assert (seen.messages, seen.delivered, seen.least, seen.most, seen.timed) == (50, 1_000, 50, 50, 1_000)
    assert (seen.lost, seen.surplus, seen.out_of_order, seen.other, seen.frozen) == (0, 0, 0, 0, 0)
    assert 0 < seen.p50_ns <= seen.p99_ns <= seen.longest_ns < seen.wall_ns
    assert seen.bytes_received > 50 * 20 * 150
    assert seen.cpu_ns > 0


@pytest.mark.parametrize("piece", [1, 3, 7])
def test_frames_are_counted_wherever_reads_are_cut(piece: int) -> None:
    """A header, a number, a key in two."""
    seen = seen_of(faithful, sockets=1, piece=piece).complete()
    assert (seen.delivered, seen.timed) == (MESSAGES, MESSAGES)
    assert seen.reads > MESSAGES


@pytest.mark.parametrize("size", [100, 125, 126, 60_000, 65_535, 65_536, 300_000])
def test_frames_of_every_length_are_parsed(size: int) -> None:
    """All three forms of the length; beyond 64 KiB a frame is only counted."""
    seen = seen_of(lambda _message, _socket, line: text(line.ljust(size))).complete()
    assert (seen.delivered, seen.lost) == (3 * MESSAGES, 0)
    assert seen.timed == (3 * MESSAGES if size <= 65_536 else 0)


def test_spaces_after_the_keys_do_no_harm() -> None:
    """As json.dumps writes them."""
    seen = seen_of(lambda _message, _socket, line: text(line.replace(b":", b": ").replace(b",", b", "))).complete()
    assert (seen.delivered, seen.timed) == (3 * MESSAGES, 3 * MESSAGES)


def test_latency_is_from_the_publishers_stamp() -> None:
    """A server that waits 50 ms is at least that late, at every percentile."""

    def late(message: int, number: int, line: bytes) -> bytes:
        time.sleep(0.05)
        return faithful(message, number, line)

    seen = seen_of(late, sockets=1)
    assert 50_000_000 * 0.996 <= seen.p50_ns <= seen.p99_ns <= seen.longest_ns <= seen.wall_ns


def test_the_rate_is_kept() -> None:
    """The last of ten messages at 200/s is written 45 ms after the first, or later."""
    assert seen_of(faithful).sending_ns >= 45_000_000


def test_a_frame_without_a_number_is_no_delivery() -> None:
    """A frame that a server sends beside the messages."""
    seen = seen_of(lambda _message, _socket, line: text(b'{"channel":"status"}') + text(line)).complete()
    assert (seen.delivered, seen.other) == (3 * MESSAGES, 3 * MESSAGES)


def test_deflated_frames_are_counted() -> None:
    """And not looked into."""
    seen = seen_of(lambda _message, _socket, line: b"\xc1" + text(line)[1:]).complete()
    assert (seen.delivered, seen.deflated, seen.timed) == (3 * MESSAGES, 3 * MESSAGES, 0)


@pytest.mark.parametrize("deflate", [pytest.param(True, marks=pytest.mark.slow), False])
def test_compression_is_offered_only_where_it_is_asked_for(broadcasts: Broadcaster, deflate: bool) -> None:
    """The result counts the sockets with compression."""
    seen = Swarm(
        port=broadcasts.port,
        paths=broadcasts.paths(3),
        sockets=3,
        source=broadcasts.source,
        messages=2,
        grace_s=TIMEOUT_S,
        deflate=deflate,
    ).run()
    assert (seen.delivered, seen.compressed_sockets) == (6, 3 if deflate else 0)


# -- faults -----------------------------------------------------------------------------------------------------


def test_a_dropped_frame_is_reported_as_lost() -> None:
    """On one of three sockets."""
    seen = seen_of(lambda message, number, line: b"" if (message, number) == (3, 1) else text(line), hangs_up=True)
    assert (seen.delivered, seen.lost, seen.least, seen.most) == (3 * MESSAGES - 1, 1, MESSAGES - 1, MESSAGES)
    assert (seen.surplus, seen.out_of_order) == (0, 0)
    with pytest.raises(BenchError, match="1 lost"):
        seen.complete()


def test_a_doubled_frame_is_reported() -> None:
    """As one too many, and out of order."""
    seen = seen_of(lambda message, number, line: text(line) * (2 if (message, number) == (3, 1) else 1))
    assert (seen.lost, seen.surplus, seen.out_of_order) == (0, 1, 1)
    with pytest.raises(BenchError, match="1 too many, 1 out of order"):
        seen.complete()


def test_a_displaced_frame_is_reported() -> None:
    """One is kept back until after the next."""
    kept: list[bytes] = []

    def displaced(message: int, number: int, line: bytes) -> bytes:
        if number == 2 and message == 4:
            kept.append(text(line))
            return b""
        return text(line) + (kept.pop() if number == 2 and kept else b"")

    seen = seen_of(displaced)
    assert (seen.delivered, seen.lost, seen.out_of_order) == (3 * MESSAGES, 0, 1)


def test_a_close_frame_is_reported_with_its_code() -> None:
    """What the socket then lacks is lost."""
    close = b"\x88\x0f\x03\xf5slow_consumer"
    seen = seen_of(lambda message, number, line: close if (message, number) == (6, 0) else text(line), hangs_up=True)
    assert (seen.closed, seen.close_code, seen.cut) == (1, 1013, 2)
    assert (seen.lost, seen.least) == (MESSAGES - 6, 6)


@pytest.mark.slow
def test_one_at_a_time_ends_where_a_message_does_not_come() -> None:
    """The message is reported as lost instead of awaited for ever."""
    server = Scripted(3, lambda message, number, line: b"" if (message, number) == (3, 1) else text(line))
    with server.running() as swarm:
        seen = replace(swarm, rate_per_s=0, grace_s=SHORT_GRACE_S).run()
    assert (seen.messages, seen.lost, seen.delivered) == (4, 1, 11)


@pytest.mark.slow
def test_a_refused_request_is_reported(broadcasts: Broadcaster) -> None:
    """A wrong key at the HTTP source."""
    source = HttpSource(broadcasts.port, "/notify", "{}", ("X-API-Key: wrong", "Content-Type: application/json"))
    paths = broadcasts.paths(1)
    seen = Swarm(port=broadcasts.port, paths=paths, sockets=1, source=source, messages=3, grace_s=SHORT_GRACE_S).run()
    assert (seen.refused, seen.delivered, seen.lost) == (1, 0, 1)


@pytest.mark.slow
def test_a_refused_upgrade_stops_the_run(gateway: Hermes) -> None:
    """The error quotes the server's answer."""
    with pytest.raises(BenchError, match=r"refused a WebSocket: HTTP/1\.1 404"):
        Swarm(port=gateway.port, paths=["/nowhere"], sockets=2).run()


def test_a_socket_closed_at_once_is_reported(gateway: Hermes) -> None:
    """As Hermes does it with a token that is not valid."""
    seen = Swarm(port=gateway.port, paths=["/ws?token=wrong"], sockets=2, for_s=TIMEOUT_S).run()
    assert (seen.closed, seen.close_code, seen.lost) == (2, 1008, 2)


# -- MQTT -------------------------------------------------------------------------------------------------------


@pytest.mark.broker
def test_mqtt_within_websockets_is_counted() -> None:
    """Packets in binary frames, five messages under way at a time."""
    needs("mosquitto")
    with mosquitto_websockets() as server:
        swarm = Swarm(
            port=server.port,
            paths=["/"],
            sockets=3,
            source=server.source,
            subscription=server.subscription,
            messages=100,
            window=5,
            grace_s=TIMEOUT_S,
        )
        seen = swarm.run().complete()
    assert (seen.delivered, seen.timed) == (300, 300)


# -- sockets that do not read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("skipped", "exact", "gone"), [(8, 1, 0), (7, 0, 1), (9, 0, 0)])
def test_what_a_frozen_socket_received_and_skipped_must_add_up(skipped: int, exact: int, gone: int) -> None:
    """It got the first and the last of ten, so that eight were skipped; for the rest of too few it waits to the end."""

    def conflating(message: int, number: int, line: bytes) -> bytes:
        if number == 0:
            return text(line)
        if message == MESSAGES - 1:
            return text(line[:-1] + b',"skipped":%d}' % skipped)
        return text(line) if message == 0 else b""

    with Scripted(2, conflating, hangs_up=True).running() as swarm:
        seen = replace(swarm, frozen=1, thaw_after_s=0.1).run()
    assert (seen.frozen, seen.frozen_received, seen.frozen_skipped) == (1, 2, skipped)
    assert (seen.frozen_exact, seen.frozen_latest, seen.frozen_gone) == (exact, 1, gone)
    assert (seen.delivered, seen.lost) == (MESSAGES, 0)


@pytest.mark.slow
@pytest.mark.broker
def test_a_frozen_socket_reads_nothing_until_it_is_thawed() -> None:
    """Hermes conflates messages for a frozen socket, which ends with the latest of each device."""
    needs("mosquitto")
    topics = [f"tenants/{TENANT}/devices/d{device}/t" for device in range(3)]
    body = f'{{"n":%n,"t":%t,"padding":"{"x" * 1_500}"}}'
    with broker() as mosquitto, hermes(mqtt_url=mosquitto.url) as server:
        seen = Swarm(
            port=server.port,
            paths=[server.tenant_socket(TENANT)],
            sockets=4,
            source=MqttSource(mosquitto.port, topics, body),
            messages=3_000,
            rate_per_s=3_000,
            frozen=2,
            thaw_after_s=5,  # when Hermes has sent far more than the kernel holds
            grace_s=TIMEOUT_S,
        ).run()
    assert (seen.delivered, seen.lost, seen.out_of_order) == (6_000, 0, 0)
    assert (seen.frozen_exact, seen.frozen_latest, seen.frozen_gone) == (2, 2, 0)
    assert seen.frozen_skipped > 0
    assert seen.frozen_received + seen.frozen_skipped == 6_000
