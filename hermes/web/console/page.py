"""The console page and the static files.

The page itself has no privileges: it uses the token and the API key that its user enters. With ``--dev`` they are
filled in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from jinja2 import Template
from markupsafe import Markup
from tornado.web import HTTPError, StaticFileHandler

from hermes import __version__
from hermes.web.console.i18n import LANGUAGE_NAMES, Language, Languages
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.errors import HttpErrors
from hermes.web.origins.local_caller import reason_to_reject

SERVICE_WORKER = "sw.js"  # served beside the page, which is its scope
NOT_OF_THE_PAGE = frozenset({"console/lib/page-data-types.js", "hermes-client-types.js", SERVICE_WORKER})
CLIENT_FILES = frozenset({"hermes-client.js", "hermes-client.d.ts"})


def content_security_policy(*connect: str, has_base: bool = False, framed: bool = False) -> str:
    """Return the policy of a page that may connect to its own and these origins.

    ``has_base`` allows a ``<base>`` of its own origin; ``framed`` lets pages of its own origin show it in a frame.
    """
    own_and_others = " ".join(("'self'", *connect))
    base, frames = ("'self'" if allowed else "'none'" for allowed in (has_base, framed))
    directives = (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        f"connect-src {own_and_others}",
        "font-src 'self'",
        f"base-uri {base}",
        "form-action 'none'",
        f"frame-ancestors {frames}",
    )
    return "; ".join(directives)


CONTENT_SECURITY_POLICY = content_security_policy()

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+", re.ASCII)  # no character that could end a directive

# Theme → the media query of its dark colours
THEMES = {"auto": "(prefers-color-scheme: dark)", "light": "not all", "dark": "all"}
DEFAULT_THEME = "auto"

# What the page loads when it is needed. Its first load is smaller without it.
ON_DEMAND = (
    "console/connect/sign-in-form.js",
    "console/device-page/",
    "console/devices/series-csv.js",
    "console/drills/",
    "console/inbox/",
    "console/lib/clipboard.js",
    "console/lib/dev-api.js",
    "console/lib/download.js",
    "console/lib/inbox-api.js",
    "console/lib/origin-check.js",
    "console/lib/sign-in.js",
    "console/log/log-panel.js",
    "console/log/log-row.js",
    "console/notifications/browser-notifications.js",
    "console/notifications/missed-summary.js",
    "console/notifications/notify-form.js",
    "console/notifications/receipt-poller.js",
    "console/notifications/sent-list.js",
    "console/notifications/store-fields.js",
    "console/notifications/unread-badge.js",
    "console/overview/node-list.js",
    "console/overview/node-rows.js",
    "console/overview/store-health.js",
    "console/token-inspector/",
)
ON_DEMAND_STRINGS = ("drills.", "inbox.", "inspector.", "log.", "missed.", "nodes.", "notify.", "receipts.", "sign_in.")


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """Template, languages and scripts of the page.

    ``modules`` are the paths of the scripts that the page requests at once. Every path in the page is relative to it: a
    proxy may serve it below a prefix.
    """

    template: Template
    languages: Languages
    modules: Sequence[str]

    def render(
        self,
        *,
        language: Language,
        theme: str,
        token_rules: Mapping[str, Any],
        login: Mapping[str, Any] | None,
        dev: Mapping[str, Any] | None,
        dev_withheld: str,
        prefix: str,
        inbox: bool,
    ) -> str:
        """Return the HTML of the page in this language.

        The data of the page is JSON in a script element. ``prefix`` is the path below which a proxy serves the page, if
        it is known: then the page also works at an address without the slash at its end.
        """
        page_data = {
            "version": __version__,
            "language": language.tag,
            "inbox": inbox,
            "strings": {key: text for key, text in language.strings.items() if not key.startswith(ON_DEMAND_STRINGS)},
            "token_rules": token_rules,
            "login": login,
            "dev": dev,
        }
        return self.template.render(
            version=__version__,
            t=language.translate,
            language=language.tag,
            languages=LANGUAGE_NAMES,
            theme=theme,
            themes=THEMES,
            modules=self.modules,
            prefix=prefix,
            inbox=inbox,
            dev_withheld=dev_withheld,
            page_data=_script_json(page_data),
        )


class ConsoleHandler(HttpErrors):
    """``GET /``: the console page."""

    def initialize(self, page: ConsolePage, gateway: GatewayParts) -> None:
        """Store the shared objects."""
        self._page = page
        self._gateway = gateway

    def set_default_headers(self) -> None:
        """Forbid other origins, framing and referrers."""
        self.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.set_header("Referrer-Policy", "no-referrer")

    def get(self) -> None:
        """Send the page in the language and theme of the user."""
        language = self._page.languages.pick(
            wanted=self._preference("hermes_language"), accepted=self.request.headers.get("Accept-Language", "")
        )
        theme = self._preference("hermes_theme")
        theme = theme if theme in THEMES else DEFAULT_THEME
        login = self._login()
        issuer = None if login is None else _origin(login["token_endpoint"])
        proxies = self._gateway.trusted_proxies
        prefix = proxies.prefix(self.request)
        policy = content_security_policy(
            *([] if issuer is None else [issuer]), has_base=bool(prefix), framed=proxies.is_ingress(self.request)
        )
        self.set_header("Content-Security-Policy", policy)
        withheld = self._reason_to_withhold()
        with self._gateway.metrics.work["page"]:
            text = self._page.render(
                language=language,
                theme=theme,
                token_rules=self._token_rules(),
                login=login,
                dev=None if withheld else self._gateway.console_facts(),
                dev_withheld=withheld,
                prefix=prefix,
                inbox=self._gateway.inbox is not None,
            )
        self.finish(text)

    head = get

    def _token_rules(self) -> Mapping[str, Any]:
        """Return what a valid token needs: no secret, and no name of another party."""
        settings, keys = self._gateway.settings, self._gateway.key_ring.keys
        superuser = settings.claim_names.superuser
        return {
            "algorithms": list(dict.fromkeys(name for key in keys for name in key.algorithms)),
            "fetches_keys": bool(self._gateway.remote_keys),
            "claim_user": settings.claim_user,
            "claim_name": settings.claim_name,
            "name_required": not settings.claim_names.are_renamed,
            "claim_tenant": settings.claim_tenant,
            "claim_superuser": superuser.name,
            "superuser_value": superuser.value,
            "checks_issuer": settings.jwt_issuer is not None or settings.oidc_issuer is not None,
            "checks_audience": settings.jwt_audience is not None,
            "leeway_s": settings.jwt_leeway_s,
            "max_age_s": settings.jwt_max_age_s,
            "require_exp": settings.jwt_require_exp,
        }

    def _login(self) -> Mapping[str, Any] | None:
        """Return what the page needs to sign users in; None without ``--oidc-client-id``.

        The end points are None while the issuer has not answered, or if they cannot be used.
        """
        settings = self._gateway.settings
        if settings.oidc_client_id is None:
            return None
        found = next((keys.discovery for keys in self._gateway.remote_keys if keys.discovery is not None), None)
        token_endpoint = None if found is None else found.token_endpoint
        usable = found is not None and found.authorization_endpoint is not None and _origin(token_endpoint) is not None
        return {
            "issuer": settings.oidc_issuer,
            "client_id": settings.oidc_client_id,
            "scope": settings.oidc_scope,
            "audience": settings.jwt_audience,
            "authorization_endpoint": found.authorization_endpoint if usable and found is not None else None,
            "token_endpoint": token_endpoint if usable else None,
            "end_session_endpoint": found.end_session_endpoint if found is not None else None,
        }

    def _reason_to_withhold(self) -> str:
        """Return why this page gets no tokens with ``--dev``; empty if it gets them.

        It follows the rule of ``/notify`` without keys: nothing for the visitors of a proxy, nor for a host name that
        resolves to this machine (DNS rebinding).
        """
        return (self._gateway.settings.dev and reason_to_reject(self.request)) or ""

    def _preference(self, name: str) -> str | None:
        """Return the first cookie of this name.

        Of several it has the longest path (RFC 6265 §5.4).
        """
        for pair in self.request.headers.get("Cookie", "").split(";"):
            given, _, value = pair.partition("=")
            if given.strip() == name:
                return value.strip()
        return None


def _origin(url: str | None) -> str | None:
    """Return the origin of a URL if it can stand in a policy."""
    parts = urlsplit(url or "")
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if _ORIGIN.fullmatch(origin) else None


def page_modules(static: Path) -> list[str]:
    """Return the paths of the scripts that the page needs at once, relative to it."""
    scripts = [path.relative_to(static).as_posix() for path in sorted(static.rglob("*.js"))]
    return [
        f"static/{script}" for script in scripts if script not in NOT_OF_THE_PAGE and not script.startswith(ON_DEMAND)
    ]


def _script_json(value: object) -> Markup:
    """Return JSON that cannot end the script element that contains it."""
    text = orjson.dumps(value).decode()
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(escaped)  # noqa: S704 - the characters that could end the script element are escaped above


class StaticHandler(HttpErrors, StaticFileHandler):
    """``/static/``: the static files.

    Pages of any origin may import the client module. Other files are for pages of this origin only. Any path that is
    not that of a file is not found.
    """

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        """Return the path in the file system.

        Raises `HTTPError` 404 if it leads out of ``root``, or ends with a slash, as only folders do.
        """
        if path.endswith("/"):
            raise HTTPError(404)
        try:
            return super().get_absolute_path(root, path)
        except HTTPError:
            raise HTTPError(404) from None

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Return the path of a file.

        Raises `HTTPError` 404, also for a folder, a NUL byte, a name that is too long and a loop of links.
        """
        try:
            return super().validate_absolute_path(root, absolute_path)
        except (HTTPError, OSError, ValueError):
            raise HTTPError(404) from None

    def set_extra_headers(self, path: str) -> None:
        """Require revalidation of cached files.

        Otherwise an upgraded Hermes could be used with a cached console.
        """
        self.set_header("Cache-Control", "no-cache")
        if path in CLIENT_FILES:
            self.set_header("Access-Control-Allow-Origin", "*")
