"""What every handler of Hermes has in common."""

import functools
import time

from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.web import RequestHandler


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


@functools.lru_cache(1)
def _date(unix_s: int) -> str:
    return format_timestamp(unix_s)
