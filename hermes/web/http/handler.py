"""What every handler of Hermes has in common."""

import functools
import time
from types import TracebackType

from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.web import HTTPError, RequestHandler


class ExplainedError(HTTPError):
    """An error whose response has a code and a text of its own; who raises it logs it."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(status)
        self.code = code
        self.text = text


class HttpHandler(RequestHandler):
    """A handler with the two headers that each response has."""

    def clear(self) -> None:
        """Begin the response anew: 200, without a body."""
        headers = self._headers = HTTPHeaders()
        headers["Content-Type"] = "text/html; charset=UTF-8"
        headers["Date"] = _date(int(time.time()))
        self.set_default_headers()
        self._write_buffer = []
        self._status_code = 200
        self._reason = "OK"

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Log an exception that ended the request, unless it is logged already."""
        if not isinstance(value, ExplainedError):
            super().log_exception(typ, value, tb)


@functools.lru_cache(1)
def _date(unix_s: int) -> str:
    return format_timestamp(unix_s)
