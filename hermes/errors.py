"""Floor 1: what can go wrong, and how it is said.

The exceptions, as a tree::

    HermesError
    ├── ConfigError        settings that cannot work: every fault at once, exit code 2
    ├── TemplateError      a topic template that cannot be used, and what to mend
    ├── SocketRejected            a socket must be closed: carries its row of the table below
    ├── ClientError        a client's frame is wrong, the socket stays open: code and message
    ├── RequestError     a ``POST /notify`` body is wrong: status, code, message, fields
    ├── BrokerUnavailable  the embedded broker cannot be had, and the line to run
    ├── AccountError       a device's account of the embedded broker cannot be had, and what to mend
    ├── AddressNotFound        a device's message is nobody's: the reason to count it under
    └── PayloadError       a device's payload is not what its template says

The close codes, one row each (RFC 6455 §7.4; 1013 from IANA's registry): the number, the machine word that
begins the reason, and whether a client may come back without its user doing something first. 1006 is not
here: it is never sent, a client sees it where the connection broke without a close frame.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Close:
    """One row of the close-code table."""

    code: int
    word: str
    may_return: bool

    def reason(self, retry_ms: int | None = None) -> str:
        """The close frame's reason: the word, then hints, ``word;retry_ms=1234``."""
        return self.word if retry_ms is None else f"{self.word};retry_ms={retry_ms}"


NORMAL = Close(1000, "", may_return=True)
STOPPING = Close(1001, "stopping", may_return=True)
BINARY_NOT_SUPPORTED = Close(1003, "binary_not_supported", may_return=False)
TOKEN_MISSING = Close(1008, "token_missing", may_return=False)
TOKEN_INVALID = Close(1008, "token_invalid", may_return=False)
TOKEN_EXPIRED = Close(1008, "token_expired", may_return=False)
FORBIDDEN = Close(1008, "forbidden", may_return=False)
TOO_MANY_ERRORS = Close(1008, "too_many_errors", may_return=False)
MESSAGE_TOO_BIG = Close(1009, "message_too_big", may_return=False)
INTERNAL_ERROR = Close(1011, "internal_error", may_return=True)
SLOW_CONSUMER = Close(1013, "slow_consumer", may_return=True)
SERVER_FULL = Close(1013, "server_full", may_return=True)

TABLE = (
    NORMAL,
    STOPPING,
    BINARY_NOT_SUPPORTED,
    TOKEN_MISSING,
    TOKEN_INVALID,
    TOKEN_EXPIRED,
    FORBIDDEN,
    TOO_MANY_ERRORS,
    MESSAGE_TOO_BIG,
    INTERNAL_ERROR,
    SLOW_CONSUMER,
    SERVER_FULL,
)
CODES = frozenset({row.code for row in TABLE} | {1005, 1006})  # what is counted; clients may say anything


def may_return(code: int) -> bool:
    """Whether a client that saw this close code may come back by itself; where the table has no such code, it may."""
    return all(row.may_return for row in TABLE if row.code == code)


class HermesError(Exception):
    """Anything that Hermes itself raises on purpose."""


class ConfigError(HermesError):
    """The settings cannot work. ``faults`` holds one line for each thing to mend."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class TemplateError(HermesError, ValueError):
    """A topic template cannot be used; the text says why and what to write instead."""


class SocketRejected(HermesError):
    """This socket must be closed, with this row of the table."""

    def __init__(self, close: Close, detail: str = "") -> None:
        super().__init__(f"{close.word}: {detail}" if detail else close.word)
        self.close = close


class ClientError(HermesError):
    """A client's frame is wrong; the socket stays open and gets an error frame with this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RequestError(HermesError):
    """An HTTP request is wrong: the status, a machine code, a sentence, and a sentence per faulty field."""

    def __init__(self, status: int, code: str, message: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields or {}


class BrokerUnavailable(HermesError):
    """The embedded broker cannot be started; the text says the one line to run."""


class AccountError(HermesError):
    """A device's account of the embedded broker cannot be made, read or used; the text says why and what to mend."""


class AddressNotFound(HermesError):
    """A message's payload does not say whose it is. ``reason`` is what it is counted as: ``pointer`` where it lacks
    what is pointed at, ``mismatch`` where it says otherwise than its topic.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class PayloadError(HermesError):
    """A payload cannot be decoded as its template says; the text says why."""
