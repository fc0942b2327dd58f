"""The extra ``uvloop``: the same service on another event loop."""

import json
import re
import signal
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from hermes.errors import ConfigError
from hermes.settings.load import load
from hermes.settings.model import Settings
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
            socket = await websocket_connect(
                f"{program.url.replace('http', 'ws', 1)}/ws?token={token(tenant_id='acme')}"
            )
            assert "/uvloop/loop" in loaded(program.process.pid)
            body = json.dumps({"user_id": "123", "title": "hello", "message": ""})
            headers = {"Content-Type": "application/json"}
            await AsyncHTTPClient().fetch(
                HTTPRequest(f"{program.url}/notify", method="POST", body=body, headers=headers)
            )
            assert '"hello"' in str(await socket.read_message())
            await eventually(lambda: re.search("connected to mqtt", "".join(program.errors)))
            broker.publish("tenants/acme/devices/d1/t", "21.5")
            assert '"data":21.5' in str(await socket.read_message())
            program.process.send_signal(signal.SIGTERM)
            assert await socket.read_message() is None
            assert socket.close_code == 1001
            socket.close()
            await eventually(lambda: socket.protocol is None)


def test_without_uvloop_the_setting_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as raised:
        load(Settings, {"jwt_secret": SECRET, "uvloop": "true"})
    assert raised.value.problems == [
        "--uvloop (HERMES_UVLOOP): uvloop is not installed; pip install 'hermes-gateway[uvloop]', or leave this out"
    ]
