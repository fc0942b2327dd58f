"""Questions to every other node, and their answers."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from hermes.cluster.envelope import Head
from hermes.cluster.members import MEMBERS_MAX

SURVEYS_MAX = 1_000  # at once; each waits for at most a few seconds


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers by node, and the names of the nodes that did not answer in time.

    ``no_other_node`` is True if NATS knows no other node.
    """

    by_node: dict[str, Head] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    no_other_node: bool = False


class Surveys:
    """The questions that wait for answers."""

    def __init__(self) -> None:
        self._open: dict[int, _Survey] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def ask(
        self, number: int, expected: Collection[str], send: Callable[[], bool], *, timeout_s: float
    ) -> Answers:
        """Send a question; wait until every expected node has answered, or for the time."""
        if len(self._open) >= SURVEYS_MAX:
            return Answers(silent=tuple(expected))
        survey = self._open[number] = _Survey(set(expected))
        try:
            if send():
                await asyncio.wait((survey.done,), timeout=timeout_s)
        finally:
            del self._open[number]
            survey.done.cancel()
        return Answers(survey.answers, tuple(sorted(survey.missing)), survey.no_other_node)

    def answered(self, number: int, head: Head) -> None:
        """Note the answer of one node."""
        survey = self._open.get(number)
        if survey is not None:
            survey.add(head)

    def no_responders(self, number: int) -> None:
        """End the wait: there is no other node."""
        survey = self._open.get(number)
        if survey is not None:
            survey.no_other_node = True
            survey.end()

    def lost(self) -> None:
        """End every wait."""
        for survey in list(self._open.values()):
            survey.end()


class _Survey:
    def __init__(self, missing: set[str]) -> None:
        self.missing = missing
        self.open_ended = not missing  # then the time decides
        self.answers: dict[str, Head] = {}
        self.no_other_node = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, head: Head) -> None:
        name = str(head["node"])
        if len(self.answers) < MEMBERS_MAX:
            self.answers[name] = head
        self.missing.discard(name)
        if not self.missing and not self.open_ended:
            self.end()

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
