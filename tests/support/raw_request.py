"""``POST /notify`` as bytes: with headers and chunks that an HTTP client would not send."""

import asyncio
import contextlib
import json
from typing import Any

from tornado.httputil import HTTPHeaders

from tests.support.gateways import KEY, TIMEOUT_S, Hermes
from tests.support.raw_socket import RawSocket, connect, port_of

GOOD: dict[str, Any] = {"user_id": "123", "title": "t", "message": "m"}
BODY = json.dumps(GOOD).encode()
KEYED = {"X-API-Key": KEY}
JSON = {"Content-Type": "application/json"}


async def read_response(raw: RawSocket) -> tuple[int, HTTPHeaders, dict[str, Any]]:
    """Return status, headers and JSON of the next response on this connection."""
    head = (await asyncio.wait_for(raw.reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)).decode()
    status_line, _, fields = head.partition("\r\n")
    headers = HTTPHeaders.parse(fields)
    body = await asyncio.wait_for(raw.reader.readexactly(int(headers["Content-Length"])), TIMEOUT_S)
    return int(status_line.split()[1]), headers, json.loads(body) if body else {}


def request(headers: dict[str, str], body: bytes = BODY, *, method: str = "POST", chunk: int = 0) -> bytes:
    """Return a request with exactly these headers and the body's length; chunked if ``chunk`` gives a size."""
    length = {"Transfer-Encoding": "chunked"} if chunk else {"Content-Length": str(len(body))}
    lines = [f"{method} /notify HTTP/1.1", *(f"{name}: {value}" for name, value in (headers | length).items())]
    if chunk:
        pieces = [body[start : start + chunk] for start in range(0, len(body), chunk)]
        body = b"".join([b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def code_of(hermes: Hermes, headers: dict[str, str], body: bytes = BODY, **how: Any) -> tuple[int, str]:
    """Send a request with exactly these headers; return status and error code, which is empty for 200."""
    local = how.pop("local", "127.0.0.1")
    raw = await connect(hermes, local=local)
    await raw.send_bytes(request({"Host": f"127.0.0.1:{port_of(hermes)}"} | headers, body, **how))
    status, fields, value = await read_response(raw)
    raw.writer.close()
    if status == 200:
        assert value["status"] == "success"
        return 200, ""
    assert fields["Content-Type"].startswith("application/json")
    assert set(value) == {"status", "sent", "error"}
    assert (value["status"], value["sent"]) == ("error", False)
    return status, value["error"]["code"]


async def send_and_read_to_end(hermes: Hermes, data: bytes) -> None:
    """Send bytes on a connection of their own, then its end; the answer is nothing, or no error of the server."""
    raw = await connect(hermes)
    await raw.send_bytes(data)
    with contextlib.suppress(OSError):
        raw.writer.write_eof()
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(raw.reader.read(), TIMEOUT_S)
        assert answer == b"" or (answer.startswith(b"HTTP/1.1 ") and answer[9:12] != b"500"), answer
    raw.writer.close()
    hermes.at_end.remove(raw.writer.close)
