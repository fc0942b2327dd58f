"""Floor 1: where the MQTT broker is, parsed from one URL so that the settings can be checked with it."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

PLAIN_PORT, TLS_PORT = 1883, 8883  # registered with IANA for MQTT

_SCHEMES = {"mqtt": PLAIN_PORT, "mqtts": TLS_PORT}
_EXAMPLE = "mqtt://user:password@broker.example:1883 or mqtts://broker.example:8883"
_ESCAPES = "with /, ?, # and @ in a password as %2F, %3F, %23 and %40"


@dataclass(frozen=True, slots=True)
class MqttUrl:
    """A broker's address and the credentials for it. Neither its str nor its repr shows the password."""

    host: str
    port: int = PLAIN_PORT
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        scheme = "mqtts" if self.tls else "mqtt"
        user = "" if self.username is None else f"{quote(self.username, safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{user}{host}:{self.port}"


def parse_mqtt_url(text: str) -> MqttUrl:
    """The broker that ``mqtt://[user:password@]host[:1883]`` or ``mqtts://…[:8883]`` means.

    User and password are percent-decoded. Raises ValueError that says what to write and holds nothing of the
    text, because that may hold a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"the MQTT URL's host or port cannot be read; write {_EXAMPLE}, {_ESCAPES}") from None
    _check(parts, text)
    default = _SCHEMES[parts.scheme]
    return MqttUrl(
        host=str(parts.hostname),
        port=default if port is None else port,
        tls=parts.scheme == "mqtts",
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _check(parts: SplitResult, text: str) -> None:
    if parts.scheme not in _SCHEMES or not text.partition(":")[2].startswith("//"):
        raise ValueError(f"the MQTT URL begins with neither mqtt:// nor mqtts://; write {_EXAMPLE}")
    if not parts.hostname or any(sign.isspace() or not sign.isprintable() for sign in text):
        raise ValueError(f"the MQTT URL has no host, or white space in it; write {_EXAMPLE}")
    if parts.port == 0:
        raise ValueError("the MQTT URL's port is 0; write one from 1 to 65535, or none for the usual one")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"the MQTT URL has something after host and port; write {_EXAMPLE}, {_ESCAPES}")
    if parts.username == "" or (parts.username is None and parts.password is not None):
        raise ValueError(f"the MQTT URL has a password and no user, or an empty user; write {_EXAMPLE}")
