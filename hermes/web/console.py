"""Floor 3: the console's page and the files it loads. The page holds no power: it works with the token and the key
that its user brings, but for ``--dev``, which fills them in.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from jinja2 import Template
from markupsafe import Markup
from tornado.web import RequestHandler, StaticFileHandler

from hermes import __version__
from hermes.setting_values import is_loopback

CLIENT_MODULE = "hermes-client.js"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

DevFacts = Callable[[], Mapping[str, Any]]


class ConsoleHandler(RequestHandler):
    """``GET /``: the page. ``dev_facts`` makes the tokens that ``--dev`` fills in; None otherwise."""

    def initialize(self, template: Template, dev_facts: DevFacts | None) -> None:
        """Take the page's template."""
        self._template = template
        self._dev_facts = dev_facts

    def set_default_headers(self) -> None:
        """Nothing from elsewhere, no framing, no address leaked, nothing kept."""
        self.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def get(self) -> None:
        """The page, with its facts as JSON beside the markup."""
        facts = {"version": __version__, "dev": self._facts()}
        self.finish(self._template.render(version=__version__, boot=_script_json(facts)))

    def _facts(self) -> Mapping[str, Any] | None:
        # A page of another name that resolves to this machine (DNS rebinding) must not read the tokens.
        if self._dev_facts is None or not is_loopback(self.request.host_name):
            return None
        return self._dev_facts()


def _script_json(value: object) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = orjson.dumps(value).decode()
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(escaped)  # noqa: S704 - what could end the script element has just been escaped


class StaticHandler(StaticFileHandler):
    """``/static/``: the client module may be imported by any origin's page, the rest only by our own."""

    def set_extra_headers(self, path: str) -> None:
        """Ask before using a copy: an upgraded Hermes must not run with yesterday's console."""
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        if path == CLIENT_MODULE:
            self.set_header("Access-Control-Allow-Origin", "*")
