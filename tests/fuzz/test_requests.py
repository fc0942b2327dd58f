"""Any request of a stranger: an answer that is not an internal error, or the end of the connection."""

from functools import partial
from logging import LogRecord

from hypothesis import given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.support.gateways import Hermes, MakeHermes, token
from tests.support.raw_request import send_and_read_to_end
from tests.support.raw_socket import port_of

ACME = token(tenant_id="acme")
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)

PATHS = st.sampled_from(
    [
        *("/", "//", "*", "/ws", "/ws/notifications", "/ws/tenant/acme", "/ws/tenant/%00", "/ws/device/%ff", "/health"),
        *("/ready", "/metrics", "/status", "/static/hermes-client.js", "/static/../x", "/static/%00", "/dev/token"),
        *("/notify", f"/ws?token={ACME}", f"/ws?tenant_id=acme&token={ACME}", "http://a/", "http://["),
    ]
)
QUERIES = st.lists(
    st.sampled_from(["?", "&", "token", "=", "%", "%f", "%00", "%ff", "+", ";", "snapshot=0", ACME]), max_size=6
)
TARGETS = st.builds(lambda path, query: path + "".join(query), PATHS, QUERIES)
PARTS = ("permessage-deflate", ";", ",", "=", '"', "client_max_window_bits", "server_max_window_bits=15", " ")
OFFER = st.lists(st.sampled_from(PARTS), max_size=8).map("".join)
VALUES = {
    **dict.fromkeys(UPGRADE, TEXT | st.sampled_from(["", "13", "websocket", "keep-alive, Upgrade", "8"])),
    "Sec-WebSocket-Extensions": OFFER | TEXT,
    "Sec-WebSocket-Protocol": TEXT | st.sampled_from(["hermes.v1", f"hermes.v1, {ACME}", "hermes.v1,hermes.v1", ","]),
    "Origin": TEXT | st.sampled_from(["null", "http://[", "http://[::1", "://", "http://a:99999", "http://\xff"]),
    "Host": TEXT | st.sampled_from(["[::1", "a:b", "a, b", "", "localhost:0"]),
    "Authorization": TEXT | st.sampled_from([f"Bearer {ACME}", "Bearer", "Basic =", "bearer  x"]),
    "X-Forwarded-For": TEXT | st.sampled_from(["10.0.0.1", "::1%x, [::1]", ",", "1" * 300, "127.0.0.1, 1.2.3.4"]),
    "Cookie": TEXT | st.sampled_from(['a="\\', 'hermes_theme="\\777"', "hermes_language=es; =", ";;"]),
    "Accept-Language": TEXT | st.sampled_from(["es;q=nan", "es;q=inf,en;q=-1", "es;q=1e999", "*;q="]),
    "If-None-Match": TEXT | st.sampled_from(['W/"', "*", '"a"']),
    "If-Modified-Since": TEXT | st.sampled_from(["Thu, 99 Xxx 9999 99:99:99 GMT", "Thu, 01 Jan 1970 00:00:00 +9999"]),
    "Range": TEXT | st.sampled_from(["bytes=0-", "bytes=-0", "bytes=9-1", "bytes=-" + "9" * 5_000]),
    "Content-Length": st.sampled_from(["0", "-1", "5", "9" * 30]),
    "Expect": st.sampled_from(["100-continue", "x"]),
}
HEADERS = st.builds(
    lambda upgrade, given: (UPGRADE if upgrade else {}) | given,
    st.booleans(),
    st.lists(st.sampled_from(sorted(VALUES)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
    ),
)
METHODS = st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "get", "X"])


def test_any_request_is_answered_or_ends_the_connection(
    io_loop: IOLoop, make_hermes: MakeHermes, complaints: list[LogRecord]
) -> None:
    """Nothing reaches the log as an error; the next client is served."""
    limits = {"max_connects_per_address_s": "0", "max_failed_auth_per_address": "0"}
    hermes = io_loop.run_sync(partial(make_hermes, **limits))

    @given(METHODS, TARGETS, HEADERS)
    def attack(method: str, target: str, headers: dict[str, str]) -> None:
        io_loop.run_sync(partial(send_request, hermes, method, target, headers))
        assert io_loop.run_sync(partial(hermes.request, "/health")).code == 200

    attack()


async def send_request(hermes: Hermes, method: str, target: str, headers: dict[str, str]) -> None:
    """Send a request, then the end; read what the server answers until its end."""
    given = {"Host": f"127.0.0.1:{port_of(hermes)}"} | headers
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    await send_and_read_to_end(hermes, "\r\n".join([*lines, "", ""]).encode("latin-1"))
