"""``Idempotency-Key``: a request that is repeated is answered as the first time.

Source: draft-ietf-httpapi-idempotency-key-header. With an inbox, the key is the id of the notification, and the inbox
recognises it. Without one, this module does, for the last 10,000 keys.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPServerRequest

from hermes.delivery.request_model import invalid_fields
from hermes.errors import RequestError

HEADER = "Idempotency-Key"
KEYS_MAX = 10_000
KEPT_S = 24 * 3_600
_KEY = re.compile(r"[!-~]{1,64}", re.ASCII)


def idempotency_key(request: HTTPServerRequest) -> str | None:
    """Return the key of a request; None without. Raises `RequestError` 422."""
    key = request.headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise invalid_fields({HEADER: "1 to 64 visible ASCII characters"})
    return key


def with_key(value: object, key: str | None) -> object:
    """Return a parsed notification with the key as its id.

    Raises `RequestError` 422 if it has another one.
    """
    if key is None or not isinstance(value, dict):
        return value
    if value.get("id") not in (None, key):
        raise invalid_fields({"id": f"must equal the {HEADER} header, or be absent"})
    return value | {"id": key}


@dataclass(frozen=True, slots=True)
class _Request:
    digest: bytes
    answer: "asyncio.Future[dict[str, Any] | None]"  # None after an error: it is not remembered
    at_s: float


class RecentAnswers:
    """The answers of requests with a key, the last `KEYS_MAX` of 24 hours, in memory.

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests: OrderedDict[tuple[str, ...], _Request] = OrderedDict()

    async def answer(
        self, key: tuple[str, ...], digest: bytes, send: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Return the answer of ``send``, or that of the first request with this key.

        A repeated one waits for the first. Raises `RequestError` 409 ``conflict`` if the first had other values.
        """
        while (known := self._requests.get(key)) is not None and known.at_s > self._clock() - KEPT_S:
            if known.digest != digest:
                raise RequestError(409, "conflict", f"another request had the same {HEADER} in the last 24 hours")
            first = await asyncio.shield(known.answer)
            if first is not None:
                return first | {"duplicate": True}
        self._requests.pop(key, None)
        request = _Request(digest, asyncio.get_running_loop().create_future(), self._clock())
        self._requests[key] = request
        if len(self._requests) > KEYS_MAX:
            self._requests.popitem(last=False)
        try:
            body = await send()
        except BaseException:
            if self._requests.get(key) is request:
                del self._requests[key]
            request.answer.set_result(None)
            raise
        request.answer.set_result(body)
        return body
