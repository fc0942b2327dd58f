"""``POST /notify``: the order of the checks, and how much of the body is read."""

import asyncio
import contextlib
import json
import tracemalloc

import pytest

from hermes.errors import RequestError
from hermes.web import notify
from tests.support.gateways import TIMEOUT_S, Hermes, token
from tests.support.http_parsers import make_hermes as make_hermes
from tests.support.raw_request import BODY, GOOD, JSON, KEYED, code_of, read_response, request
from tests.support.raw_socket import RawSocket, connect

pytestmark = pytest.mark.usefixtures("complaints")

KIB, MIB = 1024, 1024 * 1024

# -- the order of checks ------------------------------------------------------------------------------------------

UNTYPED = {"Content-Type": "text/plain"}
HUGE = b"{" * 200 * KIB


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "headers", "body", "expected"),
    [
        ("PUT", UNTYPED, HUGE, (405, "method_not_allowed")),
        ("PUT", KEYED | JSON, BODY, (405, "method_not_allowed")),
        ("POST", UNTYPED, HUGE, (401, "unauthorized")),
        ("POST", JSON, BODY, (401, "unauthorized")),
        ("POST", KEYED | UNTYPED, HUGE, (415, "unsupported_type")),
        ("POST", KEYED | UNTYPED, BODY, (415, "unsupported_type")),
        ("POST", KEYED | JSON, HUGE, (413, "too_large")),
        ("POST", KEYED | JSON, b'{"user_id":', (400, "invalid_json")),
        ("POST", KEYED | JSON, b'{"user_id":""}', (422, "invalid")),
        ("POST", KEYED | JSON, BODY, (200, "")),
    ],
)
async def test_errors_are_found_in_this_order(
    hermes: Hermes, method: str, headers: dict[str, str], body: bytes, expected: tuple[int, str]
) -> None:
    """Method, key, type, size, JSON, fields: of several errors in one request, the first is reported."""
    assert await code_of(hermes, headers, body, method=method) == expected


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
async def test_every_other_method_is_not_allowed(hermes: Hermes, method: str) -> None:
    """405 with the allowed method (RFC 9110 §15.5.6), in the form of every other error."""
    response = await hermes.request("/notify", method=method, headers=KEYED | JSON)
    assert response.code == 405
    assert response.headers["Allow"] == "POST"
    if method != "HEAD":
        error = json.loads(response.body)["error"]
        assert error["code"] == "method_not_allowed"


# -- the type -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "Application/JSON ; Charset=utf-8",
        "application/json;",
    ],
)
async def test_json_is_accepted_with_or_without_charset(hermes: Hermes, content_type: str) -> None:
    """Upper and lower case are equal."""
    assert await code_of(hermes, KEYED | {"Content-Type": content_type}) == (200, "")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {},
        *[
            {"Content-Type": content_type}
            for content_type in (
                "",
                "text/plain",
                "text/json",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/jsonp",
                "application/json-patch+json",
                "application/octet-stream; type=application/json",
                "application/json; charset=utf-16",
                "application/json; charset=iso-8859-1",
            )
        ],
    ],
    ids=str,
)
async def test_every_other_type_is_rejected(hermes: Hermes, headers: dict[str, str]) -> None:
    """415, also without a type: a form of a web page can send these without a preflight request."""
    assert await code_of(hermes, KEYED | headers) == (415, "unsupported_type")


# -- the size -----------------------------------------------------------------------------------------------------


def sized(size_bytes: int, *, array: bool = False) -> bytes:
    """Return a valid body of exactly this size, padded with white space."""
    body = b"[" + BODY + b"]" if array else BODY
    return body[:1] + b" " * (size_bytes - len(body)) + body[1:]


@pytest.mark.gen_test
@pytest.mark.parametrize("chunk", [0, 65_536])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (sized(64 * KIB), (200, "")),
        (sized(64 * KIB + 1), (413, "too_large")),
        (sized(64 * KIB + 1, array=True), (200, "")),
        (sized(MIB, array=True), (200, "")),
        (sized(MIB + 1, array=True), (413, "too_large")),
        (sized(MIB), (413, "too_large")),
        (b"{" * 10 * MIB, (413, "too_large")),
        (b"[" * 10 * MIB, (413, "too_large")),
        (b"[" * 16 * MIB, (413, "too_large")),
    ],
    ids=lambda value: f"{len(value)} bytes of {value[:1].decode()}" if isinstance(value, bytes) else "",
)
async def test_a_body_has_a_limit(hermes: Hermes, body: bytes, expected: tuple[int, str], chunk: int) -> None:
    """64 KiB, or 1 MiB for an array; a longer one is read and discarded, so that the 413 arrives."""
    assert await code_of(hermes, KEYED | JSON, body, chunk=chunk) == expected


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", [KEYED | JSON, JSON, KEYED], ids=["large", "unauthorized", "untyped"])
async def test_a_discarded_body_uses_no_memory(hermes: Hermes, headers: dict[str, str]) -> None:
    """The peak for a rejected body of 15 MiB is near the limit of a valid one.

    One without a key is answered at once, and only 1 MiB of its body is read.
    """
    raw = await connect(hermes)
    piece = b"[" * (4 * KIB if headers is JSON else 64 * KIB)
    tracemalloc.start()
    try:
        head = request(headers | {"Host": "127.0.0.1"}, b"").replace(b"Length: 0", b"Length: %d" % (240 * len(piece)))
        await raw.send_bytes(head)
        for _ in range(240):
            await raw.send_bytes(piece)
        status, _, _ = await read_response(raw)
        assert status in (413, 401, 415)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * MIB


@pytest.mark.gen_test
@pytest.mark.parametrize("chunk", [0, MIB])
async def test_a_body_of_more_than_16_mib_may_end_the_connection(hermes: Hermes, chunk: int) -> None:
    """With or without a response; other clients are still served."""
    raw = await connect(hermes)
    await raw.send_bytes(request(KEYED | JSON | {"Host": "127.0.0.1"}, b"[" * 17 * MIB, chunk=chunk))
    with contextlib.suppress(ConnectionError):
        status_line = (await asyncio.wait_for(raw.reader.read(4096), TIMEOUT_S)).partition(b"\r\n")[0]
        assert not status_line or int(status_line.split()[1]) in (400, 413)
    assert await code_of(hermes, KEYED | JSON) == (200, "")


@pytest.mark.gen_test
@pytest.mark.parametrize("chunk", [1, 7, 65_536])
async def test_a_chunked_body_is_accepted(hermes: Hermes, chunk: int) -> None:
    """In chunks of any size."""
    assert await code_of(hermes, KEYED | JSON, sized(500), chunk=chunk) == (200, "")


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", [KEYED | JSON, JSON], ids=["with key", "without key"])
async def test_a_client_that_leaves_before_the_end_of_its_body_affects_no_other(
    hermes: Hermes, headers: dict[str, str]
) -> None:
    """An incomplete body causes neither a notification nor a traceback."""
    socket = await hermes.open("/ws/notifications", token())
    for end in (RawSocket.reset, lambda raw: raw.writer.close()):
        raw = await connect(hermes)
        await raw.send_bytes(request(headers | {"Host": "127.0.0.1"})[:-5])
        end(raw)
    assert await code_of(hermes, KEYED | JSON) == (200, "")
    assert (await socket.receive())["title"] == "t"
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["tenant_id", "data", "id", "type"])
async def test_null_in_an_optional_key_is_absent(hermes: Hermes, name: str) -> None:
    """Also in a body that is too large to be parsed as a whole."""
    for message in ("m", "m" * 8_192):  # the second is read member by member
        socket = await hermes.open("/ws/notifications", token("123"))
        assert (await hermes.notify(GOOD | {name: None, "message": message}))["status"] == "success"
        frame = await socket.receive()
        assert (frame["type"], frame["message"]) == ("info", message)
        assert "data" not in frame
        assert frame["id"]


@pytest.mark.gen_test
async def test_the_errors_of_an_array_keep_nothing_in_memory(hermes: Hermes) -> None:
    """Neither the frames of their traceback nor the error behind them."""
    bad = {"user_id": 1.5, "title": [], "message": 5, "type": "x", "id": "", "data": 1}
    errors: list[RequestError] = []
    result_of = notify._result_of

    def remember(outcome: RequestError) -> object:
        errors.append(outcome)
        return result_of(outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notify, "_result_of", remember)
        assert (await hermes.post([bad] * 10, KEYED)).code == 200
    assert len(errors) == 10
    for error in errors:
        assert error.__traceback__ is None
        assert error.__context__ is None
