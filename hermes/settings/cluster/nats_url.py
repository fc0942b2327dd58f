"""The URL of a NATS server."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

DEFAULT_PORT = 4222  # registered with IANA for NATS

_EXAMPLE = "nats://user:password@nats.example:4222 or tls://nats.example:4222"
_ESCAPES = "with /, ?, #, @ and a comma in a password as %2F, %3F, %23, %40 and %2C"


@dataclass(frozen=True, slots=True)
class NatsUrl:
    """A server's address and the credentials for it: user and password, or a token.

    Neither its str nor its repr contains the password or the token.
    """

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        user = "" if self.username is None else f"{quote(self.username, safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{user}{host}:{self.port}"

    @property
    def has_credentials(self) -> bool:
        """Whether it has a user or a token."""
        return self.username is not None or self.token is not None


def parse_nats_url(text: str) -> NatsUrl:
    """Parse ``nats://[user:password@|token@]host[:4222]``, or ``tls://…`` for TLS.

    User, password and token are percent-decoded. Raises ValueError that says what to write and repeats nothing of the
    text, because that may contain a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"the NATS URL's host or port cannot be read; write {_EXAMPLE}, {_ESCAPES}") from None
    _check(parts, text)
    username = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return NatsUrl(
        host=str(parts.hostname),
        port=DEFAULT_PORT if port is None else port,
        tls=parts.scheme == "tls",
        username=None if password is None else username,
        password=password,
        token=username if password is None else None,
    )


def _check(parts: SplitResult, text: str) -> None:
    if parts.scheme not in ("nats", "tls") or not text.partition(":")[2].startswith("//"):
        raise ValueError(f"the NATS URL does not begin with nats:// or tls://; write {_EXAMPLE}")
    if not parts.hostname or any(sign.isspace() or not sign.isprintable() for sign in text):
        raise ValueError(f"the NATS URL has no host, or contains white space; write {_EXAMPLE}")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:  # the resolver would report the same, in many lines
        raise ValueError(
            f"the NATS URL's host has an empty label, or one of over 63 characters; write {_EXAMPLE}"
        ) from None
    if parts.port == 0:
        raise ValueError("the NATS URL's port is 0; write one from 1 to 65535, or none for the default")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"the NATS URL has something after host and port; write {_EXAMPLE}, {_ESCAPES}")
    if parts.username == "" or (parts.username is None and parts.password is not None):
        raise ValueError(f"the NATS URL has a password and no user, or an empty user; write {_EXAMPLE}")


def secrets_of(urls: Iterable[str]) -> list[str]:
    """Return the passwords and tokens of valid URLs, decoded and as they are written."""
    found = []
    for text in urls:
        parts = urlsplit(text)
        secret = parts.username if parts.password is None else parts.password
        if secret:
            found += [secret, unquote(secret)]
    return found
