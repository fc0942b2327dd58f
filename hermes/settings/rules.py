"""Rules between settings: which values cannot be combined.

A rule works on validated settings. It is applied if the model has every field that the rule reads and none of them is
invalid, so that problems of single fields and of combinations are reported together.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hermes.settings.cluster.creds_file import read_user_key
from hermes.settings.fields import check_fetch_url, is_loopback, postgres_password
from hermes.settings.flags import FILE, setting_of, settings_of
from hermes.settings.model import (
    NO_KEYS,
    ClientSettings,
    FileSettings,
    InboxSettings,
    Settings,
    SourcedSettings,
    TokenSettings,
)
from hermes.settings.tls import ServerCertificate, TlsOptions
from hermes.topics.isolation import isolation_problems
from hermes.topics.topic_map import TopicMap

TLS_FIELDS = ("mqtt_ca_file", "mqtt_cert_file", "mqtt_key_file", "mqtt_alpn")
CREDENTIAL_FIELDS = ("mqtt_username", "mqtt_password_file")


@dataclass(frozen=True, slots=True)
class Rule:
    """The fields that a rule reads, and a function that yields its problems."""

    reads: tuple[str, ...]
    problems: Callable[[Any], Iterable[str]]


def broken_rules(settings: SourcedSettings, *, invalid: Collection[str]) -> list[str]:
    """Return a line for each problem of these settings.

    A rule that reads an ``invalid`` field is not applied.
    """
    usable = type(settings).model_fields.keys() - set(invalid)
    return [line for rule in RULES if usable.issuperset(rule.reads) for line in rule.problems(settings)]


CONSOLE_SOCKETS = 4  # that one page of the console opens, of one user, from one address
SOCKET_LIMITS = ("max_sockets", "max_sockets_per_user", "max_sockets_per_tenant", "max_sockets_per_address")


def warnings(settings: Settings) -> list[str]:
    """Return a line for each setting that is valid, but hardly what is wanted."""
    names = Settings.model_fields if settings.insecure_secret_files else ()
    insecure = [line for name in names for line in settings.file_problems(name)]
    return [*_console_warnings(settings), *_issuer_warnings(settings), *_nats_warnings(settings), *insecure]


def _nats_warnings(settings: Settings) -> list[str]:
    """Return a line for each NATS server of which the traffic can be read."""
    return [
        f"--nats-url {url}: whoever can read the traffic reads every notification; use tls:// on other networks than "
        "a private one"
        for url in settings.nats_servers
        if not url.tls and not is_loopback(url.host)
    ]


def _issuer_warnings(settings: Settings) -> list[str]:
    """Return a line for each setting that lets tokens of other programs in."""
    found = []
    if settings.oidc_issuer is not None and settings.jwt_audience is None:
        found.append(
            f"--oidc-issuer {settings.oidc_issuer} without --jwt-audience: tokens that it issues for any other "
            "application are valid here too"
        )
    if settings.jwks_insecure:
        found.append("--jwks-insecure: whoever can change the traffic to the issuer can sign tokens")
    return found


def _console_warnings(settings: Settings) -> list[str]:
    given = {name: getattr(settings, name) for name in SOCKET_LIMITS}
    return [
        f"{_option(name)} {limit} is less than the {CONSOLE_SOCKETS} sockets of one console page: Hermes will refuse "
        f"some of them; give {CONSOLE_SOCKETS} or more{'' if name == 'max_sockets' else ', or 0 for no limit'}"
        for name, limit in given.items()
        if limit is not None and 0 < limit < CONSOLE_SOCKETS
    ]


# -- files ------------------------------------------------------------------------------------------------------------


def _files_are_private(name: str, settings: FileSettings) -> Iterator[str]:
    if not settings.insecure_secret_files:
        yield from (f"{line}; or only warn: --insecure-secret-files" for line in settings.file_problems(name))


def _file_names() -> list[str]:
    settings = {each.name: each for model in (Settings, ClientSettings) for each in settings_of(model)}
    return [name for name, setting in settings.items() if setting.flag.metavar == FILE]


# -- who may reach Hermes ---------------------------------------------------------------------------------------------


def _dev_is_local(settings: Settings) -> Iterator[str]:
    if settings.dev and not is_loopback(settings.host):
        yield f"--dev is for this machine only, but --host is {settings.host}; use --host 127.0.0.1 or leave out --dev"


def _reachable_needs_key(settings: Settings) -> Iterator[str]:
    # of all listeners: plain HTTP beside TLS is on loopback
    if settings.api_key_file is None and not settings.dev and not is_loopback(settings.host):
        yield (
            f"--host {settings.host} can be reached from other machines, so /notify needs a key: "
            "write one to a file (umask 077; openssl rand -hex 24 > api-keys) and give --api-key-file api-keys"
        )


def _tls_pair(settings: Settings) -> Iterator[str]:
    if settings.tls_cert is None and settings.tls_key is None:
        return
    if settings.tls_cert is None or settings.tls_key is None:
        given, missing = ("cert", "key") if settings.tls_key is None else ("key", "cert")
        yield f"--tls-{given} needs --tls-{missing}: give both"
        return
    try:
        ServerCertificate(settings.tls_cert, settings.tls_key).context()
    except ValueError as error:
        yield f"--tls-cert and --tls-key: {error}"


def _needs_certificate(name: str, settings: Settings) -> Iterator[str]:
    if getattr(settings, name) and settings.tls_cert is None:
        yield f"{_option(name)} is for TLS: give --tls-cert and --tls-key too, or leave it out"


def _two_ports(settings: Settings) -> Iterator[str]:
    if settings.tls_port and settings.tls_port == settings.port:
        yield f"--tls-port and --port are both {settings.port}: give two ports, or leave out --tls-port for TLS alone"


def _one_secret(settings: TokenSettings) -> Iterator[str]:
    if settings.jwt_secret is not None and settings.jwt_secret_file:
        yield "HERMES_JWT_SECRET and --jwt-secret-file are both given; remove one"


def _needs_keys(settings: Settings) -> Iterator[str]:
    if not settings.dev and not settings.has_keys:
        yield NO_KEYS


def _fetched_over_https(name: str, settings: Settings) -> Iterator[str]:
    url: str | None = getattr(settings, name)
    try:
        if url is not None:
            check_fetch_url(url, insecure=settings.jwks_insecure)
    except ValueError as error:
        yield f"{_option(name)}: {error}"


def _fetch_options_need_url(settings: Settings) -> Iterator[str]:
    if settings.jwks_url is not None or settings.oidc_issuer is not None:
        return
    given = {"--jwks-ca-file": settings.jwks_ca_file is not None, "--jwks-insecure": settings.jwks_insecure}
    for option in (option for option, is_given in given.items() if is_given):
        yield f"{option} is for keys that are fetched: give --oidc-issuer or --jwks-url, or leave it out"


def _login_needs_issuer(settings: Settings) -> Iterator[str]:
    if settings.oidc_client_id is not None and settings.oidc_issuer is None:
        yield "--oidc-client-id is the console's client of an issuer: give --oidc-issuer as well"


# -- the MQTT link ----------------------------------------------------------------------------------------------------


def _needs_tls(name: str, settings: Settings) -> Iterator[str]:
    broker = settings.external_broker
    if getattr(settings, name) and (broker is None or not broker.tls):
        yield f"{_option(name)} is for TLS, which --mqtt-url does not use; write mqtts:// or wss://"


def _needs_external_broker(name: str, settings: Settings) -> Iterator[str]:
    if getattr(settings, name) is not None and settings.external_broker is None:
        yield f"{_option(name)} is for an external broker, but --mqtt-url is {settings.broker_url}; leave it out"


def _one_user(settings: Settings) -> Iterator[str]:
    broker = settings.external_broker
    if settings.mqtt_username is not None and broker is not None and broker.username is not None:
        yield "--mqtt-username and a user in the MQTT URL are both given; remove one"


def _one_password(settings: Settings) -> Iterator[str]:
    broker = settings.external_broker
    if settings.mqtt_password_file is not None and broker is not None and broker.password is not None:
        yield "--mqtt-password-file and a password in the MQTT URL are both given; remove the one in the URL"


def _password_needs_user(settings: Settings) -> Iterator[str]:
    broker = settings.external_broker
    if settings.mqtt_password_file is None or broker is None:
        return
    if settings.mqtt_username is None and broker.username is None:
        yield "--mqtt-password-file needs a user: give --mqtt-username as well"


def _client_certificate(settings: Settings) -> Iterator[str]:
    certificate, key = settings.mqtt_cert_file, settings.mqtt_key_file
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        given, missing = ("cert", "key") if key is None else ("key", "cert")
        yield f"--mqtt-{given}-file needs --mqtt-{missing}-file: give both"
        return
    try:
        TlsOptions(cert_file=certificate, key_file=key).context()
    except ValueError as error:
        yield f"--mqtt-cert-file: {error}"


def _persistent_session(settings: Settings) -> Iterator[str]:  # one of its four settings alone has no effect
    if settings.mqtt_clean_start:
        if settings.mqtt_session_expiry_s:
            yield "--mqtt-session-expiry-s has no effect without --mqtt-clean-start false; give both"
        return
    missing = {
        "--mqtt-session-expiry-s SECONDS; without it the session ends with the connection": (
            not settings.mqtt_session_expiry_s
        ),
        "--mqtt-client-id NAME; without it the broker cannot find the session again": settings.mqtt_client_id is None,
        "--mqtt-qos 1; with QoS 0 the broker stores no messages": settings.mqtt_qos == 0,
    }
    for text in (text for text, lacks in missing.items() if lacks):
        yield f"--mqtt-clean-start false requests a persistent session and needs {text}"


def _on_demand_needs_clean_start(settings: Settings) -> Iterator[str]:
    # a persistent session would retain unused subscriptions, and fill with their messages
    given = {
        "--mqtt-clean-start false": not settings.mqtt_clean_start,
        "--mqtt-session-expiry-s": settings.mqtt_session_expiry_s > 0,
    }
    session = [option for option, is_given in given.items() if is_given]
    if settings.mqtt_on_demand and session:
        yield (
            "--mqtt-on-demand subscribes only to what sockets watch at present, but a persistent session continues "
            f"earlier subscriptions: leave out {' and '.join(session)}, or --mqtt-on-demand"
        )


# -- the inbox --------------------------------------------------------------------------------------------------------


def _inbox_password_needs_url(settings: InboxSettings) -> Iterator[str]:
    if settings.inbox_password_file is None:
        return
    if settings.inbox_url is None:
        yield "--inbox-password-file is for an inbox in a database: give --inbox postgresql://…, or leave it out"
    elif postgres_password(settings.inbox_url) is not None:
        yield "--inbox-password-file and a password in the URL of the inbox are both given; remove the one in the URL"


# -- the embedded broker ----------------------------------------------------------------------------------------------


def _certificate_needs_listener(settings: Settings) -> Iterator[str]:
    if settings.broker_listen is None and (settings.broker_cert_file or settings.broker_key_file):
        yield "--broker-cert-file and --broker-key-file are for --broker-listen ADDRESS:PORT; give that too"


def _listener_needs_embedded_broker(settings: Settings) -> Iterator[str]:
    if settings.broker_listen is not None and settings.broker_url != "embedded":
        yield "--broker-listen is the address of the embedded broker: give --mqtt-url embedded, or leave it out"


def _listener_certificate(settings: Settings) -> Iterator[str]:
    given = (settings.broker_cert_file is not None, settings.broker_key_file is not None)
    if settings.broker_listen is not None and any(given) and not all(given):
        yield "--broker-cert-file and --broker-key-file belong together: give both"


def _listener_confines_devices(settings: Settings) -> Iterator[str]:
    if settings.broker_listen is not None:
        for problem in isolation_problems(TopicMap(settings.topics).templates):
            yield f"--broker-listen: {problem}; or use an external broker (--mqtt-url)"


# -- several nodes ----------------------------------------------------------------------------------------------------


def _needs_nats(name: str, settings: Settings) -> Iterator[str]:
    if getattr(settings, name) is not None and not settings.nats_url:
        yield f"{_option(name)} is for several nodes: give --nats-url too, or leave it out"


def _nats_ca_needs_tls(settings: Settings) -> Iterator[str]:
    if settings.nats_ca_file is not None and settings.nats_url and not settings.nats_servers[0].tls:
        yield "--nats-ca-file is for TLS, which --nats-url does not use; write tls://"


def _one_nats_user(settings: Settings) -> Iterator[str]:
    if settings.nats_creds_file is not None and any(url.has_credentials for url in settings.nats_servers):
        yield "--nats-creds-file and a user or token in the NATS URL are both given; remove one"


def _nats_creds(settings: Settings) -> Iterator[str]:
    if settings.nats_creds_file is None:
        return
    try:
        read_user_key(settings.nats_creds_file, insecure=True)  # another rule checks its mode
    except OSError as error:
        yield f"--nats-creds-file: cannot read {settings.nats_creds_file}: {error.strerror}"
    except ValueError as error:
        yield f"--nats-creds-file: {error}"


def _one_inbox_for_all(settings: Settings) -> Iterator[str]:
    if settings.nats_url and isinstance(settings.inbox, Path):
        yield (
            "--inbox is a file of this node, but with --nats-url all nodes must share one inbox: give "
            "--inbox postgresql://…, or leave it out"
        )


def _option(name: str) -> str:
    return setting_of(Settings, name).option


_URL = ("mqtt_url", "dev")  # what `Settings.broker_url` depends on
_KEYS = ("jwt_secret", "jwt_secret_file", "jwt_public_key_file", "jwks_file", "jwks_url", "oidc_issuer")
_SESSION = ("mqtt_clean_start", "mqtt_session_expiry_s")

RULES = (
    *(Rule((name, "insecure_secret_files"), partial(_files_are_private, name)) for name in _file_names()),
    Rule(("host", "dev"), _dev_is_local),
    Rule(("host", "dev", "api_key_file"), _reachable_needs_key),
    Rule(("tls_cert", "tls_key"), _tls_pair),
    *(Rule((name, "tls_cert"), partial(_needs_certificate, name)) for name in ("tls_port", "hsts_max_age_s")),
    Rule(("port", "tls_port", "tls_cert"), _two_ports),
    Rule(("jwt_secret", "jwt_secret_file"), _one_secret),
    Rule((*_KEYS, "dev"), _needs_keys),
    Rule(("jwks_url", "jwks_insecure"), partial(_fetched_over_https, "jwks_url")),
    Rule(("oidc_issuer", "jwks_insecure"), partial(_fetched_over_https, "oidc_issuer")),
    Rule(("jwks_url", "oidc_issuer", "jwks_ca_file", "jwks_insecure"), _fetch_options_need_url),
    Rule(("oidc_client_id", "oidc_issuer"), _login_needs_issuer),
    *(Rule((*_URL, name), partial(_needs_tls, name)) for name in TLS_FIELDS),
    *(Rule((*_URL, name), partial(_needs_external_broker, name)) for name in CREDENTIAL_FIELDS),
    Rule((*_URL, "mqtt_username"), _one_user),
    Rule((*_URL, "mqtt_password_file"), _one_password),
    Rule((*_URL, "mqtt_username", "mqtt_password_file"), _password_needs_user),
    Rule(("mqtt_cert_file", "mqtt_key_file"), _client_certificate),
    Rule((*_SESSION, "mqtt_client_id", "mqtt_qos"), _persistent_session),
    Rule((*_SESSION, "mqtt_on_demand"), _on_demand_needs_clean_start),
    Rule(("inbox", "inbox_password_file"), _inbox_password_needs_url),
    Rule(("broker_listen", "broker_cert_file", "broker_key_file"), _certificate_needs_listener),
    Rule((*_URL, "broker_listen"), _listener_needs_embedded_broker),
    Rule(("broker_listen", "broker_cert_file", "broker_key_file"), _listener_certificate),
    Rule(("broker_listen", "topics"), _listener_confines_devices),
    *(Rule(("nats_url", name), partial(_needs_nats, name)) for name in ("nats_creds_file", "nats_ca_file")),
    Rule(("nats_url", "nats_ca_file"), _nats_ca_needs_tls),
    Rule(("nats_url", "nats_creds_file"), _one_nats_user),
    Rule(("nats_creds_file",), _nats_creds),
    Rule(("nats_url", "inbox"), _one_inbox_for_all),
)
