"""The tests of ``hermes check --site URL``.

They open the console and a socket as a browser does, through the proxy.
"""

import json
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketError, websocket_connect

from hermes.auth.origins import parse_authority
from hermes.web.credentials import SUBPROTOCOL

TIMEOUT_S = 10.0
CONSOLE = b'id="page-data"'  # in every page of the console

Finding = tuple[str, str]  # verdict and text of one line


async def check_site(url: str) -> AsyncIterator[Finding]:
    """Yield a line for the page and one for a socket; the verdict is ok or FAIL.

    ``url`` is what a user enters in the browser, ``https://gw.example/hermes/``.
    """
    site = url.rstrip("/") + "/"
    yield await _page(site)
    yield await _socket(site)


async def _page(site: str) -> Finding:
    try:
        response = await AsyncHTTPClient().fetch(_request(site), raise_error=False)
    except (OSError, HTTPClientError) as error:
        return "FAIL", f"{site}: {_reason(error)}"
    if response.code == 200 and CONSOLE in response.body:
        return "ok", f"{site} is the console"
    return "FAIL", (
        f"{site}: {response.code} and not the console; the proxy must pass this path on as /, without the prefix, and "
        f"with the slash at its end"
    )


async def _socket(site: str) -> Finding:
    """Open a socket as the console does there, but without a token.

    Hermes accepts it and closes it with 1008.
    """
    parts = urlsplit(site)
    origin = parse_authority(parts.netloc.rpartition("@")[2], parts.scheme)
    url = f"{site.replace('http', 'ws', 1)}ws/notifications"
    try:
        request = _request(url, headers={"Origin": str(origin)})
        socket = await websocket_connect(request, subprotocols=[SUBPROTOCOL])
    except WebSocketError:
        return (
            "FAIL",
            f"{url}: the answer is not a WebSocket; the proxy must pass on Upgrade and Connection, over HTTP/1.1",
        )
    except HTTPClientError as error:
        return "FAIL", f"{url}: {_explained(error)}"
    except (OSError, TimeoutError) as error:
        return "FAIL", f"{url}: {_reason(error)}"
    try:
        await socket.read_message()
        closed = socket.close_code, socket.close_reason
    finally:
        socket.close()
    if closed[0] == 1008 and str(closed[1]).startswith("token_missing"):
        return "ok", f"a page of {origin} can open sockets at {url}"
    return "FAIL", f"{url}: closed with {closed[0]} {closed[1] or ''}; what answers there is not Hermes"


def _request(url: str, headers: dict[str, str] | None = None) -> HTTPRequest:
    return HTTPRequest(url, headers=headers, connect_timeout=TIMEOUT_S, request_timeout=TIMEOUT_S)


def _explained(error: HTTPClientError) -> str:
    """Return why a handshake was refused: the text of Hermes, or a hint to the proxy."""
    body = b"" if error.response is None else error.response.body
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        message = "the answer is not from Hermes: look at the proxy"
    if error.code in (400, 426):
        message = "the proxy must pass on Upgrade and Connection, over HTTP/1.1"
    return f"{error.code}: {message}"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; set SSL_CERT_FILE to the file of your CA"
    return str(error) or type(error).__name__
