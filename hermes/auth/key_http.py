"""Fetch a document of an identity provider, within fixed bounds."""

import asyncio
import ssl
from collections.abc import Callable

from tornado.httpclient import HTTPError, HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from hermes.auth.jwks import SET_MAX_BYTES
from hermes.errors import HermesError

TIMEOUT_S = 10.0
HEAD_MAX_BYTES = 65_536


class FetchError(HermesError):
    """A document cannot be fetched or used; the text gives the reason."""


async def fetch(url: str, *, tls_context: Callable[[], ssl.SSLContext]) -> bytes:
    """Return the body of a GET.

    It takes at most `TIMEOUT_S` in all, has at most `SET_MAX_BYTES`, and no redirect is followed. ``tls_context`` is
    called for an ``https`` URL, in a thread. Raises `FetchError`.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            context = await asyncio.to_thread(tls_context) if url.startswith("https:") else None
            return await _get(url, context)
    except TimeoutError:
        raise FetchError(f"{url}: no complete answer within {TIMEOUT_S:g} s") from None
    except ValueError as error:  # of the CA file
        raise FetchError(str(error)) from None


async def _get(url: str, context: ssl.SSLContext | None) -> bytes:
    client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=SET_MAX_BYTES, max_header_size=HEAD_MAX_BYTES)
    request = client.fetch(
        url,
        follow_redirects=False,
        decompress_response=False,
        connect_timeout=TIMEOUT_S,
        request_timeout=TIMEOUT_S,
        ssl_options=context,
        headers={"Accept": "application/json"},
    )
    request.add_done_callback(_ignore)
    try:
        # shielded: Tornado logs an error for a future that was cancelled, and cannot end the request earlier anyway
        answer = await asyncio.shield(request)
    except HTTPTimeoutError:
        raise FetchError(f"{url}: no complete answer within {TIMEOUT_S:g} s") from None
    except HTTPStreamClosedError:
        raise FetchError(
            f"{url}: the connection ended early, or the answer has over {SET_MAX_BYTES // 1024} KiB"
        ) from None
    except HTTPError as error:
        raise FetchError(f"{url}: {_status(error)}") from None
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate is not trusted ({error.verify_message}); --jwks-ca-file names the CA of your site"
        raise FetchError(f"{url}: {reason}") from None
    except (OSError, ValueError) as error:  # refused, unknown host, other errors of TLS, malformed HTTP
        raise FetchError(f"{url}: {_reason(error)}") from None
    finally:
        client.close()
    return answer.body


def _ignore(request: "asyncio.Future[HTTPResponse]") -> None:
    """Read the exception of a request that is not awaited any more."""
    if not request.cancelled():
        request.exception()


def _status(error: HTTPError) -> str:
    if 300 <= error.code < 400:
        return f"it answers {error.code}, a redirect, which Hermes does not follow: give the final address"
    return f"it answers {error.code} {error.message}"


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
