"""Floor 1: how single settings are read: from the text that was given to a value, or to what must be mended.

Each reader raises ValueError whose text says what to write instead; `hermes.config` puts the flag's name before it.
"""

import importlib.util
import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from hermes.auth.tokens import SECRET_MIN_BYTES, unusable_secret
from hermes.settings.mqtt import CLIENT_ID_MAX_BYTES
from hermes.settings.mqtt_url import parse_mqtt_url
from hermes.settings.tls import TlsOptions
from hermes.topics.topic_map import TopicMap

DEFAULT_MQTT_URL = "mqtt://127.0.0.1:1883"
NO_BROKER_URLS = ("off", "embedded")  # what may stand in place of one
DEFAULT_TOPICS = ("hermes",)


def split_commas(value: object) -> object:
    """A comma-separated string as a list without empty parts; anything else as it is."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def topics(value: tuple[str, ...]) -> tuple[str, ...]:
    """Topic templates that go together."""
    TopicMap(value)  # raises TemplateError, a ValueError, that says what to mend
    return value


def mqtt_url(value: str) -> str:
    """``off``, ``embedded`` or a URL."""
    if value not in NO_BROKER_URLS:
        parse_mqtt_url(value)
    return value


def mqtt_password_file(path: Path) -> Path:
    """A file that holds a password for the broker."""
    if not secret_text(readable(path)):
        raise ValueError(f"{path} is empty; write the password into it")
    return path


def mqtt_ca_file(path: Path) -> Path:
    """A file of certificates to trust."""
    TlsOptions(ca_file=path).context()  # raises ValueError that says what is wrong with it
    return path


def alpn(value: tuple[str, ...]) -> tuple[str, ...]:
    """Names of protocols (RFC 7301 §3.1)."""
    if not all(0 < len(name.encode()) < 256 for name in value):
        raise ValueError("a protocol's name has 1 to 255 bytes, as in x-amzn-mqtt-ca")
    return value


def client_id(value: str) -> str:
    """How the broker knows a client again."""
    if not 0 < len(value.encode()) <= CLIENT_ID_MAX_BYTES or not value.isprintable():
        raise ValueError("must be a printable name; 23 letters and digits are what every broker takes")
    return value


def number(value: object) -> object:
    """Digits as the number they mean; anything else as it is."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def http_url(value: str) -> str:
    """Where Hermes is, as a client's user writes it; what is not a URL would be tried for ever."""
    try:
        parts = urlsplit(value)
        reachable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        reachable = False
    if not reachable or any(sign.isspace() or not sign.isprintable() for sign in value):
        raise ValueError("must look like http://127.0.0.1:8080: scheme, host, and a port from 1 to 65535 or none")
    return value


def origin(value: str) -> str:
    """A web origin (RFC 6454) in lower case, or ``*``."""
    if value != "*" and (not value.startswith(("http://", "https://")) or value.count("/") != 2):
        raise ValueError(f"{value!r} is no origin; write scheme and host, as in https://app.example.com, or *")
    return value.lower()


def readable(path: Path) -> Path:
    """A file of UTF-8 text that this process can read."""
    try:
        path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"cannot read {path}: {reason}") from None
    return path


def absolute(path: Path) -> Path:
    """A path that means the same whoever starts Hermes wherever."""
    if not path.is_absolute():
        raise ValueError(f"{path} is no absolute path; write {path.absolute()}")
    return path


def jwt_secret(value: SecretStr) -> SecretStr:
    """A secret that can sign HS256."""
    check_secret(value.get_secret_value())
    return value


def jwt_secret_file(path: Path) -> Path:
    """A file that holds such a secret."""
    check_secret(secret_text(readable(path)))
    return path


def api_key_file(path: Path) -> Path:
    """A file with at least one key."""
    if not key_lines(readable(path)):
        raise ValueError(f"{path} holds no key; write one key a line")
    return path


def check_secret(secret: str) -> None:
    """Raises ValueError for a secret that is too short for HS256, or is a key of another kind."""
    if len(secret.encode()) < SECRET_MIN_BYTES:
        raise ValueError(f"the secret is shorter than {SECRET_MIN_BYTES} bytes; make one with: openssl rand -hex 32")
    if (reason := unusable_secret(secret)) is not None:
        raise ValueError(f"this is no secret for HS256 ({reason}); make one with: openssl rand -hex 32")


def secret_text(path: Path) -> str:
    """A secret file's content without its one trailing newline."""
    text = path.read_text("utf-8")
    return text.removesuffix("\n").removesuffix("\r")


def key_lines(path: Path) -> tuple[str, ...]:
    """The keys of a key file, one a line; blank lines do not count."""
    return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())


def is_loopback(host: object) -> bool:
    """Whether this address, or name, is this machine's own."""
    try:
        return ipaddress.ip_address(str(host).strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def uvloop(wanted: bool) -> bool:
    """Only where it is installed."""
    if wanted and importlib.util.find_spec("uvloop") is None:
        raise ValueError("uvloop is not installed; pip install 'hermes-gateway[uvloop]', or leave this out")
    return wanted


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
Topics = Annotated[CommaList, Field(min_length=1), AfterValidator(topics)]
SecretFile = Annotated[Path, AfterValidator(jwt_secret_file)]
Secret = Annotated[SecretStr, AfterValidator(jwt_secret)]
PasswordFile = Annotated[Path, AfterValidator(mqtt_password_file)]
CaFile = Annotated[Path, AfterValidator(mqtt_ca_file)]
KeyFile = Annotated[Path, AfterValidator(api_key_file)]
