"""How sockets close: by the client, by a frame that it sends, by silence, by slowness, by the server."""

import asyncio
import gc
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tornado.iostream import IOStream

from hermes.delivery.session import PING_BYTES, Session
from hermes.log import MaskingFormatter
from hermes.metrics import by_label
from hermes.web.sockets.handler import SocketHandler
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.raw_socket import CLOSE, FIN, OPCODE, PING, PONG, RSV1, TEXT, RawSocket, deflated, open_raw, port_of

pytestmark = pytest.mark.usefixtures("complaints")

ROUTES = ["/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws"]
ACME = token(tenant_id="acme")
MIB = 1024 * 1024
TOO_BIG = (1009, "message_too_big")
Attack = Callable[[RawSocket], Awaitable[None]]
DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}


async def has_no_socket(hermes: Hermes) -> bool:
    """Return True if a notification to user 123 reaches no socket."""
    return (await hermes.notify({"user_id": "123", "title": "n", "message": ""}))["sent"] is False


def retry_ms(reason: str | None, word: str) -> int:
    """Return the hint after the machine word of a close reason."""
    match = re.fullmatch(rf"{word};retry_ms=(\d+)", reason or "")
    assert match, reason
    return int(match[1])


# -- by the client ------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xe9going away", b"\x0f\xa0", b"\x03\xe8\xff"]
)
async def test_a_clients_close_ends_the_connection(hermes: Hermes, payload: bytes) -> None:
    """Whatever its code and reason; the user then has no socket."""
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send(CLOSE, payload)
    await raw.ended()
    assert await has_no_socket(hermes)


@pytest.mark.gen_test
async def test_the_reply_to_a_normal_close_has_the_same_code(hermes: Hermes) -> None:
    """As in RFC 6455 §5.5.1."""
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send(CLOSE, b"\x03\xe8bye")
    frame = await raw.frame()
    assert frame is not None
    assert frame[0] & OPCODE == CLOSE
    assert frame[1][:2] == b"\x03\xe8"
    await raw.ended()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("payload", "code"), [(b"", "1005"), (b"\x03\xe8", "1000"), (b"\x0f\xa0", "other"), (None, "1006")]
)
async def test_the_way_a_socket_ended_is_counted(hermes: Hermes, payload: bytes | None, code: str) -> None:
    """A close without a code, as browsers send it, is not a broken connection; its answer has no code either."""
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    if payload is None:
        raw.writer.close()
    else:
        await raw.send(CLOSE, payload)
        frame = await raw.frame()
        assert frame is not None
        assert frame[1] == payload
        await raw.ended()
    await eventually(lambda: by_label(hermes.gateway.metrics.sockets_closed) == {code: 1.0})


@pytest.mark.gen_test
@pytest.mark.parametrize("code", [1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013])
async def test_the_code_of_a_client_does_not_count_as_a_close_by_hermes(
    hermes: Hermes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A client may send each code that Hermes itself sends; counters and log tell them apart."""
    caplog.set_level(logging.INFO)
    metrics = hermes.gateway.metrics
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send(CLOSE, code.to_bytes(2, "big") + b"slow_consumer")
    await raw.ended()
    await eventually(lambda: by_label(metrics.sockets_closed) == {"other": 1.0})
    assert by_label(metrics.sockets_closed_by_client) == {str(code): 1.0}
    assert [record.message for record in caplog.records if "closed for user" in record.message] == [
        f"/ws/notifications: closed for user 123 by the client: {code} slow_consumer"
    ]


@pytest.mark.gen_test
async def test_a_close_by_hermes_does_not_count_as_one_of_the_client(
    hermes: Hermes, caplog: pytest.LogCaptureFixture
) -> None:
    """Although the client answers it with the same code."""
    caplog.set_level(logging.INFO)
    socket = await hermes.open("/ws/notifications", ACME)
    await socket.send(b"binary")
    await socket.wait_closed()
    await eventually(lambda: by_label(hermes.gateway.metrics.sockets_closed) == {"1003": 1.0})
    assert by_label(hermes.gateway.metrics.sockets_closed_by_client) == {}
    assert any("closed for user 123 by Hermes: 1003 binary_not_supported" in each.message for each in caplog.records)


@pytest.mark.gen_test
async def test_a_client_cannot_forge_log_lines(hermes: Hermes, caplog: pytest.LogCaptureFixture) -> None:
    """Line feeds in its close reason or in its name do not start a new line in the log."""
    caplog.set_level(logging.INFO)
    raw = await open_raw(hermes, "/ws", token("1\nforged", "ana\nforged"))
    await raw.send(CLOSE, b"\x03\xe8bye\r\nforged")
    await raw.ended()
    await (await hermes.open("/ws?tenant_id=a%0Aforged", token())).wait_closed()
    lines = [MaskingFormatter().format(record) for record in caplog.records if record.name.startswith("hermes")]
    assert any("forged" in line for line in lines), "the text is logged"
    assert not [line for line in lines if "\n" in line]


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
async def test_a_connection_that_ends_without_a_close_frame_is_removed(hermes: Hermes, path: str) -> None:
    """By a reset, or in an orderly way; no session remains."""
    reset, ended = [await open_raw(hermes, path, ACME) for _ in range(2)]
    reset.reset()
    ended.writer.close()
    await eventually(lambda: not hermes.gateway.hub.sessions)
    metrics = (await hermes.request("/metrics")).body.decode()
    route = "/".join(path.split("/")[:3])
    assert f'hermes_sockets_open{{route="{route}"}} 0.0' in metrics


@pytest.mark.gen_test
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("inbox", [False, True])
@pytest.mark.parametrize("path", ROUTES)
async def test_a_socket_that_ended_needs_no_garbage_collector(
    make_hermes: MakeHermes, tmp_path: Path, path: str, inbox: bool
) -> None:
    """No cycle of references is left: a collection holds the loop, and thousands of sockets may end at once."""
    hermes = await make_hermes(inbox=str(tmp_path / "inbox.db") if inbox else "off")
    reset, ended, closed = [await open_raw(hermes, f"{path}?since=0", ACME) for _ in range(3)]
    refused = await open_raw(hermes, path)
    await refused.first_close()
    refused.writer.close()
    await closed.send(CLOSE, b"\x03\xe8")
    reset.reset()
    ended.writer.close()
    await closed.ended()
    await eventually(lambda: not hermes.gateway.hub.sessions)
    await eventually(
        lambda: not [each for each in gc.get_objects() if isinstance(each, (SocketHandler, Session, IOStream))]
    )


# -- by a frame of the client --------------------------------------------------------------------------------------


async def too_long(raw: RawSocket) -> None:
    """Send the start of a frame of 2 MiB."""
    await raw.send_bytes(bytes([FIN | TEXT, 0x80 | 127]) + (2 * MIB).to_bytes(8, "big") + b"mask" + b"x" * 4096)


async def absurdly_long(raw: RawSocket) -> None:
    """Send the start of a frame of 2^63 - 1 bytes."""
    await raw.send_bytes(bytes([FIN | TEXT, 0x80 | 127]) + (2**63 - 1).to_bytes(8, "big") + b"mask")


async def bomb(raw: RawSocket) -> None:
    """Send a few kilobytes that inflate to 20 MiB."""
    await raw.send(TEXT, deflated(b"x" * 20 * MIB), flags=FIN | RSV1)


async def small_bomb(raw: RawSocket) -> None:
    """Send a few hundred bytes that inflate to 900 KiB."""
    await raw.send(TEXT, deflated(b"x" * 900 * 1024), flags=FIN | RSV1)


async def not_deflate(raw: RawSocket) -> None:
    """Send invalid deflate data as a compressed frame."""
    await raw.send(TEXT, b"\xff\xff\xff\xff", flags=FIN | RSV1)


async def not_utf8(raw: RawSocket) -> None:
    """Send a text frame that is not UTF-8."""
    await raw.send(TEXT, b'{"action":"ping","s":"\xff"}')


async def surrogate(raw: RawSocket) -> None:
    """Send the bytes of a lone surrogate, which are not UTF-8."""
    await raw.send(TEXT, b'{"action":"ping","s":"\xed\xa0\x80"}')


async def reserved_bits(raw: RawSocket) -> None:
    """Send a frame of an extension that was not negotiated."""
    await raw.send(TEXT, b"{}", flags=FIN | 0x20)


async def unknown_opcode(raw: RawSocket) -> None:
    """Send an opcode that does not exist."""
    await raw.send(0x5, b"{}")
    await raw.send(CLOSE, b"")


async def stray_continuation(raw: RawSocket) -> None:
    """Send a continuation frame without a message."""
    await raw.send(0, b"{}")


async def fragmented_ping(raw: RawSocket) -> None:
    """Send a control frame in fragments."""
    await raw.send(PING, b"", flags=0)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "attack",
    [
        too_long,
        absurdly_long,
        bomb,
        small_bomb,
        not_deflate,
        not_utf8,
        surrogate,
        reserved_bits,
        unknown_opcode,
        stray_continuation,
        fragmented_ping,
    ],
)
async def test_a_protocol_violation_ends_its_own_socket_only(hermes: Hermes, attack: Attack) -> None:
    """With or without a close frame; other sockets are not affected."""
    other = await hermes.open("/ws/notifications", token("456"))
    raw = await open_raw(hermes, "/ws/notifications", ACME, headers=DEFLATE)
    await attack(raw)
    frame = await raw.close_frame()
    if attack in (too_long, absurdly_long, bomb):
        assert frame in (None, TOO_BIG)
    elif attack is small_bomb:
        assert frame == TOO_BIG
    await raw.send(CLOSE, b"")
    await raw.ended()
    assert await has_no_socket(hermes)
    await other.expect_silence()


@pytest.mark.gen_test
async def test_a_message_of_many_mebibytes_ends_its_own_socket_only(hermes: Hermes) -> None:
    """A notification to another user still arrives."""
    other = await hermes.open("/ws/notifications", token("456"))
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send(TEXT, b"x" * 4 * MIB)
    assert await raw.close_frame() in (None, TOO_BIG)
    assert (await hermes.notify({"user_id": 456, "title": "n", "message": ""}))["sent"]
    assert (await other.receive())["title"] == "n"


@pytest.mark.gen_test
async def test_frames_after_the_servers_close_are_ignored(hermes: Hermes) -> None:
    """They get neither a reply nor an error frame."""
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send(2, b"x")
    for text in (b'{"action":"ping"}', b"{", b'{"action":"refresh","token":"x"}'):
        await raw.send(TEXT, text)
    frame = await raw.frame()
    assert frame is not None
    assert frame[0] & OPCODE == CLOSE
    assert frame[1][2:] == b"binary_not_supported"
    assert await has_no_socket(hermes)
    await raw.send(CLOSE, b"\x03\xeb")
    assert await raw.frame() is None


# -- by silence ----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_silent_socket_is_dropped_without_a_close_frame(hermes: Hermes) -> None:
    """A socket that does not reply to a protocol ping within the time-out is dropped; one that replies stays."""
    await hermes.gateway._sweep.stop()  # this test sweeps by a clock of its own
    answering, silent = [await open_raw(hermes, "/ws/notifications", ACME) for _ in range(2)]
    sessions = tuple(hermes.gateway.hub.sessions)

    def sweep(monotonic_s: float) -> None:
        for session in sessions:
            session.sweep(wall_s=0.0, monotonic_s=monotonic_s, ping_interval_s=25.0, ping_timeout_s=20.0)

    sweep(1_000.0)
    sweep(1_024.9)
    sweep(1_025.0)
    frame = await answering.frame()
    assert frame is not None
    assert (frame[0], len(frame[1])) == (FIN | PING, PING_BYTES)
    await answering.send(PONG, frame[1])
    await silent.send(PONG, b"")  # an answer to no ping
    await silent.send(PONG, frame[1])  # nor does the other socket's answer count
    await answering.send(TEXT, b'{"action":"ping"}')
    assert await answering.text() == '{"action":"pong"}', "the pong before it has arrived"
    sweep(1_044.9)
    assert len(hermes.gateway.hub.sessions) == 2
    sweep(1_045.0)
    ping = await silent.frame()
    assert ping is not None
    assert ping[0] == FIN | PING
    assert await silent.frame() is None, "no close frame"
    assert (await hermes.notify({"user_id": "123", "title": "n", "message": ""}))["sent"]


@pytest.mark.gen_test
async def test_a_protocol_ping_of_a_client_gets_a_pong(hermes: Hermes) -> None:
    """With the same payload, as in RFC 6455 §5.5.3."""
    raw = await open_raw(hermes, "/ws/notifications", ACME)
    await raw.send(PING, b"are you there")
    assert await raw.frame() == (FIN | PONG, b"are you there")


# -- by slowness ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "limits", [{"outbox_max_messages": "20"}, {"outbox_max_bytes": "65536"}], ids=["messages", "bytes"]
)
async def test_a_slow_consumer_is_closed_with_1013_and_delays_no_other(
    make_hermes: MakeHermes, limits: dict[str, str]
) -> None:
    """Its outbox is bounded: ``sent`` becomes false, and another user's socket gets every notification."""
    hermes = await make_hermes(**limits)
    slow = await open_raw(hermes, "/ws/notifications", token("9"), receive_buffer_bytes=4096)
    quick = await hermes.open("/ws/notifications", token("123"))
    sent = 0
    while (await hermes.notify({"user_id": "9", "title": str(sent), "message": "x" * 16_000}))["sent"]:
        sent += 1
        assert sent < 2_000, "the outbox has no bound"
        assert (await hermes.notify({"user_id": 123, "title": str(sent), "message": ""}))["sent"]
        assert (await quick.receive())["title"] == str(sent)
    assert sent > 2, "the kernel and the outbox took some"
    closed = await slow.close_frame()
    assert closed is not None, "the close frame arrives when the client reads again"
    assert closed[0] == 1013
    assert retry_ms(closed[1], "slow_consumer") > 0
    await quick.expect_silence()


@pytest.mark.gen_test
async def test_every_notification_that_was_sent_arrives_at_a_slow_socket_in_order(hermes: Hermes) -> None:
    """Unless its outbox overflows, it receives all of them when it reads again."""
    slow = await open_raw(hermes, "/ws/notifications", ACME, receive_buffer_bytes=4096)
    message = "é" * 8_000
    for n in range(40):
        assert (await hermes.notify({"user_id": "123", "title": str(n), "message": message}))["sent"]
    titles = [re.search(r'"title":"(\d+)"', await slow.text()) for _ in range(40)]
    assert [title and int(title[1]) for title in titles] == list(range(40))


# -- by the server ------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_stopping_closes_every_route_with_1001(make_hermes: MakeHermes) -> None:
    """The reason says when to reconnect, at a different time for each socket; the port is closed."""
    hermes = await make_hermes()
    sockets = [await hermes.open(path, ACME) for path in ROUTES * 5]
    port = port_of(hermes)
    await hermes.gateway.stop()
    hints = set()
    for socket in sockets:
        code, reason = await socket.wait_closed()
        assert code == 1001
        hints.add(retry_ms(reason, "stopping"))
    assert min(hints) > 0
    assert len(hints) > 1
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
async def test_an_internal_error_at_open_closes_with_1011(
    hermes: Hermes, path: str, monkeypatch: pytest.MonkeyPatch, complaints: list[logging.LogRecord]
) -> None:
    """The client gets no details; the log has the traceback; the next socket opens."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("injected")

    with monkeypatch.context() as injected:
        injected.setattr(hermes.gateway.token_verifier, "verify", fail)
        assert await (await hermes.open(path, ACME)).wait_closed() == (1011, "internal_error")
    assert [record.exc_info and record.exc_info[0] for record in complaints] == [ZeroDivisionError]
    complaints.clear()
    await (await hermes.open(path, ACME)).expect_silence()


@pytest.mark.gen_test
async def test_an_internal_error_at_a_frame_closes_with_1011(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch, complaints: list[logging.LogRecord]
) -> None:
    """Only the socket that sent the frame closes."""
    victim, other = [await hermes.open("/ws", ACME) for _ in range(2)]

    def fail(*_: object) -> None:
        raise ZeroDivisionError("injected")

    with monkeypatch.context() as injected:
        injected.setattr(hermes.gateway.token_verifier, "verify", fail)
        await victim.send({"action": "refresh", "token": ACME})
        assert await victim.wait_closed() == (1011, "internal_error")
    assert [record.exc_info and record.exc_info[0] for record in complaints] == [ZeroDivisionError]
    complaints.clear()
    await other.expect_silence()
