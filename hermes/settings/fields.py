"""Types of single settings: parsers and validators.

The text of a flag, a variable or the TOML file becomes a valid value. A validator raises ValueError that says what
to write instead; `hermes.settings.load` puts the flag's name before it.
"""

import contextlib
import importlib.util
import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from hermes.auth.api_keys import ApiKey, parse_keys
from hermes.auth.claims import SuperuserClaim
from hermes.auth.jwks import KeySet, parse_key_set
from hermes.auth.keys import SECRET_MIN_BYTES, Source, VerificationKey, public_keys_of_pem, unusable_secret
from hermes.auth.origins import configured_origin
from hermes.errors import install_command
from hermes.log import UNPRINTABLE
from hermes.settings.broker import parse_listen
from hermes.settings.folders import inbox_file
from hermes.settings.mqtt import CLIENT_ID_MAX_BYTES, Qos
from hermes.settings.tls import TlsOptions
from hermes.settings.urls.mqtt import parse_mqtt_url
from hermes.topics.topic_map import TopicMap

NO_BROKER_URLS = ("off", "embedded")  # accepted in place of a broker's URL
PROTOCOL_NAME_MAX_BYTES = 255  # RFC 7301 §3.1
POSTGRES_SCHEMES = ("postgresql://", "postgres://")  # libpq, "Connection URIs"
ANY_HOST = "*"  # as Tornado has it
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")  # RFC 1123 §2.1, and `_`, which some use
TEXT = "utf-8-sig"  # UTF-8, also with the byte order mark of some editors
MAKE_SECRET = "make one with: openssl rand -hex 32"


def secret_text(path: Path) -> str:
    """Return a secret file without byte order mark and one trailing newline."""
    text = path.read_text(TEXT)
    return text.removesuffix("\n").removesuffix("\r")


def api_keys_of(path: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a key file; raises ValueError with the number of the line."""
    return parse_keys(path.read_text(TEXT))


def address_url(host: str, port: int | str, *, tls: bool = False) -> str:
    """Return the URL of an address to listen on, ``http://[::1]:8080``."""
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def own_url(host: str, port: int | str, *, tls: bool = False) -> str:
    """Return the URL at which this machine reaches a Hermes that listens there."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return address_url(own, port, tls=tls)


def is_loopback(host: object) -> bool:
    """Return whether this address or name is reachable from this machine only."""
    try:
        return ipaddress.ip_address(str(host).strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def http_url(value: str) -> str:
    """Return the URL of a running Hermes.

    Raises ValueError if it is not one: a client would try to reach it forever.
    """
    try:
        parts = urlsplit(value)
        reachable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        reachable = False
    if not reachable or any(sign.isspace() or not sign.isprintable() for sign in value):
        raise ValueError("must look like http://127.0.0.1:8080: scheme, host, and a port from 1 to 65535 or none")
    return value


def check_fetch_url(value: str, *, insecure: bool = False) -> None:
    """Raise ValueError unless Hermes may fetch keys from this URL.

    It is ``https``; ``http`` is allowed on loopback, or with ``insecure`` everywhere.
    """
    http_url(value)
    parts = urlsplit(value)
    if parts.username is not None or parts.fragment:
        raise ValueError("must be a URL without a user, a password and a fragment")
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ValueError("must be https: with http an attacker could replace the keys; or give --jwks-insecure")


def public_keys_of_file(path: Path, *, issuer: str | None = None) -> tuple[VerificationKey, ...]:
    """Return the keys of a PEM file.

    Raises ValueError that names the file and its problem.
    """
    try:
        return public_keys_of_pem(path.read_text(TEXT), issuer=issuer)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def key_set_of_file(path: Path, *, issuer: str | None = None) -> KeySet:
    """Return the keys of a file with a JWK set.

    Raises ValueError that names the file and its problem.
    """
    try:
        return parse_key_set(path.read_text(TEXT).encode(), source=Source.JWKS_FILE, issuer=issuer)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def token_text(text: str) -> str:
    """Return a token without white space around it.

    Raises ValueError, without the text, if it contains a character that no JWT has: it could not be sent in a header.
    """
    if re.fullmatch(r"[\w.~+/=-]+", text.strip(), re.ASCII) is None:
        raise ValueError("the token is not a JWT: look for stray characters")
    return text.strip()


def networks(values: Iterable[str]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Return the networks; a single address is a network of one.

    Raises ValueError that says what to write.
    """
    try:
        return tuple(ipaddress.ip_network(value, strict=False) for value in values)
    except ValueError as error:
        raise ValueError(f"{error}; write an address or a network, as in 10.0.0.7 or 10.0.0.0/24") from None


# -- parsers: before pydantic's own ----------------------------------------------------------------------------------


def _split_commas(value: object) -> object:
    """Split a comma-separated string, without empty parts; return others unchanged."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _split_paths(value: object) -> object:
    """Return the paths of a comma-separated string, and one path as a list."""
    return [value] if isinstance(value, Path) else _split_commas(value)


def _number(value: object) -> object:
    """Return the number of a string of digits; return others unchanged."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


# -- validators: after pydantic's own --------------------------------------------------------------------------------


def _topics(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("write at least one topic template or preset")
    TopicMap(value)  # raises TemplateError, a ValueError
    return value


def _broker_url(value: str) -> str:
    if value not in NO_BROKER_URLS:
        parse_mqtt_url(value)
    return value


def _listen_address(value: str) -> str:
    parse_listen(value)
    return value


def _client_id(value: str) -> str:
    if not 0 < len(value.encode()) <= CLIENT_ID_MAX_BYTES or not value.isprintable():
        raise ValueError("must be a printable name; every broker accepts up to 23 letters and digits")
    return value


def _alpn(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(0 < len(name.encode()) <= PROTOCOL_NAME_MAX_BYTES for name in value):
        raise ValueError(f"a protocol name has 1 to {PROTOCOL_NAME_MAX_BYTES} bytes, for example x-amzn-mqtt-ca")
    return value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return web origins (RFC 6454) in the form that browsers send."""
    return tuple(configured_origin(value) for value in values)


def _proxies(values: tuple[str, ...]) -> tuple[str, ...]:
    networks(values)
    return values


def _text_file(path: Path) -> Path:
    try:
        path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"cannot read {_shown(path)}: {reason}") from None
    return path


def _shown(path: Path) -> str:
    """Return the path for an error message, unless it may be a secret."""
    if os.path.exists(path) or (len(path.parts) > 1 and os.path.isdir(path.parent)):  # these never raise
        return str(path)
    return "the file (its name is not shown: it may be the secret itself; write the path of a file, as in ./name)"


def _absolute(path: Path) -> Path:
    """Refuse a relative path: it would depend on the working directory."""
    if not path.is_absolute():
        raise ValueError(f"{path} is not an absolute path; write {path.absolute()}")
    return path


def _inbox_place(value: object) -> object:
    """Replace ``auto`` by the file in the state folder.

    Refuse a relative path, and a URL that is not one of PostgreSQL; repeat nothing of a URL, which may have a password.
    """
    if not isinstance(value, str) or value == "off":
        return value
    if value == "auto":
        return inbox_file()
    if "://" not in value:
        return _absolute(Path(value))
    if not value.startswith(POSTGRES_SCHEMES):
        raise ValueError("an inbox is the absolute path of a file, auto, off, or postgresql://user@host/database")
    if UNPRINTABLE.search(value) or " " in value:
        raise ValueError("the URL of the inbox contains white space or an invisible character")
    if value.partition("://")[2].partition("/")[0].partition("?")[0].count("@") > 1:
        raise ValueError("the URL of the inbox contains two @: write that of a password as %40")
    if importlib.util.find_spec("psycopg") is None:
        raise ValueError(f"an inbox in PostgreSQL needs another package: {install_command('postgres')}")
    return value


def postgres_password(url: str) -> str | None:
    """Return the password in a URL of PostgreSQL, None without one.

    As it is written there, before the host, or as a parameter (libpq, "Connection URIs").
    """
    rest, _, query = url.partition("://")[2].partition("?")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    _, colon, password = user.partition(":")
    if at and colon:
        return password
    parameters = dict(part.partition("=")[::2] for part in query.split("&"))
    return parameters.get("password")


def postgres_name(url: str) -> str:
    """Return a URL of PostgreSQL without its password and parameters, for messages."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    authority, slash, database = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{database}"


def listening_host(host: str) -> str:
    """Refuse what is neither an address nor the name of a host.

    The system would explain it badly, and a service would start again and again.
    """
    address = host.split("%")[0]  # of IPv6, with an interface
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(address)
        return host
    if host.startswith("["):
        raise ValueError(f"write {host.strip('[]')} without brackets")
    if "/" in host or host.count(":") == 1:
        raise ValueError("give the address alone; the port is a setting of its own")
    if host != ANY_HOST and (HOST_NAME.fullmatch(host) is None or host.rpartition(".")[2].isdecimal()):
        raise ValueError(f"{host!r} is neither an address nor the name of a host")
    return host


def _check_secret(secret: str) -> None:
    """Raise ValueError if HS256 cannot use this secret."""
    if len(secret.encode()) < SECRET_MIN_BYTES:
        raise ValueError(f"the secret is shorter than {SECRET_MIN_BYTES} bytes; {MAKE_SECRET}")
    if (reason := unusable_secret(secret)) is not None:
        raise ValueError(f"this is not a secret for HS256 ({reason}); {MAKE_SECRET}")
    if secret != secret.strip() or UNPRINTABLE.search(secret):
        raise ValueError(f"the secret begins or ends with white space, or has an invisible character; {MAKE_SECRET}")


def _jwt_secret(value: SecretStr) -> SecretStr:
    _check_secret(value.get_secret_value())
    return value


def _jwt_secret_files(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in paths:
        try:
            _check_secret(secret_text(_text_file(path)))
        except ValueError as error:
            raise ValueError(str(error) if len(paths) == 1 else f"{path}: {error}") from None
    return paths


def _public_key_files(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in paths:
        public_keys_of_file(_text_file(path))
    return paths


def _key_set_file(path: Path) -> Path:
    key_set_of_file(_text_file(path))
    return path


def _fetch_url(value: str) -> str:
    check_fetch_url(value, insecure=True)  # a rule decides about http
    return value


def _issuer_url(value: str) -> str:
    check_fetch_url(value, insecure=True)
    if urlsplit(value).query:
        raise ValueError("must be the issuer, without a query (OpenID Connect Discovery §2)")
    return value


def _superuser_claim(value: str) -> str:
    SuperuserClaim.parse(value)  # raises ValueError
    return value


def _key_file(path: Path) -> Path:
    _text_file(path)
    try:
        keys = api_keys_of(path)
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    if not keys:
        raise ValueError(f"{path} contains no key; write one key per line")
    return path


def _password_file(path: Path) -> Path:
    if not secret_text(_text_file(path)):
        raise ValueError(f"{path} is empty; write the password into it")
    return path


def _ca_file(path: Path) -> Path:
    TlsOptions(ca_file=path).context()  # raises ValueError
    return path


def _uvloop(wanted: bool) -> bool:
    if wanted and importlib.util.find_spec("uvloop") is None:
        raise ValueError(f"uvloop is not installed; leave this out, or: {install_command('uvloop')}")
    return wanted


# -- the types ---------------------------------------------------------------------------------------------------------

Host = Annotated[str, AfterValidator(listening_host)]
NonEmpty = Annotated[str, Field(min_length=1)]
TextFile = Annotated[Path, AfterValidator(_text_file)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
InboxPlace = Annotated[Path | str, BeforeValidator(_inbox_place)]
HttpUrl = Annotated[str, AfterValidator(http_url)]

JwtSecret = Annotated[SecretStr, AfterValidator(_jwt_secret)]
KeySetFile = Annotated[Path, AfterValidator(_key_set_file)]
FetchUrl = Annotated[str, AfterValidator(_fetch_url)]
IssuerUrl = Annotated[str, AfterValidator(_issuer_url)]
ClaimOfSuperusers = Annotated[str, AfterValidator(_superuser_claim)]
KeyFile = Annotated[Path, AfterValidator(_key_file)]
PasswordFile = Annotated[Path, AfterValidator(_password_file)]
CaFile = Annotated[Path, AfterValidator(_ca_file)]

BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
ClientId = Annotated[str, AfterValidator(_client_id)]
QosNumber = Annotated[Qos, BeforeValidator(_number)]
Uvloop = Annotated[bool, AfterValidator(_uvloop)]

PathList = Annotated[tuple[Path, ...], BeforeValidator(_split_paths)]
JwtSecretFiles = Annotated[PathList, AfterValidator(_jwt_secret_files)]
PublicKeyFiles = Annotated[PathList, AfterValidator(_public_key_files)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
Topics = Annotated[CommaList, AfterValidator(_topics)]
Alpn = Annotated[CommaList, AfterValidator(_alpn)]
Proxies = Annotated[CommaList, AfterValidator(_proxies)]
Origins = Annotated[CommaList, AfterValidator(_origins)]
