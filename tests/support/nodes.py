"""Nodes that run in the process of the test."""

import json
from typing import Any

from hermes.cluster.nats_bus import NatsBus
from tests.support.gateways import KEY, Hermes


def bus(hermes: Hermes) -> NatsBus:
    """Return the bus of a node."""
    assert hermes.gateway.cluster is not None
    return hermes.gateway.cluster


def note(user: object = "123", **more: object) -> dict[str, object]:
    """Return a notification."""
    return {"user_id": user, "title": "New alert", "message": "Sensor X is hot"} | more


async def open_on(hermes: Hermes, path: str, given: str) -> Any:
    """Open a socket, and wait until NATS knows its user."""
    socket = await hermes.open(path, given)
    await socket.expect_silence()
    assert await bus(hermes).synchronised()
    return socket


async def resumed_on(hermes: Hermes, given: str) -> Any:
    """Open a socket that has got what was stored, and wait until NATS knows its user."""
    socket = await hermes.open("/ws/notifications?since=0&replay_end=1", given)
    while (await socket.receive()).get("action") != "replay_end":
        pass
    assert await bus(hermes).synchronised()
    return socket


def assert_uncertain(answer: dict[str, Any], *names: str) -> None:
    """Assert that no socket accepted a notification as far as is known, and that these nodes may still have one.

    On a slow machine others may be late too.
    """
    assert not answer["sent"], answer
    assert set(names) <= set(answer["uncertain"]), answer


async def ready(hermes: Hermes) -> tuple[int, list[str]]:
    """Return status and first words of what is missing."""
    response = await hermes.request("/ready", headers={"X-API-Key": KEY})
    return response.code, [text.partition(":")[0] for text in json.loads(response.body)["missing"]]
