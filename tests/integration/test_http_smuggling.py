"""No request can be hidden in another, nor behind nginx and HAProxy."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermes.metrics import total
from tests.support.ambiguous_requests import AMBIGUOUS, HIDDEN, MARKER
from tests.support.gateways import TIMEOUT_S, Hermes, eventually, token
from tests.support.http_connections import get, response
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.http_parsers import parsed_by_tornado
from tests.support.programs import Program, accepts, free_port, needs, wait_until
from tests.support.raw_request import GOOD, JSON, KEYED, request
from tests.support.raw_socket import RawSocket, connect, port_of

pytestmark = pytest.mark.usefixtures("complaints")


def responses(answer: bytes) -> list[int]:
    """Return the status of each final response."""
    lines = [line for line in answer.split(b"\r\n") if b"HTTP/1.1 " in line]
    codes = [int(line.partition(b"HTTP/1.1 ")[2][:3]) for line in lines]
    return [code for code in codes if code >= 200]


async def read_all(raw: RawSocket) -> bytes:
    """Return what comes until the end of the connection, also after a reset."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.wait_for(raw.reader.read(65_536), TIMEOUT_S):
            answer += data
    return answer


# -- directly -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_hidden_request_is_a_valid_one(hermes: Hermes) -> None:
    """By itself it sends the notification: the other tests could not fail otherwise."""
    socket = await hermes.open("/ws/notifications", token())
    raw = await connect(hermes)
    await raw.send_bytes(HIDDEN)
    assert (await response(raw)).status == 200
    assert (await socket.receive())["title"] == MARKER


@pytest.mark.gen_test
async def test_one_request_gets_at_most_one_response(hermes: Hermes) -> None:
    """With both parsers; what is hidden in it is never executed."""
    socket = await hermes.open("/ws/notifications", token())
    for name, data in AMBIGUOUS.items():
        raw = await connect(hermes)
        await raw.send_bytes(data)
        raw.writer.write_eof()
        answer = await read_all(raw)
        raw.writer.close()
        codes = responses(answer)
        assert len(codes) <= 1, (name, answer)
        assert 500 not in codes, name
        if not parsed_by_tornado(hermes):
            assert codes or answer.startswith(b"HTTP/1.1 101 "), f"{name} is refused with a response"
        assert total(hermes.gateway.metrics.notify_accepted) == 0, name
    await socket.expect_silence()
    assert total(hermes.gateway.metrics.notify_accepted) == 0


# -- behind a proxy -----------------------------------------------------------------------------------------------

NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
user root;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream hermes {{ server 127.0.0.1:{hermes}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_ignore_client_abort on;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        location / {{ proxy_pass http://hermes; }}
        location /notify {{
            if ($http_x_allowed = "") {{ return 403; }}
            proxy_pass http://hermes;
        }}
    }}
}}
"""
HAPROXY = """\
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
frontend public
    bind 127.0.0.1:{port}
    http-request deny deny_status 403 if {{ path_beg /notify }} !{{ req.hdr(X-Allowed) -m found }}
    default_backend hermes
backend hermes
    http-reuse always
    server hermes 127.0.0.1:{hermes}
"""


def nginx(folder: Path, port: int, hermes: int) -> list[str]:
    """Configure an nginx that does not let `/notify` through; return its command."""
    path = folder / "nginx.conf"
    path.write_text(NGINX.format(folder=folder, port=port, hermes=hermes))
    return [needs("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(path)]


def haproxy(folder: Path, port: int, hermes: int) -> list[str]:
    """Configure a HAProxy that does not let `/notify` through; return its command."""
    path = folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=port, hermes=hermes))
    return [needs("haproxy"), "-db", "-f", str(path)]


COMMANDS: dict[str, Callable[[Path, int, int], list[str]]] = {"nginx": nginx, "haproxy": haproxy}


@pytest.fixture(params=COMMANDS)
def port(request: pytest.FixtureRequest, hermes: Hermes, tmp_path: Path) -> Iterator[int]:
    """The port of a proxy; it lets `/notify` through with X-Allowed only."""
    port = free_port()
    command = COMMANDS[request.param](tmp_path, port, port_of(hermes))
    proxy = Program(command[1:], {"HOME": str(tmp_path)}, launcher=(command[0],))
    try:
        wait_until(lambda: accepts(port), why=f"no answer: {proxy.output} {proxy.errors}")
        yield port
    finally:
        proxy.end()


async def connect_to(port: int) -> RawSocket:
    """Open a connection to the proxy."""
    return RawSocket(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), TIMEOUT_S))


@pytest.mark.gen_test
async def test_nothing_is_smuggled_past_a_proxy(hermes: Hermes, port: int) -> None:
    """The proxy refuses the hidden request if it sees it; Hermes never gets it."""
    socket = await hermes.open("/ws/notifications", token())
    executed, forwarded = [], []
    for name, data in AMBIGUOUS.items():
        raw = await connect_to(port)
        await raw.send_bytes(data)
        raw.writer.write_eof()
        answer = await response_or_end(raw)
        raw.writer.close()
        if b'"method_not_allowed"' in answer:
            forwarded.append(name)
        for _ in range(2):  # the connections of the proxy to Hermes have nothing left of it
            raw = await connect_to(port)
            await raw.send_bytes(get("/health", "Connection: close"))
            after = await read_all(raw)
            raw.writer.close()
            assert responses(after) == [200], (name, answer, after)
            assert after.endswith(b'{"status":"ok"}'), (name, answer, after)
        if total(hermes.gateway.metrics.notify_accepted):
            executed.append(name)
            break
    assert executed == []
    assert len(forwarded) >= 5, "the proxy must pass some of them on"
    await socket.expect_silence()


async def response_or_end(raw: RawSocket) -> bytes:
    """Return the first bytes of a response other than 100, if there is one."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while not responses(answer) and (data := await asyncio.wait_for(raw.reader.read(65_536), TIMEOUT_S)):
            answer += data
    return answer


@pytest.mark.gen_test
async def test_valid_requests_work_through_a_proxy(hermes: Hermes, port: int) -> None:
    """With a length or chunks, pipelined, to a socket, and refused ones."""
    allowed = KEYED | JSON | {"Host": "127.0.0.1", "X-Allowed": "yes"}
    socket = await hermes.open("/ws/notifications", token())
    raw = await connect_to(port)
    for size in (0, 7, 10_000):
        body = json.dumps(GOOD | {"title": f"in chunks of {size}"}).encode()
        await raw.send_bytes(request(allowed, body, chunk=size))
        assert (await response(raw)).json["sent"] is True
        assert (await socket.receive())["title"] == f"in chunks of {size}"
    await raw.send_bytes(get("/health") * 5 + request(allowed) + get("/nothing") + get("/static/hermes-client.js"))
    assert [(await response(raw)).status for _ in range(8)] == [200] * 6 + [404, 200]
    await raw.send_bytes(request(allowed | {"X-API-Key": "wrong"}, b"x" * 60_000) + get("/health"))
    assert (await response(raw)).status == 401
    raw.writer.close()
    raw = await connect_to(port)
    await raw.send_bytes(
        get(
            f"/ws/notifications?token={token()}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
    )
    assert (await response(raw)).status == 101
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 2)
    await raw.send(0x1, b'{"action":"ping"}')
    assert await raw.text() == '{"action":"pong"}'
    raw.writer.close()
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 1)
