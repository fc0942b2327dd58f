"""``POST /dev/drill``: inject a fault, to show operators how clients reconnect.

A fault affects the sockets of one user; each drill of the console uses a user of its own. Only ``broker`` affects all.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from hermes.delivery.hub import Hub
from hermes.delivery.reconnect_delay import retry_ms
from hermes.delivery.request_model import IdText, RequestModel, invalid_fields
from hermes.delivery.session import Session
from hermes.errors import INTERNAL_ERROR, STOPPING, RequestError

logger = logging.getLogger(__name__)

HOLD_MAX_S = 60.0


class FaultRequest(RequestModel):
    """The body of ``POST /dev/drill``; ``seconds`` is how long ``hold`` lasts."""

    fault: Literal["drop", "internal_error", "restart", "hold", "broker"]
    user_id: IdText | None = None
    seconds: Annotated[float, Field(ge=0.1, le=HOLD_MAX_S)] | None = None


class FaultInjector:
    """Inject faults into the sockets of one user, or into the embedded broker.

    ``kill_broker`` kills the process of the embedded broker; it returns False without one.
    """

    def __init__(self, *, hub: Hub, kill_broker: Callable[[], bool]) -> None:
        self._hub = hub
        self._kill_broker = kill_broker
        self._releases: dict[Session, asyncio.TimerHandle] = {}

    def inject(self, value: object) -> dict[str, Any]:
        """Inject the fault of a parsed request; return ``{"status","fault","sockets"}``.

        ``sockets`` is the number of affected sockets. Raises `RequestError`: 422 ``invalid`` that names each faulty
        field, 409 ``no_broker``.
        """
        request = _parse(value)
        logger.warning("drill: %s, user %s", request.fault, request.user_id or "-")
        sockets = self._inject_into_broker() if request.fault == "broker" else self._inject_into_sockets(request)
        return {"status": "success", "fault": request.fault, "sockets": sockets}

    def _inject_into_broker(self) -> int:
        if not self._kill_broker():
            raise RequestError(409, "no_broker", "there is no embedded broker to kill: start with --mqtt-url embedded")
        return 0

    def _inject_into_sockets(self, request: FaultRequest) -> int:
        sessions = [session for session in self._hub.sessions if session.principal.user_id == request.user_id]
        for session in sessions:
            match request.fault:
                case "drop":
                    session.drop()
                case "internal_error":
                    session.close(INTERNAL_ERROR)
                case "restart":
                    session.close(STOPPING, retry_ms(len(sessions)))
                case _:
                    self._hold(session, request.seconds or 0.0)
        return len(sessions)

    def _hold(self, session: Session, seconds: float) -> None:
        """Hold the session for this time from now; a second hold replaces the first."""
        if (earlier := self._releases.pop(session, None)) is not None:
            earlier.cancel()
        session.hold()
        self._releases[session] = asyncio.get_running_loop().call_later(seconds, self._release, session)

    def _release(self, session: Session) -> None:
        self._releases.pop(session, None)
        session.release()

    def stop(self) -> None:
        """Release all held sessions."""
        for session, release in list(self._releases.items()):
            release.cancel()
            self._release(session)


def _parse(value: object) -> FaultRequest:
    request = FaultRequest.from_json(value)
    if request.fault != "broker" and request.user_id is None:
        raise invalid_fields({"user_id": "the user of the affected sockets"})
    if request.fault == "hold" and request.seconds is None:
        raise invalid_fields({"seconds": f"the duration, 0.1 to {HOLD_MAX_S:g}"})
    return request
