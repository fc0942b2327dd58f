"""The public API of the package: embedding a gateway, and `hermes.testing`."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.websocket import websocket_connect

import hermes
from hermes import Gateway, load_settings, sign_token
from hermes.errors import ConfigError, HermesError, RequestError
from hermes.testing import TEST_SECRET, RunningGateway, connect, hermes_gateway, run_gateway, sign_test_token
from tests.support.paths import CHECKOUT

__all__ = ["hermes_gateway"]  # a fixture

SETTINGS = {"mqtt_url": "off", "jwt_secret": TEST_SECRET, "port": "0"}


@pytest.mark.gen_test
async def test_an_embedded_gateway_listens_and_notifies() -> None:
    """The example of the package's documentation, with a token that `sign_token` made."""
    token = sign_token(TEST_SECRET, user_id="123", username="ana")
    async with Gateway(load_settings(SETTINGS)) as gateway:
        socket = await websocket_connect(f"{gateway.url.replace('http', 'ws')}/ws/notifications?token={token}")
        result = await gateway.notify(user_id="123", title="New alert", message="Sensor X is hot", data={"sensor": "X"})
        assert (result.sent, result.sockets) == (True, 1)
        frame = await socket.read_message()
        assert isinstance(frame, str)
        assert f'"id":"{result.id}"' in frame
        assert '"data":{"sensor":"X"}' in frame
        assert not (await gateway.notify(user_id="456", title="New alert", message="")).sent
    assert await socket.read_message() is None
    assert socket.close_code == 1001
    socket.close()


@pytest.mark.gen_test
async def test_an_invalid_notification_is_an_error_that_names_the_fields() -> None:
    """As ``POST /notify`` does."""
    async with run_gateway() as gateway:
        with pytest.raises(RequestError) as raised:
            await gateway.notify(user_id="123", title="", message="", type="loud")  # type: ignore[arg-type]
        assert set(raised.value.fields) == {"title", "type"}


@pytest.mark.gen_test
async def test_data_that_has_no_json_is_a_faulty_field() -> None:
    """Objects, NaN and lone surrogates; a number of any size has one."""
    async with run_gateway() as gateway:
        for data in ({"x": object()}, {"x": float("nan")}, {"x": "\ud800"}):
            with pytest.raises(RequestError) as raised:
                await gateway.notify(user_id="123", title="New alert", message="", data=data)
            assert set(raised.value.fields) == {"data"}
        socket = await connect(gateway, "/ws/notifications", token=sign_test_token())
        await gateway.notify(user_id="123", title="New alert", message="", data={"x": 2**70})
        assert (await socket.receive())["data"] == {"x": 2**70}
        await socket.close()


@pytest.mark.gen_test
async def test_a_gateway_starts_once() -> None:
    """After it has stopped, a new one is needed."""
    gateway = Gateway(load_settings(SETTINGS))
    await gateway.start()
    await gateway.stop()
    with pytest.raises(HermesError, match="create a new Gateway"):
        await gateway.start()


@pytest.mark.gen_test
async def test_the_application_can_be_mounted_elsewhere() -> None:
    """In another HTTP server of the same event loop; stopping the gateway drains its sockets."""
    gateway = Gateway(load_settings(SETTINGS))
    await gateway.start(listen=False)
    listening, port = bind_unused_port()
    server = HTTPServer(gateway.application())
    server.add_sockets([listening])
    try:
        assert (await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/health")).code == 200
        token = sign_test_token()
        socket = await websocket_connect(f"ws://127.0.0.1:{port}/ws/notifications?token={token}")
        assert (await gateway.notify(user_id="123", title="New alert", message="")).sent
        assert await socket.read_message() is not None
        await gateway.stop()
        assert await socket.read_message() is None
        assert socket.close_code == 1001
        socket.close()
    finally:
        await gateway.stop()
        server.stop()
        await server.close_all_connections()


@pytest.mark.gen_test
async def test_two_gateways_run_side_by_side() -> None:
    """Nothing is shared between them."""
    async with run_gateway() as one, run_gateway() as other:
        socket = await connect(one, "/ws/notifications", token=sign_test_token())
        assert not (await other.notify(user_id="123", title="New alert", message="")).sent
        await socket.expect_silence()
        await socket.close()


def test_a_gateway_runs_beside_a_test_without_an_event_loop(hermes_gateway: RunningGateway) -> None:
    """The fixture for users: any client of any library can reach it."""

    async def first_frame() -> object:
        url = f"{hermes_gateway.socket_url}/ws/notifications?token={hermes_gateway.token(user_id='7')}"
        socket = await websocket_connect(url)
        body = '{"user_id":"7","title":"New alert","message":""}'
        headers = {"Content-Type": "application/json"}
        await AsyncHTTPClient().fetch(f"{hermes_gateway.url}/notify", method="POST", headers=headers, body=body)
        frame = await socket.read_message()
        socket.close()
        assert await socket.read_message() is None
        return frame

    assert '"title":"New alert"' in str(asyncio.run(first_frame()))


def test_settings_that_cannot_work_are_reported_together() -> None:
    """By name, all at once."""
    with pytest.raises(ConfigError) as raised:
        load_settings({"port": "many", "ping_interval_s": "0", "jwt_secret": TEST_SECRET})
    assert len(raised.value.problems) == 2


def test_importing_the_package_is_cheap() -> None:
    """``import hermes`` loads neither Tornado nor paho; a public name loads what it needs when it is used."""
    code = "import sys, hermes; print(sorted({'tornado', 'paho', 'pydantic'} & set(sys.modules))); hermes.Gateway"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_exists() -> None:
    """Any other name raises AttributeError."""
    assert {name: getattr(hermes, name) for name in hermes.__all__}
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", hermes.__version__)
    with pytest.raises(AttributeError, match="no attribute 'Sever'"):
        _ = hermes.Sever


def test_the_examples_of_the_python_page_run(tmp_path: Path) -> None:
    """As they stand, but for the service that the reader has to bring."""
    embed, _, _client, test = re.findall(
        r"```python\n(.*?)```", (CHECKOUT / "docs/guide/python.md").read_text(), re.DOTALL
    )
    shown = subprocess.check_output([sys.executable, "-c", embed], text=True, cwd=tmp_path)
    assert re.search(r"^http://127\.0\.0\.1:\d+ is open; a token: eyJ", shown)
    assert shown.endswith("sent: False\n")
    service = """
from tornado.httpclient import AsyncHTTPClient

async def my_service(*, hermes_url):
    body = '{"user_id":"123","title":"New alert","message":""}'
    headers = {"Content-Type": "application/json"}
    await AsyncHTTPClient().fetch(f"{hermes_url}/notify", method="POST", headers=headers, body=body)
"""
    (tmp_path / "test_service.py").write_text(test + service)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
