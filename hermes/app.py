"""Floor 4: the route table, and which shared objects each handler gets."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from tornado.routing import Rule
from tornado.web import Application, RequestHandler

import hermes
from hermes.auth.api_keys import ApiKeys
from hermes.delivery.link_state import MqttLinkState
from hermes.log import masked
from hermes.metrics import Metrics
from hermes.web.console.i18n import Languages
from hermes.web.console.page import ConsoleHandler, ConsolePage, DevFacts, StaticHandler, page_modules
from hermes.web.dev_api import DevAction, DevHandler
from hermes.web.notify import LargeNotifyHandler, NotifyContext, NotifyHandler, SmallJson
from hermes.web.sockets.handler import SocketContext
from hermes.web.sockets.routes import CombinedSocket, DeviceSocket, NotificationsSocket, TenantSocket
from hermes.web.status import HealthHandler, MetricsHandler, NodeContext, NodeStatusHandler, ReadyHandler

Route = tuple[str, type[RequestHandler], dict[str, Any]]

access_log = logging.getLogger("hermes.access")


@dataclass(frozen=True, slots=True)
class DevRoom:
    """What only ``--dev`` has: what the console is filled in with, and what two doors do."""

    facts: DevFacts
    mint_token: DevAction
    cause_fault: DevAction


@dataclass(frozen=True, slots=True)
class Shared:
    """Everything that handlers share."""

    sockets: SocketContext
    notify: NotifyContext
    node: NodeContext
    link: MqttLinkState
    metrics: Metrics
    dev: DevRoom | None = None


def make_app(shared: Shared) -> Application:
    """The application: every URL that Hermes answers."""
    sockets = {"context": shared.sockets}
    return Application(
        [
            Rule(SmallJson(r"/notify"), NotifyHandler, {"context": shared.notify}),
            (r"/notify", LargeNotifyHandler, {"context": shared.notify}),
            (r"/ws/notifications", NotificationsSocket, sockets),
            (r"/ws/tenant/([^/]+)", TenantSocket, sockets),
            (r"/ws/device/([^/]+)", DeviceSocket, sockets),
            (r"/ws", CombinedSocket, sockets),
            (r"/health", HealthHandler),
            (r"/ready", ReadyHandler, {"link": shared.link}),
            (r"/metrics", MetricsHandler, {"metrics": shared.metrics}),
            (r"/status", NodeStatusHandler, {"context": shared.node}),
            *_dev_routes(shared.dev, shared.node.keys),
            (r"/static/.+|/", _pages(None if shared.dev is None else shared.dev.facts)),
        ],
        log_function=log_access,
    )


def _dev_routes(dev: DevRoom | None, keys: ApiKeys) -> list[Route]:
    """None at all without ``--dev``: what is not there cannot be left open."""
    if dev is None:
        return []
    return [
        (r"/dev/token", DevHandler, {"keys": keys, "act": dev.mint_token}),
        (r"/dev/drill", DevHandler, {"keys": keys, "act": dev.cause_fault}),
    ]


def _pages(dev_facts: DevFacts | None) -> Application:
    """The console and its files: the only answers that are large enough to be compressed."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(resource_dir("templates")), autoescape=True)
    static = resource_dir("static")
    page = ConsolePage(
        template=environment.get_template("console.html"),
        languages=Languages.load(static / "console" / "strings"),
        modules=page_modules(static),
        dev_facts=dev_facts,
    )
    return Application(
        [(r"/static/(.+)", StaticHandler, {"path": str(static)}), (r"/", ConsoleHandler, {"page": page})],
        compress_response=True,
        log_function=log_access,
    )


def resource_dir(name: str) -> Path:
    """``templates`` or ``static``: inside the installed package, or in the checkout where it is installed editable."""
    package = Path(hermes.__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def log_access(handler: RequestHandler) -> None:
    """One line a request, at info from 400 on; the query's token masked."""
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.ERROR
    if status == 503:  # what /ready answers to every probe, no fault of the request
        level = logging.DEBUG
    if not access_log.isEnabledFor(level):
        return
    request = handler.request
    access_log.log(
        level,
        "%d %s %s from %s in %.1f ms",
        status,
        request.method,
        masked(request.uri or ""),
        request.remote_ip,
        request.request_time() * 1000,
    )
