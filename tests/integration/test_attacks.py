"""The attacks that broke a promise of 0.1.0, or were weakly refused, row by row, each against a real gateway.

Each test is the shortest form of its attack; the modules' own tests try the other forms of its kind: row 8 is in
tests/unit/mqtt/test_bridge.py, row 77 in tests/unit/topics/test_topic_map.py, row 97 in test_device_accounts.py, those
of HTTP in test_http_limits.py (16, 18), test_http_smuggling.py (45) and test_http_connection.py (47). What an attack
costs is counted in work, never in time.
"""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from hermes.auth.tokens import TokenSigner
from hermes.cli.listen import one_line
from hermes.delivery import channels
from hermes.delivery.messages import DeviceMessage
from hermes.errors import ConfigError
from hermes.ids import DeviceId, TenantId
from hermes.ingest.payload import decode
from hermes.json_nesting import MAX_CONTAINERS
from hermes.log import MASK, MaskingFormatter
from hermes.metrics import by_label, total
from hermes.settings.load import load
from hermes.settings.model import Settings
from hermes.web.sockets import protocol
from tests.support.gateways import SECRET, Hermes, MakeHermes, eventually, token
from tests.support.growth import LINEAR_MAX, growth
from tests.support.raw_socket import FIN, PING, PONG, RSV1, TEXT, deflated, open_raw

ACME = token(tenant_id="acme")
DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}
BOMB = deflated(b" " * 1_048_576)
GOOD = {"user_id": "123", "title": "t", "message": "m"}


async def still_serves(hermes: Hermes) -> None:
    """A good client is served at once: a notification reaches its socket."""
    socket = await hermes.open("/ws/notifications", token("good"))
    assert (await hermes.notify(GOOD | {"user_id": "good"}))["sent"]
    assert (await socket.receive())["title"] == "t"


def store(hermes: Hermes, devices: int, *, tenant: str = "acme", series: int = 1) -> None:
    """Fill the last values of a tenant."""
    for number in range(devices):
        for each in range(series):
            hermes.gateway.last_values.update(
                DeviceMessage(TenantId(tenant), DeviceId(f"d{number}"), f"s{each}", "t", b"1", 1)
            )


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return an object with the log so far as its text, as Hermes would write it."""

    class Lines(list[str]):
        """Formats the records that there are now."""

        def __str__(self) -> str:
            formatter = MaskingFormatter([SECRET])
            return "\n".join(formatter.format(record) for record in caplog.records)

    caplog.set_level(logging.DEBUG)
    return Lines()


# -- 1: anyone, or any user or device, stops the loop -----------------------------------------------------------------


@pytest.mark.gen_test
async def test_row_1_a_path_of_many_token_beginnings(hermes: Hermes, lines: list[str]) -> None:
    """62 KB without credentials: the log line is short, and its masking linear."""
    response = await hermes.request("/" + "eyJ-" * 15_500)
    assert response.code == 404
    assert len(str(lines)) < 4_000
    formatter = MaskingFormatter([SECRET])

    def line(size: int) -> str:
        return formatter.format(logging.LogRecord("x", logging.INFO, "", 1, "eyJ-" * size, None, None))

    assert growth(line, 2_000) < LINEAR_MAX


@pytest.mark.gen_test
@pytest.mark.parametrize("given", [None, ACME], ids=["row 2: no token", "row 3: 1009 first"])
async def test_rows_2_and_3_bombs_after_the_close(
    hermes: Hermes, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the close frame is thrown away."""
    inflated: list[bytes] = []
    monkeypatch.setattr(protocol, "_inflated", lambda payload, max_bytes: inflated.append(payload))
    socket = await open_raw(hermes, "/ws", given, headers=DEFLATE)
    if given is not None:
        await socket.send(TEXT, b"x" * 70_000)
    assert await socket.close_frame() is not None
    for _ in range(100):
        await socket.send(TEXT, BOMB, flags=FIN | RSV1)
    await still_serves(hermes)
    assert inflated == []


@pytest.mark.gen_test
async def test_row_4_a_snapshot_is_not_merged_again_and_again(hermes: Hermes) -> None:
    """Each one is paid for; a second one takes the place of the first."""
    store(hermes, 20_000)
    socket = await open_raw(hermes, "/ws", ACME, receive_buffer_bytes=4_096)
    socket.pause()
    for _ in range(50):
        await socket.send(TEXT, b'{"action":"subscribe","device":"zz"}')
        await socket.send(TEXT, b'{"action":"unsubscribe","device":"zz"}')
    await eventually(lambda: total(hermes.gateway.metrics.reading_pauses) > 0)
    (session,) = hermes.gateway.hub.sessions
    assert session.waiting < 41_000
    assert by_label(hermes.gateway.metrics.client_frames)["unsubscribe"] < 10
    await still_serves(hermes)


@pytest.mark.gen_test
async def test_row_5_a_change_of_one_device_of_a_thousand(hermes: Hermes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It touches one channel, and the long answer is paid for."""
    socket = await open_raw(hermes, "/ws", ACME)
    names = [f"device-{number}" for number in range(1_000)]
    await socket.send(TEXT, json.dumps({"action": "subscribe", "devices": names}).encode())
    assert len(json.loads(await socket.text())["devices"]) == 1_000
    touched: list[object] = []
    monkeypatch.setattr(hermes.gateway.hub, "_add", lambda session, channel: touched.append(channel))
    monkeypatch.setattr(hermes.gateway.hub, "_remove", lambda session, removed: touched.extend(removed))
    await socket.send(TEXT, b'{"action":"unsubscribe","device":"device-1"}')
    await socket.text()
    monkeypatch.undo()
    assert touched == [channels.device(TenantId("acme"), DeviceId("device-1"))]


def test_row_6_a_payload_of_many_containers() -> None:
    """It is text: counted in one pass, without building its objects."""
    assert decode(b"[" + b",".join([b"[[]]"] * 200_000) + b"]").encoding == "text"
    assert decode(b"[" * 101 + b"]" * 101).encoding == "text"
    assert decode(b"[" + b",".join([b"[]"] * (MAX_CONTAINERS - 1)) + b"]").encoding == ""
    assert growth(lambda size: decode(b"[" + b",".join([b"[[]]"] * size) + b"]"), 5_000) < LINEAR_MAX


@pytest.mark.gen_test
async def test_row_7_one_device_cannot_evict_the_values_of_another_tenant(make_hermes: MakeHermes) -> None:
    """The flooding device loses its own."""
    hermes = await make_hermes(snapshot_max_values="100")
    store(hermes, 10, tenant="victim")
    store(hermes, 1, tenant="acme", series=1_000)
    kept = hermes.gateway.last_values.for_channels([channels.tenant(TenantId("victim"))])
    assert len(kept) == 10


# -- 2: floods, admission ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("given", [ACME, None], ids=["token", "no token"])
async def test_row_9_floods_of_frames(make_hermes: MakeHermes, given: str | None) -> None:
    """They are read at the rate of the budget, and not at all after a refusal."""
    hermes = await make_hermes(client_frames_per_s="1")
    socket = await open_raw(hermes, "/ws", given)
    for _ in range(300):
        await socket.send(PING, b"?")
    await still_serves(hermes)
    if given is not None:
        await eventually(lambda: total(hermes.gateway.metrics.reading_pauses) == 1)


@pytest.mark.gen_test
async def test_row_10_small_frames_that_inflate(make_hermes: MakeHermes) -> None:
    """The bytes after inflating and the bytes of the answer count."""
    hermes = await make_hermes(client_frames_per_s="4")
    socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE)
    ping = deflated(b'{"action":"ping","x":"%s"}' % (b"x" * 60_000))
    assert len(ping) < 200
    for _ in range(3):
        await socket.send(TEXT, ping, flags=FIN | RSV1)
    await eventually(lambda: total(hermes.gateway.metrics.reading_pauses) == 1)
    await still_serves(hermes)


@pytest.mark.gen_test
async def test_row_11_a_large_array_gives_way_to_others(hermes: Hermes) -> None:
    """Between its slices a good client is served."""
    element = json.dumps(GOOD | {"data": {"x": "y" * 900}})
    body = "[" + ",".join([element] * 1_000) + "]"
    array = asyncio.ensure_future(hermes.notify(body))
    await still_serves(hermes)
    assert len((await array)["results"]) == 1_000


@pytest.mark.gen_test
async def test_rows_13_and_15_one_user_cannot_take_all_sockets(make_hermes: MakeHermes) -> None:
    """Another user finds a place."""
    hermes = await make_hermes(max_sockets="20")
    for _ in range(20):
        await open_raw(hermes, "/ws", ACME)
    assert hermes.gateway.admission.open == 5
    await still_serves(hermes)


@pytest.mark.gen_test
async def test_row_14_refused_sockets_take_no_place(make_hermes: MakeHermes) -> None:
    """Sixty of them ignore the close; a good user is admitted at once."""
    hermes = await make_hermes(max_sockets="1")
    for _ in range(60):
        await open_raw(hermes, "/ws")
    await still_serves(hermes)


@pytest.mark.gen_test
async def test_row_19_a_pong_must_answer_the_ping(hermes: Hermes) -> None:
    """A client that never reads cannot know what the ping contains."""
    await hermes.gateway._sweep.stop()  # this test sweeps by a clock of its own
    socket = await open_raw(hermes, "/ws/notifications", ACME)
    (session,) = hermes.gateway.hub.sessions
    for second in range(50):
        await socket.send(PONG, b"")
        await socket.send(TEXT, b'{"action":"ping"}')
        assert await socket.frame() is not None or session.closed
        session.sweep(wall_s=0.0, monotonic_s=1_000.0 + second, ping_interval_s=25.0, ping_timeout_s=20.0)
        if session.closed:
            break
    assert session.closed


@pytest.mark.gen_test
@pytest.mark.usefixtures("patient")
async def test_row_24_guesses_of_tokens(make_hermes: MakeHermes) -> None:
    """After the limit they are refused without a signature check."""
    hermes = await make_hermes(max_failed_auth_per_address="10", trusted_proxies="192.0.2.0/24")
    for number in range(30):
        socket = await open_raw(hermes, "/ws", token(str(number), secret="x" * 32))
        assert await socket.close_frame() is not None
    assert by_label(hermes.gateway.metrics.failed_auth) == {"refused": 10.0, "unchecked": 20.0}


# -- 4: HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_row_50_a_static_path_that_no_file_can_have(hermes: Hermes, complaints: list[logging.LogRecord]) -> None:
    """Not found, without a traceback."""
    for path in ("%00", "a/%00", "x" * 5_000, "hermes-client.js/x", "%ff"):
        assert (await hermes.request(f"/static/{path}")).code in (400, 404)
    assert complaints == []


@pytest.mark.gen_test
async def test_row_62_headers_of_every_answer(hermes: Hermes) -> None:
    """nosniff, no-store, and no name of the server."""
    for path in ("/", "/health", "/ready", "/metrics", "/status", "/nowhere", "/notify", "/static/nothing"):
        headers = (await hermes.request(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cache-Control"] == "no-store", path
        assert "Server" not in headers, path


# -- 5: frames --------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "attack",
    {
        "row 67: not masked": b"\x81\x02{}",
        "row 68: close code 999": b"\x88\x82\0\0\0\0\x03\xe7",
        "row 68: close of one byte": b"\x88\x81\0\0\0\0\x03",
        "row 69: a length in a long form": b"\x81\xfe\0\x02\0\0\0\0{}",
        "row 69: a compressed control frame": b"\xc9\x80\0\0\0\0",
    }.items(),
    ids=lambda attack: attack[0],
)
async def test_rows_67_to_69_frames_against_the_protocol(hermes: Hermes, attack: tuple[str, bytes]) -> None:
    """Closed with 1002."""
    socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE)
    await socket.send_bytes(attack[1])
    assert await socket.first_close() == (1002, "protocol_error")


@pytest.mark.gen_test
async def test_row_70_a_ping_within_a_compressed_message(hermes: Hermes) -> None:
    """A correct client is served."""
    socket = await open_raw(hermes, "/ws", ACME, headers=DEFLATE)
    data = deflated(b'{"action":"ping"}')
    await socket.send(TEXT, data[:4], flags=RSV1)
    await socket.send(PING, b"")
    await socket.send(0, data[4:])
    assert await socket.frame() == (FIN | PONG, b"")
    assert await socket.text() == '{"action":"pong"}'


# -- 6: payloads, topics, /notify -------------------------------------------------------------------------------------


def test_row_75_a_payload_with_a_forged_line() -> None:
    """``hermes listen`` prints one line."""
    assert "\n" not in one_line('{"data":[\n{"device_id":"victim"}\n]}')
    assert "\x9b" not in one_line('{"data":"\x9b31m"}')


@pytest.mark.gen_test
async def test_row_79_minus_zero_is_one_user(hermes: Hermes) -> None:
    """With and without ``data``."""
    socket = await hermes.open("/ws/notifications", token("0"))
    for data in ("", ',"data":{}'):
        body = '{"user_id":-0,"title":"t","message":"m"' + data + "}"
        assert (await hermes.notify(body))["sent"] is True
        await socket.receive()


@pytest.mark.gen_test
async def test_row_80_deep_data(hermes: Hermes) -> None:
    """The same depth as for devices."""
    for levels, status in ((99, 200), (101, 422)):
        deep = '{"a":' * levels + "1" + "}" * levels
        body = '{"user_id":"1","title":"t","message":"m","data":' + deep + "}"
        response = await hermes.post(body, {"X-API-Key": hermes.api_key})
        assert response.code == status


# -- 7: logs, secrets -------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_rows_84_and_85_what_strangers_write_into_the_log(hermes: Hermes, lines: list[str]) -> None:
    """No token, and no character that controls a terminal."""
    signed = TokenSigner(SECRET).sign(user_id="1", username="ana\u202e")
    for path in (f"/ws?%74oken={signed}", f"/nowhere?jwt={signed}", f"/{signed}", f"/ws/notifications?token={signed}"):
        await hermes.request(path)
    await (await hermes.open("/ws/notifications", signed)).close()
    shown = str(lines)
    assert signed.rpartition(".")[2] not in shown
    assert "\u202e" not in shown
    assert MASK in shown


def test_row_100_a_secret_given_as_the_name_of_its_file(tmp_path: Path) -> None:
    """The error does not repeat it."""
    with pytest.raises(ConfigError) as error:
        load(Settings, {"jwt_secret_file": "3f9a" * 16})
    assert "3f9a" not in str(error.value)
