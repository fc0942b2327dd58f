"""Log to standard error, with secrets masked and repeated lines limited."""

import base64
import functools
import logging
import re
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TextIO

MASK = "***"
JWT_MIN_CHARS = 20  # the shortest header has 10, the shortest useful claims as many
THROTTLE_KEYS_MAX = 10_000  # about 1 MB; past it the oldest key is evicted, and its next line is written again

# What can end a line, control a terminal, or change the order in which text is shown: control characters, line and
# paragraph separators, and the format characters of Unicode (category Cf), bidirectional and invisible ones among them
UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)

# Strangers write what is masked, so each pattern needs linear time: no open repetition may begin at many places of the
# same text. `++` and `(?<!…)` ensure that: a word is read once, from its first character.
_DOTTED_WORD = re.compile(rf"(?<![\w.-])[\w.-]{{{JWT_MIN_CHARS},}}+", re.ASCII)
_BASE64URL_OF_OBJECT = re.compile(r"(?=((?:e[w-z0-9_-]|I[A-P]|C[Q-v]|D[Q-f])[\w-]{6}))", re.ASCII)
_OBJECT_BEGIN = re.compile(rb"\s*(?:\{[\s\"}]|\{?$)")

# a substring of the lower-case text without which the slower search is skipped, the pattern, its replacement
_PATTERNS = (
    ("token=", re.compile(r"(\btoken=)[^&\s\"']+"), rf"\1{MASK}"),
    ("bearer", re.compile(r"(\bBearer\s+)[^\s\"',]+", re.IGNORECASE), rf"\1{MASK}"),
    ("://", re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+(@)"), rf"\1{MASK}\2"),  # a URL's password
)


class MaskingFormatter(logging.Formatter):
    """Format a record with its traceback, and mask secrets and what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets: tuple[str, ...] = ()
        self.mask(secrets)

    def mask(self, secrets: Iterable[str]) -> None:
        """Mask these, too."""
        given = {form for secret in secrets for form in (secret, printable(secret)) if form}
        given.update(self._secrets)
        self._secrets = tuple(sorted(given, key=len, reverse=True))  # longest first: one may be a prefix of another

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; most have no traceback, and are made in one step."""
        if record.exc_info or record.exc_text or record.stack_info:
            return super().format(record)
        text = record.getMessage()
        if not text.isprintable():
            text = printable(text)
        time_text = f"{_second(int(record.created))},{int(record.msecs):03d}"
        return f"{time_text} {record.levelname} {record.name}: {masked(text, self._secrets)}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return one masked line, whatever text of a client it has."""
        if not record.message.isprintable():
            record.message = printable(record.message)
        record.message = masked(record.message, self._secrets)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the masked lines of a traceback."""
        return masked(super().formatException(ei), self._secrets)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Return the masked lines of a stack."""
        return masked(super().formatStack(stack_info), self._secrets)


@functools.lru_cache(1)
def _second(unix_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))


def printable(text: str) -> str:
    """Return the text with the escape of each `UNPRINTABLE` character in its place."""
    return UNPRINTABLE.sub(lambda control: repr(control[0])[1:-1], text)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without tokens, keys, URL passwords and the given secrets."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    if _has_long_dotted_word(text):
        text = _DOTTED_WORD.sub(_without_jwt, text)
    lower = text.lower()
    for part, pattern, replacement in _PATTERNS:
        if part in lower:
            text = pattern.sub(replacement, text)
    return text


def _has_long_dotted_word(text: str) -> bool:
    return text.count(".") > 1 and any(len(word) >= JWT_MIN_CHARS and word.count(".") > 1 for word in text.split())


def _without_jwt(word: re.Match[str]) -> str:
    """Return a word with dots, masked from where a JSON Web Token begins.

    Its first part is the base64url of a JSON object, which may begin with white space, and two other parts follow
    (RFC 7519 §3).
    """
    text = word[0]
    first_part_ends = text.rfind(".", 0, max(0, text.rfind(".")))
    for found in _BASE64URL_OF_OBJECT.finditer(text, 0, max(0, first_part_ends)):
        if _OBJECT_BEGIN.match(base64.urlsafe_b64decode(found[1])):
            return text[: found.start()] + MASK
    return text


class LogHandler(logging.StreamHandler[TextIO]):
    """Write to a stream, standard error by default; go on without it while it is full.

    `logging.StreamHandler` would write a traceback of 20 lines to the same stream for each line that fails. The next
    line that is written says how many failed.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._failed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, after the number of those that could not be written."""
        try:
            lines = self.format(record) + self.terminator
        except Exception:  # noqa: BLE001 - a wrong call of the logger, which logging reports
            self.handleError(record)
            return
        missing = f"{self._failed} log lines before this one may be missing{self.terminator}" if self._failed else ""
        try:
            self.stream.write(missing + lines)
            self.flush()
        except (OSError, ValueError):  # the disk is full, the terminal is gone, the stream is closed
            self._failed += 1
        else:
            self._failed = 0


def set_up(level: str, secrets: Iterable[str] = ()) -> None:
    """Log to standard error at this level, with these secrets masked.

    For the ``hermes`` command only: it replaces the handlers of the whole process, and switches off fields of log
    records that the format does not use.
    """
    handler = LogHandler()
    handler.setFormatter(MaskingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Without these fields a line needs 9 µs instead of 11 (Python's "Logging HOWTO", Optimization)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None


def quiet_client() -> None:
    """Leave out Tornado's lines about failed TLS handshakes.

    For commands that are clients: they explain the failure themselves.
    """
    logging.getLogger("tornado.general").setLevel(logging.ERROR)


def mask(secrets: Iterable[str]) -> None:
    """Mask these secrets, too, in the log that `set_up` has set up."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, MaskingFormatter):
            handler.formatter.mask(secrets)


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
