"""``POST /notify``: which clients may call it, with configured keys and without."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.gateways import KEY, Hermes, MakeHermes, token
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.raw_request import JSON, code_of, read_response, request
from tests.support.raw_socket import connect

pytestmark = pytest.mark.usefixtures("complaints")

# -- the key ------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"x-api-key": "an-older-key-of-the-tests"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": "bearer an-older-key-of-the-tests"},
        {"X-API-Key": KEY, "Host": "hermes.example", "X-Forwarded-For": "203.0.113.5", "Via": "1.1 proxy"},
    ],
    ids=str,
)
async def test_every_key_of_the_file_is_valid(hermes: Hermes, headers: dict[str, str]) -> None:
    """In either header, also through a proxy; several keys allow rotation."""
    assert await code_of(hermes, headers | JSON) == (200, "")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": f"{KEY}\nan-older-key-of-the-tests".replace("\n", ", ")},
        {"X-API-Key": "k\xe4y \xff"},
        {"X-API-Key": "x" * 10_240},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {token(is_superuser=True)}"},
        {"Cookie": f"X-API-Key={KEY}"},
    ],
    ids=lambda headers: str(headers)[:40],
)
async def test_without_a_valid_key_nothing_is_sent(hermes: Hermes, headers: dict[str, str]) -> None:
    """Also not from this machine; the token of a user is not a key."""
    socket = await hermes.open("/ws/notifications", token())
    assert await code_of(hermes, headers | JSON) == (401, "unauthorized")
    await socket.expect_silence()


# -- without configured keys --------------------------------------------------------------------------------------


@pytest.fixture
def keyless(make_hermes: MakeHermes) -> Callable[[], Awaitable[Hermes]]:
    """Start a gateway without keys."""
    return lambda: make_hermes(api_key_file=None)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost"},
        {"Host": "localhost:8080"},
        {"Host": "127.0.0.1"},
        {"Host": "127.8.9.1:80"},
        {"Host": "[::1]"},
        {"Host": "[::1]:8080"},
        {"Host": "localhost:8080", "Origin": "http://localhost:8080"},
        {"Host": "localhost:8080", "Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"},
        {"X-API-Key": "whatever"},
    ],
    ids=str,
)
@pytest.mark.parametrize("local", ["127.0.0.1", "127.0.0.2"])
async def test_without_keys_clients_on_this_machine_may_notify(
    keyless: Callable[[], Awaitable[Hermes]], headers: dict[str, str], local: str
) -> None:
    """From any loopback address with a loopback host, and from the page of the console."""
    assert await code_of(await keyless(), headers | JSON, local=local) == (200, "")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        *[
            {"Host": host}
            for host in (
                "evil.example",
                "evil.example:8080",
                "127.0.0.1.evil.example",
                "localhost.evil.example",
                "192.168.1.5",
                "[2001:db8::1]",
                "evil.example:127.0.0.1",
            )
        ],
        *[
            {"Origin": origin}
            for origin in ("https://evil.example", "null", "http://localhost:1", "file://", "rubbish", "http://[::1")
        ],
        {"Host": "localhost", "Origin": "http://127.0.0.1"},
        {"Host": "localhost:8080", "Origin": "evil://localhost:8080"},
        {"Host": "localhost:8080", "Origin": "http://localhost:8080", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Forwarded": "for=203.0.113.5"},
        {"X-Forwarded-For": "203.0.113.5"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"x-forwarded-host": "localhost"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Anything": ""},
        {"X-Real-IP": "127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"Via": "1.1 localhost"},
        {"Forwarded": ""},
        {"CF-Connecting-IP": "203.0.113.5"},
        {"True-Client-IP": "203.0.113.5"},
        {"X_Forwarded_For": "203.0.113.5"},
        {"Fastly-Client-IP": "203.0.113.5"},
        {"X-Azure-ClientIP": "203.0.113.5"},
        {"X-Cluster-Client-IP": "203.0.113.5"},
        {"WL-Proxy-Client-IP": "203.0.113.5"},
        {"X-Original-Forwarded-For": "203.0.113.5"},
        {"X-ProxyUser-IP": "203.0.113.5"},
        {"X-Ingress-Path": "/hermes"},
        {"CDN-Loop": "cloudflare"},
    ],
    ids=str,
)
async def test_without_keys_pages_and_proxies_may_not_notify(
    keyless: Callable[[], Awaitable[Hermes]], headers: dict[str, str]
) -> None:
    """Other names for this machine, pages of other origins, and proxies are rejected."""
    hermes = await keyless()
    socket = await hermes.open("/ws/notifications", token())
    assert await code_of(hermes, headers | JSON) == (401, "unauthorized")
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_without_keys_a_request_without_a_host_may_not_notify(
    keyless: Callable[[], Awaitable[Hermes]],
) -> None:
    """HTTP/1.0 has none: such a request may come from a proxy."""
    raw = await connect(await keyless())
    await raw.send_bytes(request(JSON).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await read_response(raw))[0] == 401
    raw.writer.close()


@pytest.mark.gen_test
async def test_with_a_key_file_every_client_needs_a_key(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """One key is enough; blank lines and comments are not keys."""
    path = tmp_path / "one-key"
    path.write_text("\n# rotated 2026-01\n  the-only-key-of-the-site \n\n")
    hermes = await make_hermes(api_key_file=path)
    assert await code_of(hermes, JSON) == (401, "unauthorized")
    assert await code_of(hermes, JSON | {"X-API-Key": ""}) == (401, "unauthorized")
    assert await code_of(hermes, JSON | {"X-API-Key": "# rotated 2026-01"}) == (401, "unauthorized")
    assert await code_of(hermes, JSON | {"X-API-Key": "the-only-key-of-the-site"}) == (200, "")
