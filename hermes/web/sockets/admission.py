"""Who may open a socket: limits in all, and per user, tenant and client address.

Only admitted sockets count. A refused socket gets its close frame and is cut a second later; those that wait for it are
bounded, and are cut at once when file descriptors are needed.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from hermes.auth.principal import Principal
from hermes.errors import ADDRESS_FULL, JOINING, SERVER_FULL, STOPPING, TENANT_FULL, USER_FULL, SocketRejected

# Refused sockets that wait for the client's close, and connections of one address that wait for their turn. An eighth
# of the limit of sockets, if that is less.
WAITING_MAX = 1_000


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The number of sockets in all, and of one user, tenant, and address.

    0 means no limit.
    """

    total: int
    per_user: int = 0
    per_tenant: int = 0
    per_address: int = 0

    @classmethod
    def of(cls, total: int, *, per_user: int | None, per_tenant: int | None, per_address: int | None) -> "SocketLimits":
        """Return the limits; None stands for the default.

        By default a user has a quarter of all sockets, an address half of them.
        """
        return cls(
            total=total,
            per_user=max(1, total // 4) if per_user is None else per_user,
            per_tenant=per_tenant or 0,
            per_address=max(1, total // 2) if per_address is None else per_address,
        )


class Place(NamedTuple):
    """What an admitted socket is counted under."""

    user: tuple[str | None, str]
    tenant: str | None
    address: str


SENDER = Place((None, ""), None, "")  # of a request with an API key: no user and no address has this place


class Admission:
    """Count the admitted sockets, and refuse those over a limit.

    Requests that wait count too. ``stopping`` refuses every new one, and so does ``joining``, for seconds: until this
    node knows the revocations of the others.
    """

    def __init__(self, limits: SocketLimits) -> None:
        self.limits = limits
        self.stopping = False
        self.joining = False
        self.open = 0
        self._users: Counter[tuple[str | None, str]] = Counter()
        self._tenants: Counter[str | None] = Counter()
        self._addresses: Counter[str] = Counter()
        self.waiting_max = max(1, min(WAITING_MAX, limits.total // 8))
        self._refused: OrderedDict[Callable[[], None], None] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise `SocketRejected` if a limit is reached that does not depend on the token."""
        if self.stopping:
            raise SocketRejected(STOPPING)
        if self.joining:
            raise SocketRejected(JOINING, "this node waits for the revocations of the other nodes")
        if self.open >= self.limits.total:
            raise SocketRejected(SERVER_FULL, f"--max-sockets is {self.limits.total}")
        if _reached(self._addresses[address], self.limits.per_address):
            raise SocketRejected(ADDRESS_FULL, f"--max-sockets-per-address is {self.limits.per_address}")

    def admit(self, principal: Principal, address: str) -> Place:
        """Count a socket and return its place, to be given back with `leave`.

        Raises `SocketRejected` if a limit of its user or tenant is reached. The same user id in two tenants is two
        users.
        """
        place = Place((principal.tenant_id, principal.user_id), principal.tenant_id, address)
        if _reached(self._users[place.user], self.limits.per_user):
            raise SocketRejected(USER_FULL, f"--max-sockets-per-user is {self.limits.per_user}")
        if place.tenant is not None and _reached(self._tenants[place.tenant], self.limits.per_tenant):
            raise SocketRejected(TENANT_FULL, f"--max-sockets-per-tenant is {self.limits.per_tenant}")
        self.open += 1
        self._users[place.user] += 1
        self._tenants[place.tenant] += 1
        self._addresses[address] += 1
        return place

    def admit_sender(self) -> Place:
        """Count a request of a sender that waits.

        Raises `SocketRejected` if there are too many sockets in all.
        """
        if self.stopping:
            raise SocketRejected(STOPPING)
        if self.open >= self.limits.total:
            raise SocketRejected(SERVER_FULL, f"--max-sockets is {self.limits.total}")
        self.open += 1
        return SENDER

    def leave(self, place: Place) -> None:
        """Count a socket no longer."""
        self.open -= 1
        if place is SENDER:
            return
        _decrement(self._users, place.user)
        _decrement(self._tenants, place.tenant)
        _decrement(self._addresses, place.address)

    @property
    def free_places(self) -> int:
        """The number of sockets that could still be admitted."""
        return self.limits.total - self.open

    # -- refused sockets ----------------------------------------------------------------------------------------------

    def add_refused(self, cut: Callable[[], None]) -> None:
        """Remember how to cut a refused socket.

        If there are more than ``waiting_max``, the oldest is cut.
        """
        self._refused[cut] = None
        if len(self._refused) > self.waiting_max:
            self._refused.popitem(last=False)[0]()

    def remove_refused(self, cut: Callable[[], None]) -> None:
        """Forget a refused socket that has ended; may be repeated."""
        self._refused.pop(cut, None)

    def cut_refused(self) -> None:
        """Cut all refused sockets now: their file descriptors are needed."""
        while self._refused:
            self._refused.popitem(last=False)[0]()


def _reached(number: int, limit: int) -> bool:
    return 0 < limit <= number


def _decrement(counter: Counter[Any], key: object) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
