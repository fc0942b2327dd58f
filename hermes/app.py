"""Route table: every URL that Hermes serves, and its handler."""

import functools
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, GZipContentEncoding, RequestHandler

import hermes
from hermes.auth.api_keys import Caller
from hermes.log import masked
from hermes.web.api.disconnect import DisconnectHandler
from hermes.web.api.key import KeyHandler
from hermes.web.api.presence import PresenceHandler
from hermes.web.console.i18n import Languages
from hermes.web.console.page import SERVICE_WORKER, ConsoleHandler, ConsolePage, StaticHandler, page_modules
from hermes.web.dev_api import DevHandler
from hermes.web.gateway_parts import GatewayParts
from hermes.web.http.delegate import EagerApplication
from hermes.web.http.errors import HttpErrors, NotFoundHandler
from hermes.web.inbox.operator_api import BackupHandler, PurgeHandler, StatsHandler
from hermes.web.inbox.reader_api import AckHandler, InboxHandler
from hermes.web.inbox.sender_api import ReceiptsHandler, WithdrawHandler
from hermes.web.notify import NotifyHandler
from hermes.web.origins.trusted_proxies import TrustedProxies
from hermes.web.response_headers import HstsHeaders, ResponseHeaders
from hermes.web.sockets.routes import CombinedSocket, DeviceSocket, NotificationsSocket, TenantSocket, TenantsSocket
from hermes.web.status import HealthHandler, MetricsHandler, NodeStatusHandler, ReadyHandler

LOGGED_PATH_MAX_CHARS = 200

access_log = logging.getLogger("hermes.access")


def make_app(gateway: GatewayParts) -> Application:
    """Return the application with every URL that Hermes serves."""
    shared = {"gateway": gateway}
    headers = _response_headers(gateway)
    return EagerApplication(
        [
            (r"/notify", NotifyHandler, shared),
            (r"/ws/notifications", NotificationsSocket, shared),
            (r"/ws/tenant/([^/]+)", TenantSocket, shared),
            (r"/ws/tenants", TenantsSocket, shared),
            (r"/ws/device/(.+)", DeviceSocket, shared),
            (r"/ws/device", DeviceSocket, shared),
            (r"/ws", CombinedSocket, shared),
            *(_inbox_routes(shared) if gateway.inbox is not None else ()),
            (r"/health", HealthHandler),
            (r"/ready", ReadyHandler, shared),
            (r"/metrics", MetricsHandler, shared),
            (r"/status", NodeStatusHandler, shared),
            (r"/key", KeyHandler, shared),
            (r"/disconnect", DisconnectHandler, shared),
            (r"/presence", PresenceHandler, shared),
            # Without --dev the routes do not exist: a missing route cannot be left unprotected by mistake.
            *((rf"/dev/{name}", DevHandler, shared | {"action": act}) for name, act in gateway.dev_actions.items()),
            (rf"(?:/static/.+|/{re.escape(SERVICE_WORKER)}|/)", _console(gateway, headers)),
        ],
        on_request=gateway.trusted_proxies.note,
        transforms=[headers],
        log_function=functools.partial(log_access, gateway.trusted_proxies),
        default_handler_class=NotFoundHandler,
    )


def _response_headers(gateway: GatewayParts) -> Callable[[HTTPServerRequest], ResponseHeaders]:
    max_age_s = gateway.settings.hsts_max_age_s
    return functools.partial(HstsHeaders, max_age_s=max_age_s) if max_age_s else ResponseHeaders


def _inbox_routes(
    shared: dict[str, GatewayParts],
) -> Sequence[tuple[str, type[RequestHandler], dict[str, GatewayParts]]]:
    """Return the routes that exist only with an inbox."""
    return (
        (r"/notify/(.+)", WithdrawHandler, shared),
        (r"/receipts", ReceiptsHandler, shared),
        (r"/receipts/(.+)", ReceiptsHandler, shared),
        (r"/inbox", InboxHandler, shared),
        (r"/ack", AckHandler, shared),
        (r"/inbox/stats", StatsHandler, shared),
        (r"/inbox/purge", PurgeHandler, shared),
        (r"/inbox/backup", BackupHandler, shared),
    )


def _console(gateway: GatewayParts, headers: Callable[[HTTPServerRequest], ResponseHeaders]) -> Application:
    """Return the console and its files, the only responses worth compressing."""
    files = {"path": str(resource_dir("static"))}
    return EagerApplication(
        [
            (r"/static/(.+)", StaticHandler, files),
            (rf"/({re.escape(SERVICE_WORKER)})", StaticHandler, files),
            (r"/", ConsoleHandler, {"page": _console_page(), "gateway": gateway}),
        ],
        transforms=[headers, GZipContentEncoding],
        log_function=functools.partial(log_access, gateway.trusted_proxies),
    )


@functools.cache  # compiling the template takes 14 ms, most of the start of a gateway without MQTT
def _console_page() -> ConsolePage:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(resource_dir("templates")), autoescape=True)
    static = resource_dir("static")
    return ConsolePage(
        template=environment.get_template("console.html"),
        languages=Languages.load(static / "console" / "strings"),
        modules=page_modules(static),
    )


def resource_dir(name: str) -> Path:
    """Return the folder ``templates`` or ``static``.

    It is in the installed package, or beside the package in a checkout that is installed in editable mode.
    """
    package = Path(hermes.__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def log_access(proxies: TrustedProxies, handler: RequestHandler) -> None:
    """Log one line per request, at info from status 400 on.

    It has the address of the client, also behind a trusted proxy, and the name of its API key. The query is left out:
    it may have a token.
    """
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.ERROR
    if status == 503:  # the response of /ready to every probe while it is not ready: not an error of the request
        level = logging.DEBUG
    if not access_log.isEnabledFor(level):
        return
    request = handler.request
    caller: Caller | None = getattr(handler, "caller", None)
    reason = handler.error_reason if isinstance(handler, HttpErrors) else ""
    access_log.log(
        level,
        "%d %s %s%s from %s in %.1f ms%s",
        status,
        request.method,
        masked(request.path)[:LOGGED_PATH_MAX_CHARS],
        "" if caller is None else f" by {caller.name}",
        proxies.client(request),
        request.request_time() * 1000,
        f": {masked(reason)[:LOGGED_PATH_MAX_CHARS]}" if reason else "",
    )
