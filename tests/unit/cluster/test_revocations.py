"""Revocations that other nodes read, page by page."""

import asyncio
from types import SimpleNamespace
from typing import Any

from hermes.auth.revocation.revocation_list import RevocationList, Target
from hermes.cluster.revocations import PAGE_ENTRIES, SharedRevocations
from hermes.metrics import Metrics


def test_two_nodes_read_at_once() -> None:
    """Each gets every revocation, although others are removed and added meanwhile."""
    revocations = RevocationList(metrics=Metrics())
    targets = [Target("user_id", f"user-{number}") for number in range(2 * PAGE_ENTRIES)]
    for target in targets:
        revocations.add(target, 5)
    bus: Any = SimpleNamespace(
        operations=SimpleNamespace(by_name={}), participation=SimpleNamespace(), comparison=SimpleNamespace()
    )
    unused: Any = None
    SharedRevocations(bus=bus, revocations=revocations, apply=unused, end=unused)

    async def page(node: str, after: int) -> tuple[set[str], int]:
        answer = await bus.operations.by_name["revocations"]({"op": "revocations", "node": node, "after": after})
        return {entry[1] for entry in answer["entries"]}, answer.get("next", 0)

    async def run() -> None:
        found, following = await page("b", 0)
        revocations.remove(targets[0])
        await page("c", 0)
        while following:
            more, following = await page("b", following)
            found |= more
        assert found >= {target.id for target in targets[1:]}
        assert "entries" not in await bus.operations.by_name["revocations"](
            {"op": "revocations", "node": "d", "after": 7}
        )

    asyncio.run(run())
