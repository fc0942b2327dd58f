"""The URL of an MQTT broker."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, quote, unquote

from hermes.settings.urls.server import UrlForm, check_server, split_url

Transport = Literal["tcp", "websockets", "unix"]

PLAIN_PORT, TLS_PORT = 1883, 8883  # registered with IANA for MQTT
WEBSOCKET_PATH = "/mqtt"  # the usual default of brokers
UNIX_PATH_MAX_BYTES = 107  # sun_path of unix(7), without its final NUL

_DEFAULT_PORTS = {"mqtt": PLAIN_PORT, "mqtts": TLS_PORT, "ws": 80, "wss": 443}
_SCHEMES = {
    ("tcp", False): "mqtt",
    ("tcp", True): "mqtts",
    ("websockets", False): "ws",
    ("websockets", True): "wss",
    ("unix", False): "unix",
}
_FORM = UrlForm(
    name="the MQTT URL",
    schemes=(*_DEFAULT_PORTS, "unix"),
    examples=(
        "mqtt://user:password@broker.example:1883 or mqtts://broker.example:8883",
        "wss://broker.example/mqtt or unix:///run/mosquitto.sock",
    ),
    escapes="with /, ?, # and @ in a password as %2F, %3F, %23 and %40",
    path_schemes=("ws", "wss"),
)


@dataclass(frozen=True, slots=True)
class MqttUrl:
    """A broker's address and the credentials for it.

    Neither its str nor its repr contains the password. ``path`` is that of the WebSocket, or of the Unix socket, which
    has no host and port.
    """

    host: str
    port: int = PLAIN_PORT
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    transport: Transport = "tcp"
    path: str = ""

    def __str__(self) -> str:
        scheme = _SCHEMES[self.transport, self.tls]
        if self.transport == "unix":
            return f"{scheme}://{self.path}"
        user = "" if self.username is None else f"{quote(self.username, safe='')}@"
        return f"{scheme}://{user}{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port, as they are written in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_mqtt_url(text: str) -> MqttUrl:
    """Parse the URL of a broker.

    Forms: ``mqtt://[user:password@]host[:1883]``, ``mqtts://…[:8883]``, ``ws://…[:80][/mqtt]``,
    ``wss://…[:443][/mqtt]``, ``unix:///path``. User and password are percent-decoded. Raises ValueError that says what
    to write and repeats nothing of the text, because that may contain a password.
    """
    parts, port = split_url(text, _FORM)
    if parts.scheme == "unix":
        return _unix_url(parts)
    check_server(parts, _FORM)
    over_websocket = parts.scheme in ("ws", "wss")
    return MqttUrl(
        host=str(parts.hostname),
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        tls=parts.scheme in ("mqtts", "wss"),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        transport="websockets" if over_websocket else "tcp",
        path=_websocket_path(parts.path) if over_websocket else "",
    )


def _websocket_path(path: str) -> str:
    return quote(path, safe="/%:@!$&'()*+,;=~") or WEBSOCKET_PATH


def _unix_url(parts: SplitResult) -> MqttUrl:
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or path in ("", "/"):
        raise ValueError(
            "the MQTT URL of a Unix socket consists of unix:// and an absolute path: unix:///run/mosquitto.sock"
        )
    if len(path.encode()) > UNIX_PATH_MAX_BYTES:
        raise ValueError(
            f"the path of the MQTT URL's Unix socket has over {UNIX_PATH_MAX_BYTES} bytes; choose a shorter one"
        )
    return MqttUrl(host="", port=0, transport="unix", path=path)
