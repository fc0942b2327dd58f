"""A Tornado that no longer calls the replaced method as expected: sockets work without compression."""

import inspect
import logging
import textwrap
from collections.abc import Callable, Iterator

import pytest
import tornado
from tornado import websocket

from hermes.web.sockets import deflate_probe
from hermes.web.sockets.deflate_probe import deflate_works
from tests.support.gateways import MakeHermes, token
from tests.support.raw_socket import BINARY, FIN, TEXT, open_raw

OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate"}
CALL = 'self._create_compressors("server", ext[1], self._compression_options)'

Change = Callable[[str, str], None]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Change]:
    """Replace a text in the source of Tornado's handshake, as a new version of Tornado would."""

    def replace(old: str, new: str) -> None:
        source = textwrap.dedent(inspect.getsource(websocket.WebSocketProtocol13._accept_connection))
        assert old in source
        names = dict(vars(websocket))
        exec("from __future__ import annotations\n" + source.replace(old, new), names)
        monkeypatch.setattr(websocket.WebSocketProtocol13, "_accept_connection", names["_accept_connection"])

    deflate_works.cache_clear()
    yield replace
    deflate_works.cache_clear()


def rename(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tornado calls a method of another name."""
    protocol = websocket.WebSocketProtocol13
    monkeypatch.setattr(protocol, "_make_compressors", protocol._create_compressors, raising=False)
    change(CALL, CALL.replace("_create_", "_make_"))


def drop_an_argument(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tornado calls the method with other arguments."""
    create = websocket.WebSocketProtocol13._create_compressors
    monkeypatch.setattr(
        websocket.WebSocketProtocol13,
        "_create_compressors",
        lambda protocol, parameters, options: create(protocol, "server", parameters, options),
    )
    change(CALL, CALL.replace('"server", ', ""))


def ignore_the_parameters(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tornado no longer looks at the parameters that the method changes."""
    change(CALL, CALL.replace("ext[1]", "dict(ext[1])"))


def read_frames_in_another_method(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tornado calls the loop that reads frames by another name."""
    protocol = websocket.WebSocketProtocol13
    monkeypatch.setattr(protocol, "_read_frames", protocol._receive_frame_loop, raising=False)
    change("self._receive_frame_loop()", "self._read_frames()")


def test_the_installed_tornado_calls_the_method(caplog: pytest.LogCaptureFixture) -> None:
    """So that nothing is logged."""
    deflate_works.cache_clear()
    assert deflate_works()
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.gen_test
@pytest.mark.parametrize("alter", [rename, drop_an_argument, ignore_the_parameters, read_frames_in_another_method])
async def test_with_a_changed_tornado_frames_are_plain_and_one_line_is_logged(
    alter: Callable[[Change, pytest.MonkeyPatch], None],
    make_hermes: MakeHermes,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In both directions: the offer of compression is not accepted."""
    alter(change, monkeypatch)
    monkeypatch.setattr(deflate_probe, "TIMEOUT_S", 0.5)  # a Tornado that does not answer fails the probe, too
    hermes = await make_hermes()
    for _ in range(2):
        raw = await open_raw(hermes, "/ws", token(tenant_id="acme"), headers=OFFER)
        assert raw.status == 101
        assert "Sec-WebSocket-Extensions" not in raw.headers
    await hermes.notify({"user_id": "123", "title": "n", "message": "x" * 2_000})
    frame = await raw.frame()
    assert frame is not None
    assert (frame[0], len(frame[1]) > 2_000) == (FIN | TEXT, True)
    await raw.send(TEXT, b'{"action":"ping"}')
    assert await raw.text() == '{"action":"pong"}'
    await raw.send(BINARY, b'{"action":"ping"}')
    assert await raw.first_close() == (1003, "binary_not_supported")
    lines = [record for record in caplog.records if "does not call the methods" in record.message]
    assert [record.levelno for record in lines] == [logging.WARNING]
    assert lines[0].message.startswith(f"Tornado {tornado.version} ")


@pytest.mark.gen_test
async def test_without_compression_nothing_is_probed(make_hermes: MakeHermes) -> None:
    """``compress=false`` does not need the method."""
    deflate_works.cache_clear()
    await make_hermes(compress="false")
    assert deflate_works.cache_info().currsize == 0
