"""The handshake: origins, subprotocol, compression, how many sockets there may be, and what is no handshake."""

import json
import logging
import re
from collections.abc import Iterable

import pytest

from hermes.log import MaskingFormatter
from hermes.web.sockets.handler import SocketHandler
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.raw_socket import CLOSE, FIN, RSV1, TEXT, RawSocket, deflated, open_raw, port_of

pytestmark = pytest.mark.usefixtures("complaints")

ROUTES = ["/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws"]
ACME = token(tenant_id="acme")
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate"}

# -- origin -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
async def test_no_origin_and_the_same_origin_are_allowed(hermes: Hermes, path: str) -> None:
    """Programs send none; the console's page sends its own."""
    port = port_of(hermes)
    for headers in (
        {},
        {"Origin": f"http://127.0.0.1:{port}"},
        {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        {"Host": "hermes.example", "Origin": "http://hermes.example"},
        {"Host": "Hermes.Example:80", "Origin": "http://hermes.example:80"},
    ):
        assert (await open_raw(hermes, path, ACME, headers=headers)).status == 101, headers


FOREIGN = [
    "https://evil.example",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://localhost:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://evil.example/127.0.0.1:{port}",
    "null",
    "file://",
    "rubbish",
    "http://[::1",
    "http://127.0.0.1:{port}@evil.example",
]


@pytest.mark.gen_test
@pytest.mark.parametrize("origin", FOREIGN)
async def test_other_origins_are_refused_before_the_upgrade(hermes: Hermes, origin: str) -> None:
    """HTTP 403, however good the token."""
    headers = {"Origin": origin.format(port=port_of(hermes))}
    for path in ROUTES:
        assert (await open_raw(hermes, path, ACME, headers=headers)).status == 403
    headers["Sec-Fetch-Site"] = "cross-site"
    assert (await open_raw(hermes, "/ws", ACME, headers=headers)).status == 403


@pytest.mark.gen_test
async def test_named_origins_are_allowed(make_hermes: MakeHermes) -> None:
    """Exactly those, scheme and port included; browsers write them in lower case."""
    hermes = await make_hermes(origins="https://app.example.com,http://Dash.example:3000")
    for origin, status in {
        "https://app.example.com": 101,
        "http://dash.example:3000": 101,
        f"http://127.0.0.1:{port_of(hermes)}": 101,
        "http://app.example.com": 403,
        "https://app.example.com:8443": 403,
        "https://app.example.com.evil.example": 403,
        "https://sub.app.example.com": 403,
        "https://evil.example": 403,
        "null": 403,
    }.items():
        for headers in ({"Origin": origin}, {"Origin": origin, "Sec-Fetch-Site": "cross-site"}):
            if "127.0.0.1" not in origin or len(headers) == 1:
                assert (await open_raw(hermes, "/ws", ACME, headers=headers)).status == status, headers


@pytest.mark.gen_test
@pytest.mark.parametrize("origin", [*FOREIGN[:9], "https://app.example.com"])
async def test_a_star_allows_every_origin(make_hermes: MakeHermes, origin: str) -> None:
    """Also ``null``, which sandboxed pages and files have."""
    hermes = await make_hermes(origins="*")
    headers = {"Origin": origin.format(port=port_of(hermes))}
    assert (await open_raw(hermes, "/ws", ACME, headers=headers)).status == 101


# -- what is no handshake -----------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": "h2c"}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": ""}, 426),
    ],
)
async def test_a_handshake_that_is_none_gets_a_clear_status(
    hermes: Hermes, headers: dict[str, str], status: int
) -> None:  # fmt: skip
    """Never 101, and no session."""
    raw = await open_raw(hermes, "/ws", ACME, headers=headers)
    assert raw.status == status
    assert not hermes.gateway.hub.sessions


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
async def test_a_plain_get_is_a_bad_request(hermes: Hermes, path: str) -> None:
    """As when somebody opens the socket's address in a browser."""
    assert (await hermes.request(f"{path}?token={ACME}")).code == 400


@pytest.mark.gen_test
async def test_an_internal_error_before_the_upgrade_is_http_500(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch, complaints: list[logging.LogRecord]
) -> None:
    """A close code needs a connection; without one HTTP says it, and says nothing of the inside."""

    def fail(*_: object) -> bool:
        raise ZeroDivisionError("injected")

    with monkeypatch.context() as injected:
        injected.setattr(SocketHandler, "check_origin", fail)
        response = await hermes.request(
            f"/ws?token={ACME}",
            headers={
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Origin": "https://app.example.com",
            },
        )
    assert response.code == 500
    assert b"injected" not in response.body
    assert any(record.exc_info for record in complaints)
    assert not any(ACME in MaskingFormatter().format(record) for record in complaints), "the token is in the log"
    complaints.clear()
    await (await hermes.open("/ws", ACME)).silence()


# -- how many -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_full_server_closes_with_1013(make_hermes: MakeHermes) -> None:
    """Accepted, then closed with a hint when to return; who was there stays, and a place that is left can be taken."""
    hermes = await make_hermes(max_sockets="3")
    sockets = [await hermes.open(path, ACME) for path in ROUTES[:3]]
    for path in ROUTES:
        code, reason = await (await hermes.open(path, ACME)).closed()
        assert code == 1013
        match = re.fullmatch(r"server_full;retry_ms=(\d+)", reason or "")
        assert match
        assert int(match[1]) > 0
    for socket in sockets:
        await socket.silence()
    await sockets[0].close()
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 2)
    await (await hermes.open("/ws", ACME)).silence()
    assert (await hermes.request("/health")).code == 200, "HTTP is not counted"


@pytest.mark.gen_test
async def test_refused_sockets_do_not_keep_their_place(make_hermes: MakeHermes) -> None:
    """When they have gone, a good one gets in."""
    hermes = await make_hermes(max_sockets="1")
    for _ in range(5):
        assert await (await hermes.open("/ws")).closed() == (1008, "token_missing")
    await (await hermes.open("/ws", ACME)).silence()


# -- compression --------------------------------------------------------------------------------------------------


def parameters(extensions: str) -> list[str]:
    """What stands after the extension's name, sorted."""
    name, *rest = [part.strip() for part in extensions.split(";")]
    assert name == "permessage-deflate"
    return sorted(rest)


NO_CONTEXT = ["client_no_context_takeover", "server_no_context_takeover"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("offer", "more"),
    [
        ("permessage-deflate", []),
        ("permessage-deflate; client_max_window_bits", []),
        ("permessage-deflate;client_max_window_bits=10", ["client_max_window_bits=10"]),
        ("permessage-deflate; server_no_context_takeover", []),
        ("permessage-deflate; client_no_context_takeover; server_no_context_takeover", []),
        ("permessage-deflate; server_max_window_bits=15", ["server_max_window_bits=15"]),
        ("x-webkit-deflate-frame, permessage-deflate", []),
        ("permessage-deflate; client_max_window_bits, permessage-deflate", []),
    ],
)
async def test_an_offer_is_answered_without_context_takeover(hermes: Hermes, offer: str, more: list[str]) -> None:
    """On both sides, also where the client did not ask: one deflated frame then serves all sockets."""
    raw = await open_raw(hermes, "/ws", ACME, headers={"Sec-WebSocket-Extensions": offer})
    assert raw.status == 101
    answered = parameters(raw.headers["Sec-WebSocket-Extensions"])
    assert [part for part in answered if part not in more] == NO_CONTEXT
    for flags, payload in ((FIN, b'{"action":"ping","n":1}'), (FIN | RSV1, deflated(b'{"action":"ping","n":2}'))):
        await raw.send(TEXT, payload, flags=flags)
        assert json.loads(await raw.text())["n"] in (1, 2)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=14; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=abc",
        "permessage-deflate; server_max_window_bits=015",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=abc",
        "permessage-deflate; client_max_window_bits=-9",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1; client_max_window_bits",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate;",
        "permessage-deflate; ;",
        "permessage-deflate; =",
        "permessage-deflate; =5",
        'permessage-deflate; client_max_window_bits="',
        "permessage-deflate; client_max_window_bits*=utf-8''10",
        "x-webkit-deflate-frame",
        ";",
        ",",
        "=",
    ],
)
async def test_an_offer_that_cannot_be_taken_is_answered_without_the_extension(hermes: Hermes, offer: str) -> None:
    """Too small a window, unknown or repeated parameters, bad values: 101, uncompressed, and it works."""
    raw = await open_raw(hermes, "/ws", ACME, headers={"Sec-WebSocket-Extensions": offer})
    assert raw.status == 101
    assert "Sec-WebSocket-Extensions" not in raw.headers
    await hermes.notify({"user_id": "123", "title": "n", "message": "x" * 2_000})
    frame = await raw.frame()
    assert frame is not None
    assert frame[0] == FIN | TEXT


async def inflated_titles(sockets: Iterable[RawSocket], count: int) -> list[list[str]]:
    """The titles of the next frames of each."""
    return [[json.loads(await raw.text())["title"] for _ in range(count)] for raw in sockets]


@pytest.mark.gen_test
async def test_compressed_frames_inflate_alone_on_every_socket(hermes: Hermes) -> None:
    """Each frame stands for itself: with nothing kept, and whenever a socket has come."""
    first = await open_raw(hermes, "/ws", ACME, headers=OFFER)
    message = "All work and no play. " * 200
    await hermes.notify({"user_id": "123", "title": "0", "message": message})
    second = await open_raw(hermes, "/ws/notifications", ACME, headers=OFFER)
    plain = await open_raw(hermes, "/ws/notifications", ACME)
    elements = [{"user_id": "123", "title": str(n), "message": message * (n % 3)} for n in range(1, 10)]
    await hermes.notify(elements)
    expected = [str(n) for n in range(10)]
    assert await inflated_titles([first], 10) == [expected]
    assert await inflated_titles([second, plain], 9) == [expected[1:]] * 2


@pytest.mark.gen_test
async def test_a_long_repetitive_frame_is_compressed(hermes: Hermes) -> None:
    """Where compression was agreed on it is used; where not, the frame is plain."""
    packed = await open_raw(hermes, "/ws/notifications", ACME, headers=OFFER)
    plain = await open_raw(hermes, "/ws/notifications", ACME)
    await hermes.notify({"user_id": "123", "title": "n", "message": "x" * 16_000})
    for raw, first_byte, size_bytes in ((packed, FIN | RSV1 | TEXT, 1_000), (plain, FIN | TEXT, 20_000)):
        frame = await raw.frame()
        assert frame is not None
        assert frame[0] == first_byte
        assert len(frame[1]) < size_bytes


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
async def test_compression_can_be_turned_off(make_hermes: MakeHermes, path: str) -> None:
    """``compress=false`` answers no offer."""
    hermes = await make_hermes(compress="false")
    raw = await open_raw(hermes, path, ACME, headers=OFFER)
    assert raw.status == 101
    assert "Sec-WebSocket-Extensions" not in raw.headers


@pytest.mark.gen_test
async def test_a_refused_socket_may_have_agreed_on_compression(hermes: Hermes) -> None:
    """The close frame is never compressed."""
    raw = await open_raw(hermes, "/ws", "rubbish", headers=OFFER | {"Sec-WebSocket-Protocol": "hermes.v1"})
    assert raw.headers["Sec-WebSocket-Protocol"] == "hermes.v1"
    frame = await raw.frame()
    assert frame is not None
    assert frame[0] == FIN | CLOSE
    assert frame[1][2:] == b"token_invalid"
