"""End the sockets of a user, a token or a tenant, and revoke their tokens."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hermes.auth.principal import Principal
from hermes.auth.revocation.revocation_file import RevocationFile
from hermes.auth.revocation.revocation_list import KINDS, Replacement, RevocationList, RevocationsFull, Target
from hermes.cluster.revocations import Elsewhere
from hermes.delivery.hub import Hub
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.delivery.request_model import invalid_fields
from hermes.delivery.session import Session
from hermes.errors import DISCONNECTED, REVOKED, ConfigError, HermesError
from hermes.ids import TenantId
from hermes.metrics import Metrics
from hermes.web.sockets.waiting import WaitingRequests

logger = logging.getLogger(__name__)
audit = logging.getLogger("hermes.audit")

LOOKED_AT = 5_000  # sessions that are compared in one iteration of the loop: about 2 ms
CLOSED = 50  # sessions that are closed in one: about 3 ms, and as much again when their clients answer


class NotStored(HermesError):
    """A revocation is in effect, but could not be written; a restart would forget it."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """What was ended, and until when tokens are refused.

    ``closed`` is the number of sockets and long polls. ``revoked_until_s`` is in Unix seconds: sign the next token with
    a later ``iat``. None if nothing is revoked. ``uncertain`` are the other nodes that did not answer.
    """

    closed: int
    revoked_until_s: int | None
    uncertain: tuple[str, ...] = ()


class OtherNodes(Protocol):
    """The same on the other nodes, if there are several."""

    async def disconnect(self, target: Target, until_s: int | None, *, by: str, reason: str) -> Elsewhere:
        """End the sockets of a target on the other nodes, and revoke its tokens."""

    async def restore(self, removed: Sequence[tuple[Target, int]], target: Target, *, by: str) -> Elsewhere:
        """Remove revocations on the other nodes."""


class Disconnector:
    """End sockets, and store the revocations in memory and in their file.

    A revocation is in effect before it is written, so that no socket is opened meanwhile. ``by`` names the caller, for
    the audit log. ``waiting`` has the long polls, which end as sockets do. ``others`` does the same on the other nodes.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        revocations: RevocationList,
        file: RevocationFile,
        return_rate: ReturnRate,
        metrics: Metrics,
        waiting: WaitingRequests,
    ) -> None:
        self.others: OtherNodes | None = None
        self._hub = hub
        self._waiting_requests = waiting
        self._revocations = revocations
        self._file = file
        self._return_rate = return_rate
        self._metrics = metrics
        self._work = metrics.work["disconnect"]
        self._waiting: list[tuple[Target, int | None]] = []
        self._written: asyncio.Future[str] | None = None  # of those that wait: why it failed, or an empty text
        self._writer: asyncio.Task[None] | None = None
        self._unstored: dict[Target, int] = {}  # revocations in effect that the file does not have
        self._meanwhile: dict[Target, int | None] | None = None  # changes while the file is read again

    def load(self) -> None:
        """Read the file at start. Raises `ConfigError`."""
        self._revocations.replace(self._file.read())

    async def reload(self) -> None:
        """Read the file again, and close the sockets that it refuses.

        What could not be written stays in effect. Raises `ConfigError`.
        """
        await self.stop()
        self._meanwhile = {}
        try:
            replacement = await asyncio.to_thread(lambda: Replacement.prepare(self._file.read()))
            for target, until_s in (self._unstored | self._meanwhile).items():
                replacement.set(target, until_s)
        finally:
            self._meanwhile = None
        await asyncio.to_thread(self._revocations.replace_by(replacement).clear)
        self._waiting_requests.recheck()
        await self._close(await self._sessions(self._revocations.refuses), revoke=True)

    async def stop(self) -> None:
        """Wait until everything is written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def disconnect(self, target: Target, *, revoke: bool, by: str, reason: str = "") -> Disconnected:
        """End the sockets of the target; with ``revoke``, refuse its tokens from now on.

        Raises `RevocationsFull`; then nothing is done. Raises `NotStored` after the sockets have been closed.
        """
        until_s = self._revocations.add(target) if revoke else None
        if self.others is None:
            return Disconnected(await self.end(target, until_s, by, reason), until_s)
        asked = asyncio.create_task(self.others.disconnect(target, until_s, by=by, reason=reason))
        try:
            closed = await self.end(target, until_s, by, reason)
        finally:
            elsewhere = await asyncio.shield(asked)
        return Disconnected(closed + elsewhere.number, until_s, elsewhere.uncertain)

    async def end(self, target: Target, until_s: int | None, by: str, reason: str) -> int:
        """End the sockets of the target on this node, and return how many there were.

        With ``until_s``, refuse its tokens until then. Raises as `disconnect`.
        """
        stored = None
        if until_s is not None:
            stored = self._store([(target, self._revocations.add(target, until_s))])
        closed = self._waiting_requests.disconnect(target.includes)
        closed += await self._close(await self._sessions(target.includes), revoke=until_s is not None)
        what = "disconnected" if until_s is None else "revoked"
        self._metrics.disconnects.labels(target.kind, what).inc()
        text = f"; reason: {reason}" if reason else ""
        audit.info("%s by %s: %s, %d sockets closed%s", what, by, _described(target), closed, text)
        await _confirm(stored, "revoked")
        return closed

    async def apply(self, changes: Sequence[tuple[Target, int | None]]) -> None:
        """Put revocations of another node into effect; None removes exactly one.

        Raises `RevocationsFull`, after those for which there was room, or `NotStored`.
        """
        made: list[tuple[Target, int | None]] = []
        full: RevocationsFull | None = None
        for target, until_s in changes:
            if until_s is None:
                self._revocations.remove_one(target)
                made.append((target, None))
                continue
            try:
                made.append((target, self._revocations.add(target, until_s)))  # it may refuse more already
            except RevocationsFull as error:
                full = error
        stored = self._store(made)
        self._waiting_requests.recheck()
        closed = await self._close(await self._sessions(self._revocations.refuses), revoke=True)
        audit.info("%d revocations of another node: %d sockets closed", len(made), closed)
        await _confirm(stored, "in effect")
        if full is not None:
            raise full

    async def restore(self, target: Target, *, by: str) -> int:
        """Accept the tokens of a target again; return how many revocations were removed.

        Raises `NotStored`.
        """
        before = self._revocations.matching(target)
        removed = self._revocations.remove(target)
        stored = self._store([(each, None) for each in removed]) if removed else None
        audit.info("revocation removed by %s: %s, %d removed", by, _described(target), len(removed))
        number = len(removed)
        if self.others is not None:
            number = max(number, (await self.others.restore(before, target, by=by)).number)
        await _confirm(stored, "removed")
        return number

    # -- sockets ------------------------------------------------------------------------------------------------------

    async def _sessions(self, are_meant: Callable[[Principal], bool]) -> list[Session]:
        """Return the sessions of some principals.

        Between parts of them, the loop does other work.
        """
        sessions = tuple(self._hub.sessions)
        found: list[Session] = []
        for start in range(0, len(sessions), LOOKED_AT):
            if start:
                await asyncio.sleep(0)
            with self._work:
                found += [each for each in sessions[start : start + LOOKED_AT] if are_meant(each.principal)]
        return found

    async def _close(self, sessions: Sequence[Session], *, revoke: bool) -> int:
        """Close sessions, a few in each iteration; return how many were open."""
        closed = 0
        for start in range(0, len(sessions), CLOSED):
            if start:
                await asyncio.sleep(0)
            with self._work:
                for session in sessions[start : start + CLOSED]:
                    if session.closed:
                        continue
                    closed += 1
                    if revoke:
                        session.close(REVOKED)
                    else:
                        session.close(DISCONNECTED, self._return_rate.retry_ms(len(sessions)))
        return closed

    # -- the file -----------------------------------------------------------------------------------------------------

    def _store(self, changes: Sequence[tuple[Target, int | None]]) -> asyncio.Future[str]:
        """Write changes, together with those of other calls.

        The result is why that failed, or an empty text.
        """
        self._waiting += changes
        if self._meanwhile is not None:
            self._meanwhile |= dict(changes)
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="hermes-revocations")
        return self._written

    async def _write_all(self) -> None:
        """Write until nothing waits: one write for all that came meanwhile."""
        while (written := self._written) is not None:
            changes, self._waiting, self._written = self._waiting, [], None
            written.set_result(await self._write(changes))
            await self._compact()
        self._writer = None

    async def _write(self, changes: Sequence[tuple[Target, int | None]]) -> str:
        try:
            await asyncio.to_thread(self._file.append, changes)
        except OSError as error:
            logger.error("cannot write %s: %s", self._file.path, error.strerror)
            failure = error.strerror or "the file cannot be written"
        except Exception:  # the top of a task: callers wait for the result
            logger.exception("cannot write %s", self._file.path)
            failure = "Hermes failed; its log has the traceback"
        else:
            for target, _ in changes:
                self._unstored.pop(target, None)
            return ""
        self._metrics.revocations_failed.inc()
        for target, until_s in changes:
            self._unstored.pop(target, None)
            if until_s is not None:
                self._unstored[target] = until_s
        return failure

    async def _compact(self) -> None:
        try:
            await asyncio.to_thread(self._file.compact, len(self._revocations))
        except (OSError, ConfigError) as error:
            logger.warning("cannot write %s anew, it stays long: %s", self._file.path, error)


async def _confirm(stored: asyncio.Future[str] | None, what: str) -> None:
    """Wait until a change is stored. Raises `NotStored`."""
    if stored is not None and (failure := await asyncio.shield(stored)):
        raise NotStored(f"{what} until Hermes stops, but not stored: {failure}; correct that, and repeat the call")


def one_target(ids: Mapping[str, str | int | None], *, bound_to: TenantId | None = None) -> Target:
    """Return the target of a call.

    Raises `RequestError` 422 unless exactly one id is given.
    """
    given = [(kind, str(id)) for kind in KINDS if (id := ids.get(kind)) is not None]
    if len(given) != 1:
        raise invalid_fields({"user_id": f"give exactly one of {', '.join(KINDS)}"})
    return Target(*given[0], bound_to)


def _described(target: Target) -> str:
    bound = "" if target.bound_to is None else f" of tenant {target.bound_to}"
    return f"{target.kind.removesuffix('_id')} {target.id}{bound}"
