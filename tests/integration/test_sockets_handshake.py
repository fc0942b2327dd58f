"""The handshake: origins, subprotocol, compression, the socket limit, and invalid handshakes."""

import json
import logging
import re
from collections.abc import Iterable

import pytest
from tornado import httputil

from hermes.log import MaskingFormatter
from hermes.web.sockets.handler import SocketHandler
from tests.support.gateways import Hermes, MakeHermes, eventually, token
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.http_parsers import parsed_by_tornado
from tests.support.raw_socket import CLOSE, FIN, RSV1, TEXT, RawSocket, deflated, open_raw, port_of

pytestmark = pytest.mark.usefixtures("complaints")

ROUTES = ["/ws/notifications", "/ws/tenant/acme", "/ws/device/d1", "/ws"]
ACME = token(tenant_id="acme")
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate"}

# -- origin -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
async def test_no_origin_and_the_same_origin_are_allowed(hermes: Hermes, path: str) -> None:
    """Programs send no origin; the page of the console sends its own."""
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
async def test_other_origins_are_rejected_before_the_upgrade(hermes: Hermes, origin: str) -> None:
    """With HTTP 403, also with a valid token."""
    headers = {"Origin": origin.format(port=port_of(hermes))}
    for path in ROUTES:
        assert (await open_raw(hermes, path, ACME, headers=headers)).status == 403
    headers["Sec-Fetch-Site"] = "cross-site"
    assert (await open_raw(hermes, "/ws", ACME, headers=headers)).status == 403


@pytest.mark.gen_test
async def test_named_origins_are_allowed(make_hermes: MakeHermes) -> None:
    """Only those, with the same scheme and port; browsers send them in lower case."""
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
@pytest.mark.parametrize("origin", [*FOREIGN, "https://app.example.com"])
async def test_a_star_allows_every_origin(make_hermes: MakeHermes, origin: str) -> None:
    """Also ``null``, the origin of sandboxed pages and of files."""
    hermes = await make_hermes(origins="*")
    headers = {"Origin": origin.format(port=port_of(hermes))}
    assert (await open_raw(hermes, "/ws", ACME, headers=headers)).status == 101


# -- invalid handshakes -------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": ""}, 426),
    ],
)
async def test_an_invalid_handshake_gets_a_status(
    hermes: Hermes, headers: dict[str, str], status: int
) -> None:  # fmt: skip
    """Not 101, and no session."""
    raw = await open_raw(hermes, "/ws", ACME, headers=headers)
    assert raw.status == status
    assert not hermes.gateway.hub.sessions


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_a_plain_get_learns_that_this_is_a_socket(hermes: Hermes, path: str, accept: str) -> None:
    """For example if the proxy does not pass on Upgrade, or if the address is opened as a page in a browser."""
    response = await hermes.request(f"{path}?token={ACME}", headers={"Accept": accept})
    assert response.code == 426
    assert response.headers["Upgrade"] == "websocket"
    if not parsed_by_tornado(hermes):  # its server replaces the header
        assert response.headers["Connection"] == "close, Upgrade"
    assert response.headers["Sec-WebSocket-Version"] == "13"
    assert "the proxy must pass on the headers Upgrade and Connection" in response.body.decode()
    if accept == "*/*":
        assert json.loads(response.body)["error"]["code"] == "upgrade_required"
    else:
        assert response.headers["Content-Type"].startswith("text/html")
    assert ACME not in response.body.decode()


@pytest.mark.gen_test
async def test_an_internal_error_before_the_upgrade_is_http_500(
    hermes: Hermes, monkeypatch: pytest.MonkeyPatch, complaints: list[logging.LogRecord]
) -> None:
    """Before the upgrade there is no close code; the response has no details."""

    def fail(*_: object) -> bool:
        raise ZeroDivisionError("injected")

    with monkeypatch.context() as injected:
        injected.setattr(SocketHandler, "get_websocket_protocol", fail)
        response = await hermes.request(
            f"/ws?token={ACME}",
            headers={
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
    assert response.code == 500
    assert b"injected" not in response.body
    assert any(record.exc_info for record in complaints)
    assert not any(ACME in MaskingFormatter().format(record) for record in complaints), "the token is in the log"
    complaints.clear()
    await (await hermes.open("/ws", ACME)).expect_silence()


# -- the socket limit ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_full_server_closes_with_1013(make_hermes: MakeHermes) -> None:
    """After the handshake, with a hint when to reconnect; when an open socket closes, another can be opened."""
    hermes = await make_hermes(max_sockets="3", max_sockets_per_user="0", max_sockets_per_address="0")
    sockets = [await hermes.open(path, ACME) for path in ROUTES[:3]]
    for path in ROUTES:
        code, reason = await (await hermes.open(path, ACME)).wait_closed()
        assert code == 1013
        match = re.fullmatch(r"server_full;retry_ms=(\d+)", reason or "")
        assert match
        assert int(match[1]) > 0
    for socket in sockets:
        await socket.expect_silence()
    await sockets[0].close()
    await eventually(lambda: len(hermes.gateway.hub.sessions) == 2)
    await (await hermes.open("/ws", ACME)).expect_silence()
    assert (await hermes.request("/health")).code == 200, "HTTP requests do not count"


@pytest.mark.gen_test
async def test_a_rejected_socket_counts_only_until_it_has_closed(make_hermes: MakeHermes) -> None:
    """After five rejected sockets, a valid one can be opened under a limit of one."""
    hermes = await make_hermes(max_sockets="1")
    for _ in range(5):
        assert await (await hermes.open("/ws")).wait_closed() == (1008, "token_missing")
    await (await hermes.open("/ws", ACME)).expect_silence()


# -- compression --------------------------------------------------------------------------------------------------


def parameters(extensions: str) -> list[str]:
    """Return the parameters of the extension, sorted."""
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
async def test_an_offer_is_accepted_without_context_takeover(hermes: Hermes, offer: str, more: list[str]) -> None:
    """In both directions, also if the client did not ask for it: all sockets can share one deflated frame."""
    raw = await open_raw(hermes, "/ws", ACME, headers={"Sec-WebSocket-Extensions": offer})
    assert raw.status == 101
    accepted = parameters(raw.headers["Sec-WebSocket-Extensions"])
    assert [part for part in accepted if part not in more] == NO_CONTEXT
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
async def test_an_unacceptable_offer_opens_the_socket_without_compression(hermes: Hermes, offer: str) -> None:
    """A smaller window, unknown or repeated parameters, invalid values: 101 and uncompressed frames."""
    raw = await open_raw(hermes, "/ws", ACME, headers={"Sec-WebSocket-Extensions": offer})
    assert raw.status == 101
    assert "Sec-WebSocket-Extensions" not in raw.headers
    await hermes.notify({"user_id": "123", "title": "n", "message": "x" * 2_000})
    frame = await raw.frame()
    assert frame is not None
    assert frame[0] == FIN | TEXT


async def inflated_titles(sockets: Iterable[RawSocket], count: int) -> list[list[str]]:
    """Return the titles of the next frames of each socket."""
    return [[json.loads(await raw.text())["title"] for _ in range(count)] for raw in sockets]


@pytest.mark.gen_test
@pytest.mark.parametrize("rest", ["," * 60_000, ";" * 60_000, "x," * 30_000, ", permessage-deflate" * 3_000])
async def test_a_header_with_thousands_of_offers_is_ignored(
    hermes: Hermes, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by Tornado, which would parse all of it for a quarter of a second."""
    monkeypatch.setattr(httputil, "_parse_header", lambda line: pytest.fail("parsed"))
    raw = await open_raw(hermes, "/ws", ACME, headers={"Sec-WebSocket-Extensions": f"permessage-deflate{rest}"})
    assert raw.status == 101
    assert "Sec-WebSocket-Extensions" not in raw.headers


@pytest.mark.gen_test
async def test_compressed_frames_inflate_alone_on_every_socket(hermes: Hermes) -> None:
    """Each frame can be inflated without the frames before it, also by a socket that was opened later."""
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
    """A socket that negotiated compression gets a deflated frame, another a plain one."""
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
    """With ``compress=false`` no offer is accepted."""
    hermes = await make_hermes(compress="false")
    raw = await open_raw(hermes, path, ACME, headers=OFFER)
    assert raw.status == 101
    assert "Sec-WebSocket-Extensions" not in raw.headers


@pytest.mark.gen_test
async def test_the_close_frame_of_a_rejected_socket_is_not_compressed(hermes: Hermes) -> None:
    """Also if compression was negotiated."""
    raw = await open_raw(hermes, "/ws", "rubbish", headers=OFFER | {"Sec-WebSocket-Protocol": "hermes.v1"})
    assert raw.headers["Sec-WebSocket-Protocol"] == "hermes.v1"
    frame = await raw.frame()
    assert frame is not None
    assert frame[0] == FIN | CLOSE
    assert frame[1][2:] == b"token_invalid"
