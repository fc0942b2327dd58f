"""The exceptions of Hermes, and the WebSocket close codes.

The exceptions, as a tree::

    HermesError
    ├── ConfigError        the settings are not valid: all problems at once; exit code 2
    ├── TemplateError      a topic template is not valid, and how to fix it
    ├── SocketRejected     a socket must be closed, with a row of the table below
    ├── ClientError        a client's frame is wrong, the socket stays open: code, message
    ├── RequestError       an HTTP request is wrong: status, code, message, fields
    ├── BrokerUnavailable  the embedded broker cannot start, and the command that fixes it
    │   └── BrokerUnusable  mosquitto is missing or unusable; exit code 2
    ├── InboxUnusable      the file of the inbox must not be used, and what to do; exit code 2
    ├── AccountError       a device account cannot be created, read or used, and how to fix it
    ├── AddressNotFound    a payload does not have the tenant or device of its message
    └── PayloadError       a payload does not have the format of its template

The close codes, one row each (RFC 6455 §7.4; 1013 from IANA's registry): the number, the machine word at the beginning
of the reason, and whether a client may reconnect without an action of its user. 1005 and 1006 are not in the table:
they are never sent, only seen.
"""

import shlex
import sys
from dataclasses import dataclass
from importlib import metadata

REASON_MAX_BYTES = 123  # RFC 6455 §5.5: 125 bytes in a control frame, without the code


@dataclass(frozen=True, slots=True)
class Close:
    """One row of the table of close codes."""

    code: int
    word: str
    may_reconnect: bool

    def reason(self, retry_ms: int | None = None, *, detail: str = "") -> str:
        """Return the reason of the close frame: ``word`` or ``word;retry_ms=1234``.

        ``detail`` follows as ``;detail=…``, as much of it as fits into the frame.
        """
        hints = "" if retry_ms is None else f";retry_ms={retry_ms}"
        hints += f";detail={detail.replace(';', ',')}" if detail else ""
        return f"{self.word}{hints}".encode("utf-8", "replace")[:REASON_MAX_BYTES].decode("utf-8", "ignore")


NORMAL = Close(1000, "", may_reconnect=True)
STOPPING = Close(1001, "stopping", may_reconnect=True)
DISCONNECTED = Close(1001, "disconnected", may_reconnect=True)
PROTOCOL_ERROR = Close(1002, "protocol_error", may_reconnect=False)
BINARY_NOT_SUPPORTED = Close(1003, "binary_not_supported", may_reconnect=False)
INVALID_TEXT = Close(1007, "invalid_text", may_reconnect=False)
TOKEN_MISSING = Close(1008, "token_missing", may_reconnect=False)
TOKEN_INVALID = Close(1008, "token_invalid", may_reconnect=False)
TOKEN_EXPIRED = Close(1008, "token_expired", may_reconnect=False)
FORBIDDEN = Close(1008, "forbidden", may_reconnect=False)
REVOKED = Close(1008, "revoked", may_reconnect=False)
TOO_MANY_ERRORS = Close(1008, "too_many_errors", may_reconnect=False)
MESSAGE_TOO_BIG = Close(1009, "message_too_big", may_reconnect=False)
INTERNAL_ERROR = Close(1011, "internal_error", may_reconnect=True)
SLOW_CONSUMER = Close(1013, "slow_consumer", may_reconnect=True)
SERVER_FULL = Close(1013, "server_full", may_reconnect=True)
USER_FULL = Close(1013, "user_full", may_reconnect=True)
TENANT_FULL = Close(1013, "tenant_full", may_reconnect=True)
ADDRESS_FULL = Close(1013, "address_full", may_reconnect=True)
SLOW_DOWN = Close(1013, "slow_down", may_reconnect=True)
KEYS_UNAVAILABLE = Close(1013, "keys_unavailable", may_reconnect=True)
JOINING = Close(1013, "joining", may_reconnect=True)

TABLE = (
    NORMAL,
    STOPPING,
    DISCONNECTED,
    PROTOCOL_ERROR,
    BINARY_NOT_SUPPORTED,
    INVALID_TEXT,
    TOKEN_MISSING,
    TOKEN_INVALID,
    TOKEN_EXPIRED,
    FORBIDDEN,
    REVOKED,
    TOO_MANY_ERRORS,
    MESSAGE_TOO_BIG,
    INTERNAL_ERROR,
    SLOW_CONSUMER,
    SERVER_FULL,
    USER_FULL,
    TENANT_FULL,
    ADDRESS_FULL,
    SLOW_DOWN,
    KEYS_UNAVAILABLE,
    JOINING,
)
NO_STATUS_RECEIVED = 1005  # RFC 6455 §7.1.5: the client's close frame has no code; it is never sent
CONNECTION_LOST = 1006  # §7.1.5: there was no close frame; it is never sent
CODES = frozenset(
    {row.code for row in TABLE} | {NO_STATUS_RECEIVED, CONNECTION_LOST}
)  # those with a label of their own
CLIENT_CODES = frozenset({NORMAL.code, NO_STATUS_RECEIVED})  # those that only a client's close frame has
OTHER_CODE = "other"  # the label of all other codes: a client can send thousands


def may_reconnect(code: int) -> bool:
    """Return whether a client that got this close code may reconnect by itself.

    True for a code that is not in the table.
    """
    return all(row.may_reconnect for row in TABLE if row.code == code)


class HermesError(Exception):
    """An error that Hermes raises on purpose.

    ``exit_code`` is that of a command: 2 if only a person can correct the reason, so that a service manager should not
    try again.
    """

    exit_code = 1


class ConfigError(HermesError):
    """The settings are not valid; ``problems`` has one line for each."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class TemplateError(HermesError, ValueError):
    """A topic template is not valid; the text gives the reason and the correction."""


class SocketRejected(HermesError):
    """A socket must be closed, with this row of the table; ``detail`` is for the log."""

    def __init__(self, close: Close, detail: str = "") -> None:
        super().__init__(f"{close.word}: {detail}" if detail else close.word)
        self.close = close
        self.detail = detail


class ClientError(HermesError):
    """A client's frame is wrong; the socket stays open and gets an error frame."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RequestError(HermesError):
    """An HTTP request is wrong.

    ``status`` is the HTTP status, ``code`` a machine word, ``message`` a sentence, ``fields`` a text per faulty field.
    """

    def __init__(self, status: int, code: str, message: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields or {}


class BrokerUnavailable(HermesError):
    """The embedded broker cannot start; the text has the command that fixes it."""


class BrokerUnusable(BrokerUnavailable):
    """The program mosquitto is missing, or cannot be used."""

    exit_code = 2


class InboxUnusable(HermesError):
    """The inbox is in use by another Hermes, from a newer one, or on a wrong disk.

    The text gives the reason and the correction.
    """

    exit_code = 2


class AccountError(HermesError):
    """An account of the embedded broker cannot be created, read or used.

    The text gives the reason and the correction.
    """


class AddressNotFound(HermesError):
    """A payload does not have the tenant or device of its message, or of a part of it.

    ``reason`` is the label of the dropped message: ``pointer`` if the payload has nothing at the JSON pointer,
    ``mismatch`` if it has another value than the topic, ``too_long`` if an id is too long,
    ``bad_id`` if it cannot be shown, ``too_large`` if there are too many parts to split the payload.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class PayloadError(HermesError):
    """A payload does not have the format of its template; the text gives the reason."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra of setup.cfg.

    It names the packages of the extra, because no index has Hermes itself. The one-file program cannot be extended; for
    it the text says what to do instead.
    """
    if getattr(sys, "frozen", False):
        return f"install Hermes with pip from a checkout: pip install '.[{extra}]'"
    try:
        required = metadata.requires("hermes-gateway") or []
    except metadata.PackageNotFoundError:
        return f"in the checkout, run: pip install '.[{extra}]'"
    packages = [name.strip() for name, _, marker in (each.partition(";") for each in required) if _names(marker, extra)]
    return shlex.join([sys.executable, "-m", "pip", "install", *packages])


def _names(marker: str, extra: str) -> bool:
    return f"extra == '{extra}'" in marker.replace('"', "'")
