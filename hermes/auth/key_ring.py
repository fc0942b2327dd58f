"""Find the keys that a token may be signed with, in all sources."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

from hermes.auth.claims import shown
from hermes.auth.jwks import KID_MAX_CHARS
from hermes.auth.keys import PUBLIC_ALGORITHMS, SECRET_ALGORITHMS, SECRET_BYTES, Source, VerificationKey, describe
from hermes.errors import KEYS_UNAVAILABLE, TOKEN_INVALID, SocketRejected
from hermes.metrics import Metrics

TRIES_MAX = 8  # keys of which a signature is checked for one token
UNKNOWN_MAX = 1_000  # key ids; about 300 KB if all are as long as they may be
UNKNOWN_S = 3_600.0
WAITING_AT_ONCE = 25  # signatures to check before other work has its turn: about 2 ms
NAMED_MAX = 5  # key ids in a message


class FetchedSource(Protocol):
    """A source of which the keys are fetched in the background."""

    url: str

    @property
    def is_stale(self) -> bool:
        """Whether there is no good answer, or none that is recent enough."""

    @property
    def good_began_s(self) -> float:
        """When the last fetch with a good answer began, in monotonic seconds."""

    def request(self) -> None:
        """Ask for a fetch: a token names a key that is not there."""


class KeyRing:
    """The keys of all sources, to be looked up by algorithm and key id.

    ``clock`` gives monotonic seconds.
    """

    def __init__(self, *, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._sources: dict[Source, tuple[VerificationKey, ...]] = {}
        self._fetched: dict[Source, FetchedSource] = {}
        self._by_kid: dict[str, list[VerificationKey]] = {}
        self._unnamed: list[VerificationKey] = []
        self._by_id: dict[str, VerificationKey] = {}
        self._unknown = UnknownKids(clock=clock)
        self._on_change: list[Callable[[], None]] = []
        self._waiting: dict[Callable[[], None], None] = {}  # at most one of each open socket

    def replace(self, source: Source, keys: Sequence[VerificationKey]) -> None:
        """Use these keys of a source from now on, and none of its earlier ones."""
        self._sources[source] = tuple(keys)
        self._metrics.token_keys.labels(source.value).set(len(keys))
        every = [key for of_source in self._sources.values() for key in of_source]
        self._by_id = {key.id: key for key in every}
        self._unnamed = [key for key in every if key.kid is None]
        self._by_kid = {}
        for key in every:
            if key.kid is not None:
                self._by_kid.setdefault(key.kid, []).append(key)
        for call in self._on_change:
            call()

    def fetch_from(self, source: Source, fetched: FetchedSource) -> None:
        """Ask this source for keys that are not there."""
        self._fetched[source] = fetched

    def stop_fetching(self, source: Source) -> None:
        """Ask this source for nothing more; its keys are gone."""
        self._fetched.pop(source, None)
        self.replace(source, ())

    def on_change(self, call: Callable[[], None]) -> None:
        """Call this whenever the keys have changed."""
        self._on_change.append(call)

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """All keys."""
        return tuple(self._by_id.values())

    def __contains__(self, key_id: str) -> bool:
        """Return whether the key of this `VerificationKey.id` is still there."""
        return key_id in self._by_id

    def check_recent(self, key_id: str) -> None:
        """Check that the source of this key has answered lately.

        Raises `SocketRejected`, ``KEYS_UNAVAILABLE``.
        """
        key = self._by_id.get(key_id)
        fetched = None if key is None else self._fetched.get(key.source)
        if fetched is not None and fetched.is_stale:
            raise SocketRejected(KEYS_UNAVAILABLE, f"{fetched.url} has not answered for too long (--jwks-max-stale-s)")

    def candidates(self, algorithm: str, kid: str | None) -> Sequence[VerificationKey]:
        """Return the keys of this algorithm that a token may be signed with.

        They are those of the key id that the token names. Without such a key they are those that have none, and for a
        token that names none, all. At most `TRIES_MAX`. Raises `SocketRejected` if there is none.
        """
        named = [] if kid is None else [key for key in self._by_kid.get(kid, ()) if algorithm in key.algorithms]
        others = self._by_id.values() if kid is None else self._unnamed
        found = named or [key for key in others if algorithm in key.algorithms]
        if not found:
            raise self.rejection(algorithm, kid)
        return found[:TRIES_MAX]

    def rejection(self, algorithm: str, kid: str | None) -> SocketRejected:
        """Return why a token is rejected of which no key has verified the signature.

        ``KEYS_UNAVAILABLE`` if a fetch may still bring its key: that is not known before a fetch has ended which began
        after the key id was first seen.
        """
        if algorithm in PUBLIC_ALGORITHMS and (kid is None or (len(kid) <= KID_MAX_CHARS and kid not in self._by_kid)):
            seen_s = None if kid is None else self._unknown.first_seen_s(kid, count=self._metrics.unknown_kids.inc)
            waiting = [each for each in self._fetched.values() if _may_bring(each, seen_s)]
            for each in waiting:
                each.request()
            if waiting:
                name = "a key" if kid is None else f"the key {shown(kid)}"
                return SocketRejected(
                    KEYS_UNAVAILABLE,
                    f"signed with {name} that Hermes does not have yet; it asks {', '.join(e.url for e in waiting)}",
                )
        return SocketRejected(TOKEN_INVALID, self._explanation(algorithm, kid))

    # -- waiting for keys ---------------------------------------------------------------------------------------------

    def after_fetch(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call this once, after the next fetch of any source; return how to cancel it."""
        self._waiting[call] = None

        def cancel() -> None:
            self._waiting.pop(call, None)

        return cancel

    def fetched(self) -> None:
        """Make the calls that wait for a fetch, a few in each iteration of the event loop."""
        self._call_waiting(len(self._waiting))

    def _call_waiting(self, left: int) -> None:
        calls = list(islice(self._waiting, min(left, WAITING_AT_ONCE)))
        for call in calls:
            if call in self._waiting:  # one before may have cancelled it
                del self._waiting[call]
                call()
        if left > len(calls) > 0:
            asyncio.get_running_loop().call_soon(self._call_waiting, left - len(calls))

    def _explanation(self, algorithm: str, kid: str | None) -> str:
        keys = self.keys
        if algorithm not in PUBLIC_ALGORITHMS and algorithm not in SECRET_ALGORITHMS:
            return f"signed with {shown(algorithm)}, which Hermes never accepts"
        fitting = [key for key in keys if algorithm in key.algorithms]
        if fitting and kid is not None and (names := sorted({key.kid for key in fitting if key.kid is not None})):
            listed = ", ".join(map(shown, names[:NAMED_MAX])) + (", …" if len(names) > NAMED_MAX else "")
            return f"signed with the key {shown(kid)}; the {algorithm} keys of this Hermes are {listed}"
        if fitting:
            return f"the signature does not match {_count(fitting, algorithm)} of this Hermes"
        return f"signed with {algorithm}; this Hermes has {_have(keys)}: {_cure(algorithm, keys)}"


class UnknownKids:
    """When each unknown key id was first seen, in monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def first_seen_s(self, kid: str, *, count: Callable[[], object]) -> float:
        """Return when this key id was first seen within `UNKNOWN_S`.

        It is now if the key id is new, which is counted.
        """
        now_s = self._clock()
        seen_s = self._seen.get(kid)
        if seen_s is None or now_s - seen_s >= UNKNOWN_S:
            count()
            self._seen.pop(kid, None)
            seen_s = self._seen[kid] = now_s
            if len(self._seen) > UNKNOWN_MAX:
                self._seen.popitem(last=False)
        return seen_s


def _may_bring(fetched: FetchedSource, seen_s: float | None) -> bool:
    """Return whether a source may have a key that was first seen at this time."""
    return fetched.is_stale or (seen_s is not None and fetched.good_began_s <= seen_s)


def _count(keys: Sequence[VerificationKey], algorithm: str) -> str:
    secrets = algorithm in SECRET_ALGORITHMS
    if len(keys) == 1:
        return "the JWT secret" if secrets else f"the {algorithm} key"
    return f"any of the {len(keys)} JWT secrets" if secrets else f"any of the {len(keys)} {algorithm} keys"


def _have(keys: Sequence[VerificationKey]) -> str:
    secrets = [key for key in keys if key.source is Source.SECRET]
    public = [key for key in keys if key.source is not Source.SECRET]
    parts = [f"an {describe(secrets)} secret"] if secrets else []
    parts += [f"keys for {describe(public)}"] if public else []
    return f"only {' and '.join(parts)}" if parts else "no key"


def _cure(algorithm: str, keys: Sequence[VerificationKey]) -> str:
    if algorithm in PUBLIC_ALGORITHMS:
        return "add --jwks-url or --jwt-public-key-file"
    if any(key.source is Source.SECRET for key in keys):
        return f"its secret needs {SECRET_BYTES[algorithm]} bytes"
    return "add --jwt-secret-file, or let the issuer sign with a key pair"
