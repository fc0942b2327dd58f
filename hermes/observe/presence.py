"""Which users have open sockets on this node, and when each was last seen."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hermes.delivery.messages import now_ms
from hermes.delivery.session import Session
from hermes.ids import TenantId, UserId

LAST_SEEN_MAX = 10_000  # users with a socket that was closed: about 4 MB
TENANTS_MAX = 10  # of one user


@dataclass(frozen=True, slots=True)
class UserPresence:
    """The open sockets of a user, by route; times are Unix milliseconds.

    ``since_ms`` is when the oldest of them was opened, None without any. ``last_seen_ms`` is the last time at which
    there was one: now, or when the last one was closed; None if that is not known.
    """

    routes: Mapping[str, int]
    since_ms: int | None
    last_seen_ms: int | None

    @property
    def sockets(self) -> int:
        """The number of sockets."""
        return sum(self.routes.values())

    def fields(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "sockets": self.sockets,
            "routes": dict(self.routes),
            "since": self.since_ms,
            "last_seen": self.last_seen_ms,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "UserPresence":
        """Return the value of the JSON form of another node.

        What is not understood is left out.
        """
        given = fields.get("routes")
        items = given.items() if isinstance(given, dict) else ()
        routes = {str(name): number for name, number in items if _is_number(number)}
        since, seen = fields.get("since"), fields.get("last_seen")
        return cls(routes, since if _is_number(since) else None, seen if _is_number(seen) else None)

    @classmethod
    def merged(cls, parts: Iterable["UserPresence"]) -> "UserPresence":
        """Return the presence of a user on several nodes."""
        every = list(parts)
        routes: Counter[str] = Counter()
        for part in every:
            routes.update(part.routes)
        return cls(
            routes,
            min((part.since_ms for part in every if part.since_ms is not None), default=None),
            max((part.last_seen_ms for part in every if part.last_seen_ms is not None), default=None),
        )


class Presence:
    """The sockets of each user on this node.

    The last `LAST_SEEN_MAX` users without an open socket are remembered.
    """

    def __init__(self) -> None:
        # most users have one socket: a dictionary for each would cost 230 bytes
        self._sessions: dict[UserId, Session | dict[Session, None]] = {}
        self._last_seen: OrderedDict[UserId, dict[TenantId | None, int]] = OrderedDict()

    def opened(self, session: Session) -> None:
        """Note a socket that was admitted."""
        user_id = session.principal.user_id
        before = self._sessions.get(user_id)
        if before is None:
            self._sessions[user_id] = session
        elif isinstance(before, Session):
            self._sessions[user_id] = {before: None, session: None}
        else:
            before[session] = None

    def closed(self, session: Session) -> None:
        """Note that a socket has ended; may be repeated."""
        user_id, tenant_id = session.principal.user_id, session.principal.tenant_id
        if session not in self._sessions_of(user_id):
            return
        known = self._sessions[user_id]
        if isinstance(known, Session) or len(known) == 1:
            del self._sessions[user_id]
        else:
            del known[session]
        seen = self._last_seen.pop(user_id, {})  # so that it becomes the newest
        self._last_seen[user_id] = seen
        seen[tenant_id] = now_ms()
        if len(seen) > TENANTS_MAX:
            del seen[next(iter(seen))]
        if len(self._last_seen) > LAST_SEEN_MAX:
            self._last_seen.popitem(last=False)

    def _sessions_of(self, user_id: UserId) -> Collection[Session]:
        known = self._sessions.get(user_id, {})
        return (known,) if isinstance(known, Session) else known

    def of(self, user_id: UserId, *, only_tenant: TenantId | None = None) -> UserPresence:
        """Return the presence of a user; with ``only_tenant``, by tokens of that tenant."""
        sessions = [each for each in self._sessions_of(user_id) if only_tenant in (None, each.principal.tenant_id)]
        if sessions:
            routes = Counter(each.route for each in sessions)
            return UserPresence(routes, min(each.opened_ms for each in sessions), now_ms())
        seen = self._last_seen.get(user_id, {})
        if only_tenant is not None:
            return UserPresence({}, None, seen.get(only_tenant))
        return UserPresence({}, None, max(seen.values(), default=None))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
