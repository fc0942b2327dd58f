"""Types of the settings of several nodes."""

import re
import socket
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from hermes.settings.urls.nats import parse_nats_url

NODE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def host_node_name() -> str:
    """Return the host's name as the name of a node."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]
    return name or "node"


def _split(value: object) -> object:
    """Return the parts between commas: of a text, or of each text of a list."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        return value
    return [url.strip() for part in parts for url in part.split(",") if url.strip()]


def _nats_urls(values: tuple[str, ...]) -> tuple[str, ...]:
    urls = [parse_nats_url(value) for value in values]  # raises ValueError
    if len({url.tls for url in urls}) > 1:
        raise ValueError("write nats:// or tls:// for all servers: they are one system")
    return values


def _node_name(value: str) -> str:
    if NODE_NAME.fullmatch(value) is None:
        raise ValueError("must be 1 to 64 of the characters A-Z, a-z, 0-9, dot, underscore and hyphen")
    return value


NatsUrls = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_nats_urls)]
NodeName = Annotated[str, AfterValidator(_node_name)]
