"""Keys that are fetched from an identity provider, in the background.

One fetch at a time: at the start, every hour, after a failure with growing delays, and for a token with an unknown key
id at most once in 30 s. The last good answer stays in use, also after a restart.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import orjson

from hermes.auth.jwks import KeySet, parse_key_set
from hermes.auth.key_http import FetchError, fetch
from hermes.auth.key_ring import KeyRing
from hermes.auth.keys import Source, VerificationKey
from hermes.auth.oidc import Discovery, KeyLocation, discovery_url, parse_discovery
from hermes.auth.stored_keys import KeyFile, StoredKeys
from hermes.log import LogThrottle
from hermes.metrics import Metrics

logger = logging.getLogger(__name__)

INTERVAL_S = 3_600.0
REQUESTED_INTERVAL_S = 30.0  # between two fetches for unknown key ids: any client can send tokens that name one
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 30.0
FAILURE_LOG_INTERVAL_S = 3_600.0
NAMED_MAX = 10  # keys in a line of the log
NEVER_S = float("-inf")


async def fetch_keys(location: KeyLocation) -> tuple[KeySet, Discovery | None]:
    """Fetch the keys of a location; of an issuer the discovery document before.

    Raises `FetchError`.
    """
    url, discovery = location.url, None
    if location.source is Source.OIDC:
        document_url = discovery_url(url)
        document = await fetch(document_url, tls_context=location.tls_context)
        with _named(document_url):
            discovery = parse_discovery(document, issuer=url, check_url=location.check_url)
        url = discovery.jwks_uri
    text = await fetch(url, tls_context=location.tls_context)
    with _named(url):
        # in a thread: a hundred keys take some milliseconds
        return await asyncio.to_thread(parse_key_set, text, source=location.source, issuer=location.issuer), discovery


class _named:  # noqa: N801 - used as a function
    """Replace a ValueError by a `FetchError` that names the document."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ValueError):
            raise FetchError(f"{self._url}: {error}") from None


class RemoteKeys:
    """The keys of one location: a `FetchedSource` of a ring.

    ``max_stale_s`` is how long keys may be used without a good answer. ``clock`` gives Unix seconds, ``monotonic``
    monotonic ones.
    """

    def __init__(
        self,
        location: KeyLocation,
        *,
        ring: KeyRing,
        file: KeyFile,
        metrics: Metrics,
        max_stale_s: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = location.url
        self.discovery: Discovery | None = None
        self.problem = "not fetched yet"  # of the last fetch; empty after a good one
        self.good_began_s = NEVER_S
        self._location = location
        self._ring = ring
        self._file = file
        self._metrics = metrics
        self._max_stale_s = max_stale_s
        self._clock = clock
        self._monotonic = monotonic
        self._good_until_s = NEVER_S
        self._requested = asyncio.Event()
        self._requested_began_s = NEVER_S
        self._retry_s = RETRY_FIRST_S
        self._log_throttle = LogThrottle(FAILURE_LOG_INTERVAL_S)
        self._task: asyncio.Task[None] | None = None
        ring.fetch_from(location.source, self)
        metrics.token_keys_age_s.labels(location.source.value).set_function(lambda: self.age_s)

    # -- what a ring asks ---------------------------------------------------------------------------------------------

    @property
    def is_stale(self) -> bool:
        """Whether there is no good answer, or none that is recent enough."""
        return self._monotonic() >= self._good_until_s

    def request(self) -> None:
        """Ask for a fetch, for an unknown key id."""
        self._requested.set()

    @property
    def age_s(self) -> float:
        """Seconds since the last good answer; -1 if there was none."""
        if self._good_until_s == NEVER_S:
            return -1.0
        return max(0.0, self._monotonic() - self._good_until_s + self._max_stale_s)

    # -- the task -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Use the stored answer, and start to fetch on the running event loop.

        Raises `ConfigError` if the stored answer is of a newer Hermes.
        """
        self._restore()
        self._task = asyncio.create_task(self._run(), name=f"hermes-keys-{self._location.source.value}")

    async def stop(self) -> None:
        """Cancel the task and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self.fetch_once()
                self._ring.fetched()
            except Exception:  # the top of a task: the next fetch may work
                logger.exception("keys of %s: failed", self.url)
            await self._wait()

    async def _wait(self) -> None:
        """Wait until the next fetch is due."""
        delay_s = self._retry_s if self.problem else INTERVAL_S
        due_s = self._monotonic() + delay_s
        try:
            async with asyncio.timeout(delay_s):
                await self._requested.wait()
        except TimeoutError:
            return
        allowed_s = max(self._monotonic(), self._requested_began_s + REQUESTED_INTERVAL_S)
        await asyncio.sleep(min(allowed_s, due_s) - self._monotonic())
        if allowed_s <= due_s:
            self._requested_began_s = self._monotonic()

    async def fetch_once(self) -> None:
        """Fetch once; an answer that cannot be used changes nothing."""
        began_s = self._monotonic()
        self._requested.clear()
        try:
            key_set, discovery = await fetch_keys(self._location)
        except FetchError as error:
            self._fail(str(error))
            return
        self.good_began_s = began_s
        self._retry_s = RETRY_FIRST_S
        if self.problem:
            logger.info("keys of %s: %s", self.url, _names(key_set.keys))
            self._log_throttle.clear()
        self.problem = ""
        self._metrics.key_fetches.labels(self._location.source.value, "ok").inc()
        self._good_until_s = self._monotonic() + self._max_stale_s
        self._use(key_set, discovery)
        await self._store(key_set, discovery)

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self._retry_s = min(RETRY_MAX_S, 2 * self._retry_s)
        self._metrics.key_fetches.labels(self._location.source.value, "failed").inc()
        if self._log_throttle.allow("failed"):
            use = "no token with its keys can be verified" if self.is_stale else "its last keys stay in use"
            logger.warning("keys: %s; %s, and Hermes tries again", problem, use)

    def _use(self, key_set: KeySet, discovery: Discovery | None) -> None:
        """Pass the keys to the ring; log what has changed."""
        source = self._location.source
        before = {key.id: key for key in self._ring.keys if key.source is source}
        after = {key.id: key for key in key_set.keys}
        self.discovery = discovery
        self._metrics.key_set_skipped.labels(source.value).set(sum(key_set.skipped.values()))
        if before.keys() == after.keys():
            return
        self._ring.replace(source, key_set.keys)
        added = _names([key for key_id, key in after.items() if key_id not in before])
        removed = _names([key for key_id, key in before.items() if key_id not in after])
        logger.info("keys of %s: new %s; removed %s", self.url, added, removed)

    # -- the file -----------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        try:
            stored = self._file.load(self.url)
        except OSError as error:
            logger.warning("cannot read %s: %s", self._file.path, error.strerror)
            return
        if stored is None:
            return
        try:
            key_set = _restored(stored, self._location)
        except (ValueError, TypeError):
            logger.warning("%s cannot be used: the keys are fetched", self._file.path)
            return
        age_s = max(0.0, self._clock() - stored.fetched_s)
        self._good_until_s = self._monotonic() + self._max_stale_s - age_s
        self._use(key_set, stored.discovery)

    async def _store(self, key_set: KeySet, discovery: Discovery | None) -> None:
        stored = StoredKeys(self.url, self._clock(), key_set.entries, discovery)
        try:
            await asyncio.to_thread(self._file.save, stored)
        except OSError as error:
            if self._log_throttle.allow("store"):
                logger.warning("cannot store the keys of %s in %s: %s", self.url, self._file.path, error.strerror)


def _restored(stored: StoredKeys, location: KeyLocation) -> KeySet:
    """Return the keys of a stored answer. Raises ValueError and TypeError."""
    return parse_key_set(orjson.dumps({"keys": stored.entries}), source=location.source, issuer=location.issuer)


def _names(keys: Sequence[VerificationKey]) -> str:
    names = [f"{key.kid or 'a key without an id'} ({key.algorithms[0]})" for key in keys[:NAMED_MAX]]
    others = [f"{len(keys) - NAMED_MAX} others"] if len(keys) > NAMED_MAX else []
    return ", ".join([*names, *others]) or "none"
