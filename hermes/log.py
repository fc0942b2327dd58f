"""Log to standard error, with secrets masked and repeated lines limited."""

import logging
import re
import time
from collections.abc import Callable, Hashable, Iterable

MASK = "***"
THROTTLE_KEYS_MAX = 10_000  # about 1 MB; past it the oldest key is evicted, and its next line is written again

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# a substring of the lower-case text without which the slower search is skipped, the pattern, its replacement
_PATTERNS = (
    ("eyj", re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),  # a JWT: base64url of '{"'
    ("token=", re.compile(r"(\btoken=)[^&\s\"']+"), rf"\1{MASK}"),
    ("bearer", re.compile(r"(\bBearer\s+)[^\s\"',]+", re.IGNORECASE), rf"\1{MASK}"),
    ("://", re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+(@)"), rf"\1{MASK}\2"),  # a URL's password
)


class MaskingFormatter(logging.Formatter):
    """Format a record with its traceback, and mask secrets and what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        given = {form for secret in secrets for form in (secret, _printable(secret)) if form}
        self._secrets = tuple(sorted(given, key=len, reverse=True))  # longest first: one may be a prefix of another

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return one line, whatever text of a client it has; tracebacks have several."""
        if not record.message.isprintable():
            record.message = _printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the masked line or lines."""
        return masked(super().format(record), self._secrets)


def _printable(text: str) -> str:
    """Replace what could end a line or control a terminal by escapes."""
    return _CONTROL.sub(lambda control: repr(control[0])[1:-1], text)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without tokens, keys, URL passwords and the given secrets."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    lower = text.lower()
    for part, pattern, replacement in _PATTERNS:
        if part in lower:
            text = pattern.sub(replacement, text)
    return text


def set_up(level: str, secrets: Iterable[str] = ()) -> None:
    """Log to standard error at this level, with these secrets masked.

    For the ``hermes`` command only: it replaces the handlers of the whole process, and switches off fields of log
    records that the format does not use.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Without these fields a line needs 9 µs instead of 11 (Python's "Logging HOWTO", Optimization)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None


class LogThrottle:
    """Allow the first line of each key, then one line per interval.

    ``interval_s`` None allows the first line only. ``clock`` gives monotonic seconds. Two threads that call `allow` at
    once may both write a line, and do no other harm.
    """

    def __init__(self, interval_s: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._logged_s: dict[Hashable, float] = {}
        self._suppressed: dict[Hashable, int] = {}

    def allow(self, key: Hashable) -> int:
        """Return how many events of this key the line stands for, or 0 if no line is due."""
        now_s, logged_s = self._clock(), self._logged_s.get(key)
        if logged_s is not None and (self._interval_s is None or now_s - logged_s < self._interval_s):
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return 0
        if logged_s is None and len(self._logged_s) >= THROTTLE_KEYS_MAX:
            self._evict_oldest()
        self._logged_s[key] = now_s
        return self._suppressed.pop(key, 0) + 1

    def clear(self) -> None:
        """Remove all keys: the next line of each is allowed."""
        self._logged_s.clear()
        self._suppressed.clear()

    def _evict_oldest(self) -> None:
        oldest = next(iter(self._logged_s), None)
        self._logged_s.pop(oldest, None)
        self._suppressed.pop(oldest, None)
