"""Test ``--nats-url`` for ``hermes check``: connect, and greet the nodes."""

import asyncio
import secrets
from collections.abc import AsyncIterator

from hermes.cluster import subjects
from hermes.cluster.envelope import BadEnvelope, pack, unpack
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.nats.protocol import NatsMessage
from hermes.errors import ConfigError
from hermes.metrics import Metrics
from hermes.settings.model import Settings

GREETING_S = 0.5  # in which nodes answer

Finding = tuple[str, str]  # verdict and text of one line


async def check_nats(settings: Settings) -> AsyncIterator[Finding]:
    """Yield a line for each server, and one for the nodes: ok, info or FAIL."""
    names: set[str] = set()
    for server in settings.nats_servers:
        client = NatsClient.of(settings, servers=(server,), name="hermes check", metrics=Metrics())
        try:
            await client.start()
            if not client.is_connected:
                yield "FAIL", f"--nats-url: {client.problem}"
                continue
            names |= await _nodes(client)
            if client.refusal:
                yield "FAIL", f"--nats-url: {server}: the account may not use a subject: {client.refusal}"
            else:
                yield "ok", f"{server} is a NATS server that this node can use"
        except ConfigError as error:
            for problem in error.problems:
                yield "FAIL", problem
        finally:
            await client.stop()
    if settings.nats_servers:
        yield "info", f"node {settings.own_node_name}; running nodes: {', '.join(sorted(names)) or 'none'}"


async def _nodes(client: NatsClient) -> set[str]:
    """Return the names of the nodes that answer."""
    names: set[str] = set()

    def answered(message: NatsMessage) -> None:
        try:
            names.add(str(unpack(message.data)[0]["node"]))
        except BadEnvelope:
            return

    reply = f"{subjects.replies(secrets.token_hex(8))}1"
    client.subscribe(reply, answered)
    client.publish(subjects.NODES, pack({"op": "greet", "node": "hermes check"}), reply=reply)
    await client.flush()
    await asyncio.sleep(GREETING_S)
    return names
