"""Faults that Hermes survives: docs/reference/reliability.md has a row and a figure for each of them.

Every verdict is a state, never a time; the time-outs are reached only in a test that fails.
"""

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.backoff import Backoff
from hermes.client import HermesClient, Reconnect
from hermes.delivery.link_state import LinkState
from hermes.delivery.messages import DeviceMessage
from hermes.delivery.session import Session
from hermes.gateway import Gateway
from hermes.ids import DeviceId, TenantId
from hermes.testing import ClientSocket
from tests.support.brokers import Broker, mosquitto
from tests.support.clocks import JumpingClock
from tests.support.gateways import KEY, SECRET, TIMEOUT_S, Hermes, MakeHermes, eventually, open_websockets, token
from tests.support.namespaces import namespace
from tests.support.processes import cpu_s, open_files, rss_bytes
from tests.support.programs import Program, accepts, free_port, needs
from tests.support.raw_socket import RawSocket, open_at, open_raw

PING = '{"action":"ping"}'
PONG = '{"action":"pong"}'
SPINNING = 0.5  # CPU seconds for each sweep, one a second: an idle Hermes needs a hundredth of it
HOUR_S = 3_600
KIB = 1024


# -- helpers -------------------------------------------------------------------------------------------------------


def serve(*arguments: str, launcher: tuple[str, ...] = (), port: int = 0, **environment: str) -> Program:
    """Start ``hermes serve``, by default without MQTT."""
    command = ["serve", "--port", str(port), *arguments]
    if "--mqtt-url" not in arguments:
        command += ["--mqtt-url", "off"]
    given = {"HERMES_JWT_SECRET": SECRET, "HERMES_API_KEY_FILE": ""} | environment
    return Program(command, given, launcher=(*launcher, sys.executable, "-m", "hermes"))


@contextlib.contextmanager
def serving(*arguments: str, key_file: Path, **options: Any) -> Iterator[Program]:
    """Run ``hermes serve`` during the block."""
    program = serve(*arguments, "--api-key-file", str(key_file), **options)
    try:
        yield program
    finally:
        program.end()


def fetch(url: str, *, body: object = None) -> str:
    """Return the text of a response of Hermes; send the body with the key of the tests."""
    headers = {"Content-Type": "application/json", "X-API-Key": KEY}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=TIMEOUT_S) as response:
        text: str = response.read().decode()
        return text


async def fetched(url: str, *, body: object = None) -> str:
    """Return what `fetch` returns; the event loop goes on meanwhile."""
    return await asyncio.to_thread(fetch, url, body=body)


async def figure(url: str, name: str) -> float:
    """Return a figure of ``/metrics``; labels are a part of its name."""
    lines = (await fetched(f"{url}/metrics")).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def notify(url: str, title: str, user_id: str = "123") -> bool:
    """Send a notification; return whether a socket got it."""
    answer = json.loads(await fetched(f"{url}/notify", body={"user_id": user_id, "title": title, "message": ""}))
    return answer["sent"] is True


async def open_socket(url: str, path: str, token: str) -> WebSocketClientConnection:
    """Open a socket of a program."""
    return await websocket_connect(f"{url.replace('http', 'ws', 1)}{path}?token={token}")


async def next_frame(client: WebSocketClientConnection) -> dict[str, Any] | None:
    """Return the next frame, parsed; None at the end."""
    text = await asyncio.wait_for(client.read_message(), TIMEOUT_S)
    if text is None:
        client.close()  # otherwise Tornado warns
        return None
    return dict(json.loads(text))


async def close(*clients: WebSocketClientConnection) -> None:
    """Close these sockets; return when the server has closed them too."""
    for client in clients:
        client.close()
        while await next_frame(client) is not None:
            pass


async def assert_served(client: WebSocketClientConnection) -> None:
    """Assert that a ping on this socket gets its pong, and nothing comes before."""
    await client.write_message(PING)
    assert await next_frame(client) == {"action": "pong"}


@contextlib.asynccontextmanager
async def expect_no_spinning(program: Program, url: str, sweeps: int = 3) -> AsyncIterator[None]:
    """Expect that Hermes sweeps its sockets as before after the block, and is idle between."""
    yield
    pid, name = program.process.pid, "hermes_loop_lag_seconds_count"
    began, began_cpu_s = await figure(url, name), cpu_s(pid)
    deadline_s = time.monotonic() + TIMEOUT_S
    while (swept := await figure(url, name) - began) < sweeps:
        assert time.monotonic() < deadline_s, "it does not sweep"
        await asyncio.sleep(0.5)
    assert cpu_s(pid) - began_cpu_s < SPINNING * (swept + 1)


def quick() -> Backoff:
    """Delays of some milliseconds: a test does not wait for the MQTT link longer than it must."""
    return Backoff(first_s=0.01, max_s=0.05)


def set_quick(gateway: Gateway) -> None:
    """Let the MQTT link of a gateway reconnect after milliseconds."""
    client = gateway._feed._client
    assert client is not None
    client._backoff = quick()


# -- 1: the broker is killed again and again ------------------------------------------------------------------------


@contextlib.contextmanager
def device_load(broker: Broker) -> Iterator[None]:
    """Publish about 1,000 messages a second from another process during the block."""
    options = ["-p", str(broker.port), "-t", "tenants/acme/devices/load/n", "-m", "1"]
    command = [needs("mosquitto_pub"), *options, "--repeat", "100000000", "--repeat-delay", "0.001"]
    load = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        load.kill()
        load.wait()


@pytest.mark.gen_test(timeout=1_200)
@pytest.mark.broker
@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
async def test_after_each_kill_of_the_broker_the_link_is_restored_and_no_notification_is_lost(
    make_hermes: MakeHermes, tmp_path: Path, kills: int, complaints: list[logging.LogRecord]
) -> None:
    """SIGKILL while devices publish; sockets stay open, threads and descriptors do not become more."""
    with mosquitto(tmp_path) as broker:
        hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{broker.port}")
        set_quick(hermes.gateway)
        link, received = hermes.gateway.link, hermes.gateway.metrics.registry.get_sample_value
        client = await hermes.open("/ws/notifications", token())
        device = await hermes.open("/ws/device/marker", token(tenant_id="acme"))
        resources = 0
        for number in range(kills + 1):
            await eventually(lambda: link.state is LinkState.UP)
            resources = resources or _resources()
            with device_load(broker):
                before = received("hermes_mqtt_received_total") or 0
                await eventually(lambda: (received("hermes_mqtt_received_total") or 0) > before + 100)  # noqa: B023
                await receives(hermes, client, f"up {number}")
                await asyncio.to_thread(broker.publish, "tenants/acme/devices/marker/n", str(number))
                while (frame := await device.receive()).get("channel") != "device":
                    assert frame["channel"] == "status", frame
                assert frame["data"] == number
                if number == kills:
                    break
                await asyncio.to_thread(broker.stop)
            await eventually(lambda: link.state is LinkState.DOWN)
            await receives(hermes, client, f"down {number}")
            await asyncio.to_thread(broker.start)
        assert received("hermes_mqtt_outages_total") == kills
        await eventually(lambda: _resources() <= resources)


async def receives(hermes: Hermes, client: ClientSocket, title: str) -> None:
    """Send a notification; the client gets it next. A client that does not read would not answer pings either."""
    assert (await hermes.notify({"user_id": "123", "title": title, "message": ""}))["sent"]
    assert (await client.receive())["title"] == title


def _resources() -> int:
    """Return the number of threads of Hermes and of open files."""
    return sum(each.name.startswith("hermes") for each in threading.enumerate()) + open_files(os.getpid())


# -- 2: Hermes is stopped or killed ---------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_sigterm_drains_what_was_sent_and_ends_with_exit_code_0(key_file: Path) -> None:
    """A socket gets its notification, then 1001 with the time to come back."""
    with serving(key_file=key_file) as program:
        client = await open_socket(program.url, "/ws/notifications", token())
        assert await notify(program.url, "last")
        ending = asyncio.create_task(asyncio.to_thread(program.end, signal.SIGTERM))
        frame = await next_frame(client)
        assert frame is not None
        assert frame["title"] == "last"
        assert await next_frame(client) is None
        assert client.close_code == 1001
        assert str(client.close_reason).startswith("stopping;retry_ms=")
        client.close()  # otherwise Tornado warns, although the connection has ended
        assert await ending == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(key_file: Path, second: signal.Signals) -> None:
    """The first one drains; a client that does not answer would keep it for seconds."""
    with serving("--drain-timeout-s", "600", key_file=key_file) as program:
        deaf = await open_at(int(program.url.rpartition(":")[2]), "/ws/notifications", token())
        program.process.send_signal(signal.SIGTERM)
        closed = await deaf.close_frame()
        assert closed is not None
        assert closed[0] == 1001
        assert await asyncio.to_thread(program.end, second) == -second, "the signal itself ended it"
        deaf.writer.close()
        await deaf.writer.wait_closed()
    assert "Traceback" not in "".join(program.errors)


@pytest.mark.gen_test
async def test_after_sigkill_a_new_process_listens_at_the_same_port_and_clients_return(key_file: Path) -> None:
    """At once, though the kernel still has the connections of the old one; every client gets what is sent then."""
    users, port = [str(number) for number in range(20)], free_port()
    url = f"http://127.0.0.1:{port}"
    lost: list[Reconnect] = []

    async def listen(user_id: str) -> list[str]:
        titles: list[str] = []
        frames = HermesClient(url, token=token(user_id)).listen("notifications", on_reconnect=lost.append)
        async with contextlib.aclosing(frames):
            async for frame in frames:
                titles.append(frame["title"])
                if frame["title"] == "after":
                    break
        return titles

    async def notify_all(title: str) -> None:
        for user_id in users:
            while not await notify(url, title, user_id):
                await asyncio.sleep(0.05)

    first = serve("--api-key-file", str(key_file), port=port)
    assert first.url
    listening = [asyncio.create_task(listen(user_id)) for user_id in users]
    await notify_all("before")
    await asyncio.to_thread(first.end, signal.SIGKILL)
    with serving(key_file=key_file, port=port) as second:
        assert second.url == first.url
        await asyncio.wait_for(notify_all("after"), TIMEOUT_S)
        assert await asyncio.wait_for(asyncio.gather(*listening), TIMEOUT_S) == [["before", "after"]] * len(users)
        assert len(lost) >= len(users)
    await eventually(lambda: not open_websockets())  # the clients do not wait for the end of what they close


# -- 3: half-open peers ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_client_behind_a_dead_network_is_dropped_and_all_it_used_is_freed(make_hermes: MakeHermes) -> None:
    """It subscribed, then its network drops every packet: no FIN, no reset. A healthy socket stays open.

    Its session, its file descriptor and what the kernel had not sent are gone after a ping interval and a time-out.
    """
    with namespace() as network:
        with network.entered():
            hermes = await make_hermes(ping_interval_s="1", ping_timeout_s="1")
            healthy = await hermes.open("/ws/tenant/globex", token("9", tenant_id="globex"))
            await healthy.expect_silence()
        files = open_files(os.getpid())
        with network.entered():
            dead = await open_raw(hermes, "/ws/tenant/acme", token(tenant_id="acme"), receive_buffer_bytes=4_096)
        dead.pause()
        port = dead.writer.get_extra_info("sockname")[1]
        network.drop(port)
        while not _blocked(hermes):
            _publish_one(hermes, 2_000)
            await hermes.gateway.hub.flushed()
        assert network.connections(port) == 1
        await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
        assert hermes.gateway.metrics.registry.get_sample_value("hermes_lost_pongs_total") == 1
        await eventually(lambda: network.connections(port) == 0)
        dead.writer.transport.abort()
        await eventually(lambda: open_files(os.getpid()) == files)
        gc.collect()
        assert sum(isinstance(each, Session) for each in gc.get_objects()) == 1
        await healthy.expect_silence()
        await hermes.stop()


def _blocked(hermes: Hermes) -> bool:
    return any(session.blocked for session in hermes.gateway.hub.sessions)


def _publish_one(hermes: Hermes, size: int) -> None:
    value = DeviceMessage(TenantId("acme"), DeviceId("d1"), "s", "t", b'"%s"' % (b"x" * size), timestamp_ms=1)
    hermes.gateway.hub.publish(value)


# -- 4: no free file descriptor -------------------------------------------------------------------------------------

FEW_FILES = ("/bin/sh", "-c", 'ulimit -n 170; exec "$@"', "sh")


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.broker
async def test_the_mqtt_link_returns_when_file_descriptors_are_free_again(key_file: Path, tmp_path: Path) -> None:
    """The broker restarts while every descriptor is used by idle connections; open sockets are served meanwhile."""
    with mosquitto(tmp_path) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        # without --max-http-connections 0, idle connections would be closed in time
        arguments = ("--mqtt-url", url, "--max-sockets", "100", "--max-http-connections", "0")
        with serving(*arguments, key_file=key_file, launcher=FEW_FILES) as program:
            url = program.url
            address = ("127.0.0.1", int(url.rpartition(":")[2]))
            while "hermes_mqtt_connected 1" not in await fetched(f"{url}/metrics"):
                await asyncio.sleep(0.05)
            inside = await open_socket(url, "/ws/notifications", token())
            with contextlib.ExitStack() as idle:
                for _ in range(260):
                    idle.enter_context(socket.create_connection(address))
                await asyncio.to_thread(program.wait_for, "LimitNOFILE")
                await asyncio.to_thread(broker.stop)
                await asyncio.to_thread(program.wait_for, "lost mqtt://")
                await assert_served(inside)
                await asyncio.to_thread(broker.start)
                await assert_served(inside)
            await asyncio.to_thread(program.wait_for, r"back after [0-9.]+ s")
            assert "hermes_mqtt_connected 1" in await fetched(f"{url}/metrics")
            async with expect_no_spinning(program, url):
                await assert_served(inside)
            await close(inside)


@pytest.mark.gen_test
async def test_without_a_free_file_descriptor_refused_sockets_are_cut(
    make_hermes: MakeHermes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, though they may wait for their client's close otherwise; the admitted socket stays."""
    monkeypatch.setattr("hermes.web.sockets.protocol.REFUSED_TIMEOUT_S", HOUR_S)
    hermes = await make_hermes(max_sockets="100", max_sockets_per_user="1")
    admitted = await hermes.open("/ws/notifications", token())
    refused = [await open_raw(hermes, "/ws/notifications", token()) for _ in range(10)]
    for raw in refused:
        assert await raw.first_close() is not None
    assert len(hermes.gateway.admission._refused) == len(refused)
    (listener,) = hermes.gateway._server._listeners
    listener._pause(listener._listening[0], OSError(errno.EMFILE, ""))
    assert not hermes.gateway.admission._refused
    for raw in refused:
        await raw.ended()
    await admitted.expect_silence()


# -- 5: full disk ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_with_a_full_disk_for_the_log_it_starts_serves_and_stops(key_file: Path) -> None:
    """Standard output and standard error fail with "No space left on device"; no busy loop, exit code 0."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    full = ("/bin/sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh")
    program = serve("--api-key-file", str(key_file), launcher=full, port=port)
    try:
        await eventually(lambda: accepts(port) or program.process.poll() is not None)
        assert program.process.poll() is None, f"it ended with {program.process.returncode}"
        for number in range(100):  # each logs two lines
            client = await open_socket(url, "/ws/notifications", token())
            assert await notify(url, str(number))
            frame = await next_frame(client)
            assert frame is not None
            assert frame["title"] == str(number)
            await close(client)
        async with expect_no_spinning(program, url):
            pass
    finally:
        code = await asyncio.to_thread(program.end)
    assert code == 0


# -- 6: the clock jumps ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.broker
async def test_clock_jumps_of_an_hour_close_expired_sockets_only(key_file: Path, tmp_path: Path) -> None:
    """Forward, then back: tokens expire by the new clock, timestamps follow it, the MQTT link stays, no busy loop."""
    clock = JumpingClock(tmp_path)

    def valid_for(seconds: float) -> str:
        return token(tenant_id="acme", exp=int(time.time() + seconds))

    async def assert_time(client: WebSocketClientConnection, offset_s: int) -> None:
        """Assert that the timestamps of device data and of notifications are of this time."""
        await asyncio.to_thread(broker.publish, "tenants/acme/devices/d1/temp", "1")
        assert await notify(url, "now")
        frames = [await next_frame(client), await next_frame(client)]
        for frame in frames:
            assert frame is not None
            assert abs(frame["timestamp"] / 1000 - time.time() - offset_s) < HOUR_S / 2, frame

    with mosquitto(tmp_path) as broker:
        arguments = ("--mqtt-url", f"mqtt://127.0.0.1:{broker.port}", "--ping-interval-s", "1")
        with serving(*arguments, key_file=key_file, **clock.environment) as program:
            url = program.url
            while "hermes_mqtt_connected 1" not in await fetched(f"{url}/metrics"):
                await asyncio.sleep(0.05)
            unlimited = await open_socket(url, "/ws", token(tenant_id="acme"))
            for_hours = await open_socket(url, "/ws/notifications", valid_for(3 * HOUR_S))
            for_minutes = await open_socket(url, "/ws/notifications", valid_for(HOUR_S / 2))
            await assert_time(unlimited, 0)
            for each in (for_hours, for_minutes):
                assert (await next_frame(each) or {})["title"] == "now"

            async with expect_no_spinning(program, url):
                clock.jump_to(HOUR_S)
                assert await next_frame(for_minutes) is None
                assert (for_minutes.close_code, for_minutes.close_reason) == (1008, "token_expired")
            late = await open_socket(url, "/ws/notifications", valid_for(HOUR_S / 2))
            assert await next_frame(late) is None
            assert (late.close_code, late.close_reason) == (1008, "token_expired")
            await assert_time(unlimited, HOUR_S)

            async with expect_no_spinning(program, url):
                clock.jump_to(-HOUR_S)
            await assert_time(unlimited, -HOUR_S)
            past = await open_socket(url, "/ws/notifications", valid_for(-HOUR_S / 2))
            await assert_served(past)

            assert await figure(url, "hermes_lost_pongs_total") == 0
            assert await figure(url, "hermes_mqtt_outages_total") == 0
            assert await figure(url, 'hermes_sockets_closed_total{code="1008"}') == 1
            assert await figure(url, "hermes_sockets_open") == 3
            await close(unlimited, for_hours, past)


# -- 7: a receiver at 1 byte/s --------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_receivers_at_a_byte_a_second_are_bounded_and_delay_no_other(make_hermes: MakeHermes) -> None:
    """Device data is conflated, and the socket stays; with notifications it is closed with 1013 and reset.

    The reader gets every notification before the next one is sent.
    """
    hermes = await make_hermes()
    reader = await hermes.open("/ws/notifications", token("reader"))
    devices = await open_raw(hermes, "/ws/tenant/acme", token("1", tenant_id="acme"), receive_buffer_bytes=4_096)
    notes = await open_raw(hermes, "/ws/notifications", token("2"), receive_buffer_bytes=4_096)
    for each in (devices, notes):
        each.pause()
    crawling = asyncio.create_task(_crawl(devices, notes))
    sent, number = True, 0
    while sent:
        for user_id in ("2", "reader"):
            answer = await hermes.notify({"user_id": user_id, "title": str(number), "message": "x" * 16 * KIB})
            sent = answer["sent"]
            assert sent or user_id == "2"
            if not sent:
                break
            for _ in range(20):
                _publish_one(hermes, 2_000)
            await hermes.gateway.hub.flushed()
        else:
            assert (await reader.receive())["title"] == str(number)
        assert max(session._outbox.size_bytes for session in hermes.gateway.hub.sessions) <= 2 * KIB * KIB
        number += 1
        assert number < 2_000, "the outbox has no bound"
    port = notes.writer.get_extra_info("sockname")[1]
    total = hermes.gateway.metrics.registry.get_sample_value
    await eventually(lambda: total("hermes_sockets_closed_total", {"code": "1013"}) == 1)
    assert total("hermes_skipped_total"), "device data was conflated"
    assert {session.principal.user_id for session in hermes.gateway.hub.sessions} == {"reader", "1"}
    await eventually(lambda: not _kernel_has(port))
    await reader.expect_silence()
    crawling.cancel()
    await asyncio.gather(crawling, return_exceptions=True)


async def _crawl(*sockets: RawSocket) -> None:
    """Read a byte a second from each, past the buffers of the client."""
    while True:
        for each in sockets:
            with contextlib.suppress(OSError):
                os.read(each.writer.get_extra_info("socket").fileno(), 1)
        await asyncio.sleep(1)


def _kernel_has(port: int) -> bool:
    """Return whether the server's end of a connection still exists, also after the program has closed it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(row[2].rpartition(":")[2], 16) == port and row[3] != "06" for row in rows)


# -- 8: connections that send nothing -------------------------------------------------------------------------------

SILENT = 5_000


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow this process 6,000 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SILENT + 1_000:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SILENT + 1_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.gen_test(timeout=600)
@pytest.mark.usefixtures("many_files")
async def test_5000_connections_that_send_nothing_do_not_affect_others(key_file: Path) -> None:
    """A socket gets each notification meanwhile; afterwards no file descriptor is left. The memory is printed."""
    with serving(key_file=key_file) as program:
        url, pid = program.url, program.process.pid
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        client = await open_socket(url, "/ws/notifications", token())
        await notify_and_read(url, client, "before")
        files, before = open_files(pid), rss_bytes(pid)
        with contextlib.ExitStack() as silent:
            for number in range(SILENT):
                silent.enter_context(socket.create_connection(address))
                if number % 100 == 0:
                    await notify_and_read(url, client, str(number))
            await eventually(lambda: open_files(pid) >= files + SILENT)
            await notify_and_read(url, client, "with all")
            each = (rss_bytes(pid) - before) / SILENT
            print(f"\n{SILENT} silent connections: {each / KIB:.1f} KiB each")
        assert each < 32 * KIB
        await eventually(lambda: open_files(pid) <= files)
        await notify_and_read(url, client, "after")
        await close(client)


async def notify_and_read(url: str, client: WebSocketClientConnection, title: str) -> None:
    """Send a notification and expect it as the next frame."""
    assert await notify(url, title)
    assert (await next_frame(client) or {})["title"] == title
