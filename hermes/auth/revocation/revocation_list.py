"""Revoked users, tenants and tokens, in memory."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile
from typing import Literal, NamedTuple, get_args

from hermes.auth.principal import Principal
from hermes.errors import HermesError
from hermes.ids import TenantId
from hermes.metrics import Metrics

Kind = Literal["user_id", "token_id", "tenant_id"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REVOCATIONS_MAX = 100_000  # about 40 MB of memory
REMOVED_AT_ONCE = 10_000  # about 5 ms
DIGEST_LOOK_S = 5.0  # between looks at all revocations, each about 10 ms with the most


class Target(NamedTuple):
    """The tokens of a user, of a tenant, or with one ``jti``.

    ``bound_to`` limits it to tokens of this tenant.
    """

    kind: Kind
    id: str
    bound_to: TenantId | None = None

    def includes(self, principal: Principal) -> bool:
        """Return whether the token of this principal is meant."""
        if self.bound_to is not None and principal.tenant_id != self.bound_to:
            return False
        match self.kind:
            case "user_id":
                return principal.user_id == self.id
            case "token_id":
                return principal.token_id == self.id
            case "tenant_id":
                return principal.tenant_id == self.id


class RevocationsFull(HermesError):
    """There are `REVOCATIONS_MAX` already."""

    def __init__(self) -> None:
        super().__init__(
            f"{REVOCATIONS_MAX:,} revocations are stored: remove old ones with DELETE /disconnect, or set "
            "--jwt-max-age-s, after which they are removed"
        )


class _Index:
    """Revocations by what they name.

    It may be built in a thread, before anything else has it.
    """

    __slots__ = ("bound", "bound_by", "digest", "tenants", "tokens", "until", "users")

    def __init__(self, entries: Mapping[Target, int]) -> None:
        self.until: dict[Target, int] = {}  # the oldest first
        self.digest = 0  # of all entries, in whatever order they came
        self.users: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.tenants: dict[str, int] = {}
        self.bound: dict[tuple[Kind, str], dict[TenantId, int]] = {}
        self.bound_by: dict[TenantId, int] = {}  # how many revocations are bound to each tenant
        for target, until_s in entries.items():
            self.set(target, until_s)

    def set(self, target: Target, until_s: int) -> None:
        """Add a revocation, or renew it."""
        known = self.until.pop(target, None)  # so that it becomes the newest
        self.until[target] = until_s
        self.digest ^= _hash(target, until_s) ^ (0 if known is None else _hash(target, known))
        if target.bound_to is None:
            self._of_kind(target.kind)[target.id] = until_s
        else:
            self.bound.setdefault((target.kind, target.id), {})[target.bound_to] = until_s
            if known is None:
                self.bound_by[target.bound_to] = self.bound_by.get(target.bound_to, 0) + 1

    def drop(self, target: Target) -> None:
        """Remove a revocation that is there."""
        self.digest ^= _hash(target, self.until.pop(target))
        if target.bound_to is None:
            del self._of_kind(target.kind)[target.id]
            return
        bound = self.bound[target.kind, target.id]
        del bound[target.bound_to]
        self.bound_by[target.bound_to] -= 1
        if not self.bound_by[target.bound_to]:
            del self.bound_by[target.bound_to]
        if not bound:
            del self.bound[target.kind, target.id]

    def _of_kind(self, kind: Kind) -> dict[str, int]:
        match kind:
            case "user_id":
                return self.users
            case "token_id":
                return self.tokens
            case "tenant_id":
                return self.tenants


def _hash(target: Target, until_s: int) -> int:
    """Return 64 bits that are the same in every process."""
    text = repr((*target, until_s)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


class Replacement:
    """Revocations that are to take the place of all others.

    `prepare` may run in a thread, as may the end of what it replaces: each takes 0.3 s for 100,000.
    """

    __slots__ = ("index",)

    def __init__(self, index: _Index) -> None:
        self.index = index

    @classmethod
    def prepare(cls, entries: Mapping[Target, int]) -> "Replacement":
        """Build what `RevocationList.replace_by` needs."""
        return cls(_Index(entries))

    def set(self, target: Target, until_s: int | None) -> None:
        """Change one revocation before it takes effect; None removes it."""
        if target in self.index.until:
            self.index.drop(target)
        if until_s is not None:
            self.index.set(target, until_s)

    def clear(self) -> None:
        """Free the memory, entry by entry.

        A thread that frees a whole dict lets no other run.
        """
        index = self.index
        for entries in (index.until, index.users, index.tokens, index.tenants, index.bound):
            while entries:
                entries.popitem()


class RevocationList:
    """The revocations in memory, with the time until which each refuses tokens.

    They are a `Revocations`. A token is refused if its ``iat`` is not after that second, or if it has none; one that
    is revoked by its ``jti`` always. With ``max_age_s`` a revocation is removed when no token that it refuses is
    valid any more. ``leeway_s`` is how much the clocks of issuers may differ; ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        leeway_s: float = 0.0,
        max_age_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._leeway_s = leeway_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._index = _Index({})
        self._all_looked_at_s = 0.0  # for outdated ones

    def __len__(self) -> int:
        return len(self._index.until)

    @property
    def digest(self) -> str:
        """A short text that is the same for the same revocations, without outdated ones."""
        if self._max_age_s is not None and self._clock() >= self._all_looked_at_s + DIGEST_LOOK_S:
            self._all_looked_at_s = self._clock()
            before_s = self._outdated_before_s
            for target in [target for target, until_s in self._index.until.items() if until_s < before_s]:
                self._index.drop(target)
            self._count()
        return f"{len(self)}:{self._index.digest:016x}"

    def __iter__(self) -> Iterator[tuple[Target, int]]:
        return iter(self._index.until.items())

    def refuses(self, principal: Principal) -> bool:
        """Return whether the token of this principal is revoked.

        One look-up for each kind of which there are revocations: with thousands of them, a look-up reads memory that
        is in no cache of the processor.
        """
        tenant_id = principal.tenant_id
        index = self._index
        users, tokens, tenants = index.users, index.tokens, index.tenants
        if users and principal.user_id in users and self._is_covered(principal, users[principal.user_id]):
            return True
        if tokens and principal.token_id in tokens:
            return True
        if tenant_id is None:
            return False
        if tenants and tenant_id in tenants and self._is_covered(principal, tenants[tenant_id]):
            return True
        return tenant_id in index.bound_by and self._is_refused_by_tenant(principal, tenant_id)

    def _is_refused_by_tenant(self, principal: Principal, tenant_id: TenantId) -> bool:
        """Return whether a revocation that is bound to the token's tenant refuses it."""
        bound = self._index.bound.get
        return (
            self._is_covered(principal, bound(("user_id", principal.user_id), {}).get(tenant_id))
            or self._is_covered(principal, bound(("tenant_id", tenant_id), {}).get(tenant_id))
            or (principal.token_id is not None and tenant_id in bound(("token_id", principal.token_id), {}))
        )

    @staticmethod
    def _is_covered(principal: Principal, until_s: int | None) -> bool:
        """Return whether a token was signed until then, or does not say when."""
        issued_at = principal.issued_at
        return until_s is not None and (issued_at is None or math.floor(issued_at) <= until_s)

    def use_rules(self, *, leeway_s: float, max_age_s: float | None) -> None:
        """Use this leeway and this maximum age from now on."""
        self._leeway_s, self._max_age_s = leeway_s, max_age_s

    def add(self, target: Target, until_s: int | None = None) -> int:
        """Revoke, and return the second until which tokens are refused.

        Without ``until_s`` it is now, and the leeway. An earlier one than that of the same target changes nothing.
        Raises `RevocationsFull`.
        """
        self._remove_outdated()
        if len(self._index.until) >= REVOCATIONS_MAX and target not in self._index.until:
            raise RevocationsFull
        if until_s is None:
            until_s = math.floor(self._clock()) + math.ceil(self._leeway_s)
        until_s = max(until_s, self._index.until.get(target, 0))
        self._index.set(target, until_s)
        self._count()
        return until_s

    def remove(self, target: Target) -> list[Target]:
        """Remove what `add` has added, and return it; nothing if there is nothing.

        A target that is not bound also means those that are bound to a tenant.
        """
        found = [each for each, _ in self.matching(target)]
        for each in found:
            self._index.drop(each)
        self._count()
        return found

    def remove_one(self, target: Target) -> None:
        """Remove the revocation of exactly this target, if there is one."""
        if target in self._index.until:
            self._index.drop(target)
            self._count()

    def matching(self, target: Target) -> list[tuple[Target, int]]:
        """Return the revocations that `remove` would remove, with their times."""
        index = self._index
        found = [target] if target in index.until else []
        if target.bound_to is None:
            bound = index.bound.get((target.kind, target.id), ())
            found += [target._replace(bound_to=tenant_id) for tenant_id in bound]
        return [(each, index.until[each]) for each in found]

    def replace(self, entries: Mapping[Target, int]) -> None:
        """Refuse by these revocations from now on, and by no others."""
        self.replace_by(Replacement.prepare(entries))

    def replace_by(self, replacement: Replacement) -> Replacement:
        """Refuse by these from now on, and by no others; return those that were in effect."""
        before, self._index = self._index, replacement.index
        self._remove_outdated()
        self._count()
        return Replacement(before)

    def is_outdated(self, until_s: int) -> bool:
        """Return whether all tokens that such a revocation refuses are too old anyway."""
        return until_s < self._outdated_before_s

    @property
    def _outdated_before_s(self) -> float:
        return -math.inf if self._max_age_s is None else self._clock() - self._max_age_s - self._leeway_s

    def _remove_outdated(self) -> None:
        """Remove the oldest revocations of which all tokens are too old anyway.

        At most `REMOVED_AT_ONCE`: the others refuse nothing that is valid.
        """
        if self._max_age_s is None:
            return
        before_s = self._outdated_before_s
        # one pass: to find the first entry of a dict takes time for each one that was removed before it
        oldest = islice(self._index.until.items(), REMOVED_AT_ONCE)
        for target in [target for target, _ in takewhile(lambda entry: entry[1] < before_s, oldest)]:
            self._index.drop(target)

    def _count(self) -> None:
        self._metrics.revocations.set(len(self._index.until))
