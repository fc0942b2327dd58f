"""The extra ``uvloop``: the same service on another event loop."""

import asyncio
import json
import re
import signal
import socket
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from hermes.errors import ConfigError, install_command
from hermes.settings.load import load
from hermes.settings.model import Settings
from hermes.web.sockets.transport import LINGER_NONE
from tests.support.brokers import mosquitto
from tests.support.gateways import SECRET, eventually, token
from tests.support.programs import hermes


def loaded(pid: int) -> str:
    """Return the files that a process has mapped into its memory."""
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.broker
@pytest.mark.gen_test
async def test_hermes_serves_on_uvloop(tmp_path: Path) -> None:
    """A notification and a value of a device arrive; a signal closes the socket with 1001."""
    with mosquitto(tmp_path) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        options = ("--port", "0", "--mqtt-url", url, "--uvloop", "true")
        with hermes("serve", *options, HERMES_JWT_SECRET=SECRET) as program:
            listener = await websocket_connect(
                f"{program.url.replace('http', 'ws', 1)}/ws?token={token(tenant_id='acme')}"
            )
            assert "/uvloop/loop" in loaded(program.process.pid)
            body = json.dumps({"user_id": "123", "title": "hello", "message": ""})
            headers = {"Content-Type": "application/json"}
            await AsyncHTTPClient().fetch(
                HTTPRequest(f"{program.url}/notify", method="POST", body=body, headers=headers)
            )
            assert '"hello"' in str(await listener.read_message())
            await eventually(lambda: re.search("connected to mqtt", "".join(program.errors)))
            broker.publish("tenants/acme/devices/d1/t", "21.5")
            assert '"data":21.5' in str(await listener.read_message())
            program.process.send_signal(signal.SIGTERM)
            assert await listener.read_message() is None
            assert listener.close_code == 1001
            listener.close()
            await eventually(lambda: listener.protocol is None)


@pytest.mark.gen_test
async def test_a_reset_behind_unread_bytes_ends_the_connection() -> None:
    """On uvloop it is reported only once, with the bytes."""
    with hermes("serve", "--port", "0", "--mqtt-url", "off", "--uvloop", "true", HERMES_JWT_SECRET=SECRET) as program:
        port = int(program.url.rpartition(":")[2])
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
                client.sendall(b"POST /notify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
                client.sendall(b"Content-Length: 900000\r\n\r\n" + b" " * 60_000)

        async def open_connections() -> float:
            response = await AsyncHTTPClient().fetch(f"{program.url}/metrics")
            return float(re.findall(rb"^hermes_http_connections_open (.*)$", response.body, re.MULTILINE)[0])

        while await open_connections() > 1:  # the one that asks
            await asyncio.sleep(0.05)


def test_without_uvloop_the_setting_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as raised:
        load(Settings, {"jwt_secret": SECRET, "uvloop": "true"})
    assert raised.value.problems == [
        f"--uvloop (HERMES_UVLOOP): uvloop is not installed; leave this out, or: {install_command('uvloop')}"
    ]
