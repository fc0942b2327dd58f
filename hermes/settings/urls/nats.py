"""The URL of a NATS server."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from hermes.settings.urls.server import UrlForm, check_server, split_url

DEFAULT_PORT = 4222  # registered with IANA for NATS

_FORM = UrlForm(
    name="the NATS URL",
    schemes=("nats", "tls"),
    examples=("nats://user:password@nats.example:4222 or tls://nats.example:4222",),
    escapes="with /, ?, #, @ and a comma in a password as %2F, %3F, %23, %40 and %2C",
)


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
    parts, port = split_url(text, _FORM)
    check_server(parts, _FORM)
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


def secrets_of(urls: Iterable[str]) -> list[str]:
    """Return the passwords and tokens of valid URLs, decoded and as they are written."""
    found = []
    for text in urls:
        parts = urlsplit(text)
        secret = parts.username if parts.password is None else parts.password
        if secret:
            found += [secret, unquote(secret)]
    return found
