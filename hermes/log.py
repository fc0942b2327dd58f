"""Floor 1: logging to standard error, with tokens and keys masked whatever the module that logs them."""

import logging
import re
from collections.abc import Iterable

MASK = "***"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# what the text in lower case must contain for a search to pay, the pattern, and what comes in its place
_PATTERNS = (
    ("eyj", re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),  # a JWT: base64url of '{"'
    ("token=", re.compile(r"(\btoken=)[^&\s\"']+"), rf"\1{MASK}"),
    ("bearer", re.compile(r"(\bBearer\s+)[^\s\"',]+", re.IGNORECASE), rf"\1{MASK}"),
    ("://", re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+(@)"), rf"\1{MASK}\2"),  # a URL's password
)


class MaskingFormatter(logging.Formatter):
    """Formats a record, traceback included, and masks what looks like a secret or is a known one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        given = {form for secret in secrets for form in (secret, _printable(secret)) if form}
        self._secrets = tuple(sorted(given, key=len, reverse=True))  # one may be the beginning of another

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """One line, whatever a client put into a name or a reason; tracebacks keep theirs."""
        if not record.message.isprintable():
            record.message = _printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The masked line or lines."""
        return masked(super().format(record), self._secrets)


def _printable(text: str) -> str:
    """With escapes in place of what could end a line or steer a terminal."""
    return _CONTROL.sub(lambda control: repr(control[0])[1:-1], text)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without tokens, bearer keys, URL passwords and the given secrets."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    lower = text.lower()
    for part, pattern, replacement in _PATTERNS:
        if part in lower:
            text = pattern.sub(replacement, text)
    return text


def set_up(level: str, secrets: Iterable[str] = ()) -> None:
    """Log to standard error at this level, masking these secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # What no line shows need not be found out for each (Python's "Logging HOWTO", Optimization): 2 us of 11
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
