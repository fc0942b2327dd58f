"""Answers that pages of other origins may read (CORS, WHATWG Fetch §3.2).

They are for endpoints that applications in browsers call with a token, and follow the rule of the sockets. ``/notify``
and the endpoints of operators never get these headers: no page may have their key.
"""

from tornado.web import RequestHandler

from hermes.web.origins.rule import OriginRule

METHODS = "GET, POST"
HEADERS = "authorization, content-type, last-event-id"
PREFLIGHT_MAX_AGE_S = 600


def allow_origin(handler: RequestHandler, rule: OriginRule) -> None:
    """Let the page that sent the request read the response.

    To be called in ``prepare``. Raises `ExplainedError` 403 if pages of its origin are not allowed.
    """
    rule.check(handler.request)
    handler.add_header("Vary", "Origin")
    origin = handler.request.headers.get("Origin")
    if origin is not None:
        handler.set_header("Access-Control-Allow-Origin", origin)


def answer_preflight(handler: RequestHandler) -> None:
    """Respond to ``OPTIONS``, after `allow_origin`: what the page may send."""
    handler.set_header("Access-Control-Allow-Methods", METHODS)
    handler.set_header("Access-Control-Allow-Headers", HEADERS)
    handler.set_header("Access-Control-Max-Age", str(PREFLIGHT_MAX_AGE_S))
    handler.set_status(204)
    handler.clear_header("Content-Type")
    handler.finish()
