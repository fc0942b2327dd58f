"""``hermes check``: test what ``hermes serve`` needs, and report every problem.

Each line begins with ok, info (a parameter of the connection that was tested), warn or FAIL.
"""

import argparse
import asyncio
import contextlib
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from hermes import log
from hermes.appliance.unit_check import Unit, find_unit, main_group, read_unit, unknown_account, unreadable
from hermes.appliance.version import clock_problem
from hermes.auth.api_keys import Caller, Scope
from hermes.auth.key_http import FetchError
from hermes.auth.keys import describe
from hermes.auth.oidc import KeyLocation
from hermes.auth.remote_keys import fetch_keys
from hermes.broker.accounts import FILE_NAME
from hermes.broker.device_listener import DeviceListener
from hermes.broker.mosquitto import find_mosquitto
from hermes.broker.supervisor import CLEAR_TEXT
from hermes.cli.arguments import add_setting_flags, given
from hermes.cli.nats_check import check_nats
from hermes.cli.serve import SOURCES, USAGE, serve_settings, topic_problems
from hermes.cli.site_check import check_site
from hermes.client import HermesClient
from hermes.errors import BrokerUnavailable, ConfigError, HermesError
from hermes.gateway import revocation_file
from hermes.metrics import Metrics
from hermes.mqtt.trial import is_testable, try_connection
from hermes.server import listen
from hermes.settings import private_file
from hermes.settings.fields import http_url, is_loopback, own_url, postgres_name
from hermes.settings.flags import CONFIG, setting_of, settings_of
from hermes.settings.load import environment_warnings
from hermes.settings.model import Settings
from hermes.settings.mqtt import RECEIVE_MAXIMUM
from hermes.settings.rules import warnings
from hermes.settings.tls import own_context
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap

BROKER_TIMEOUT_S = 5.0
EXPIRES_SOON = timedelta(days=30)
LOOPBACK_ONLY = (
    "Hermes will listen on %s only: browsers of other machines cannot connect. Behind a proxy on this machine that is "
    "right; otherwise use --host 0.0.0.0"
)
LOCAL_BROKER = (
    "every program of this machine may publish as any device of any tenant, and read all: the embedded broker listens "
    "on loopback without passwords; --broker-listen 127.0.0.1:8883 gives each device an account"
)
ACL_UNKNOWN = "the broker's ACL may forbid this user to publish there, or to read; with the second, no data will arrive"

EXAMPLES = f"""\
examples:
  hermes check --config /etc/hermes/hermes.toml
  hermes check --mqtt-url mqtts://broker.example --mqtt-ca-file ca.pem --jwt-secret-file jwt-secret
  hermes check --unit hermes.service
  hermes check --settings
  hermes check --config /etc/hermes/hermes.toml --site https://gateway.example/hermes/

It connects to the broker and subscribes, for a few seconds, connects to NATS and to the database of the inbox, and
fetches the keys of identity providers. Exit code 0 if hermes serve would start and work with these settings, 1 if
there are problems, 2 if the settings are invalid.
--settings uses neither the port nor the network, and its exit code is 2 for every problem.

{SOURCES}"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``hermes serve``."""
    parser.usage = USAGE
    parser.add_argument("--settings", action="store_true", help="test settings, files and certificates only")
    parser.add_argument(
        "--unit", metavar="UNIT", help="use environment, flags and user of this systemd unit, as in hermes.service"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="publish a test message of a device hermes-check for each filter: does the broker's ACL let it through?",
    )
    parser.add_argument(
        "--site",
        metavar="URL",
        type=_site,
        help="the address that browsers open: test page and socket, through the proxy",
    )
    add_setting_flags(parser, Settings)


def _site(text: str) -> str:
    try:
        return http_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace) -> int:
    """Print a line for each test."""
    try:
        unit = None if options.unit is None else read_unit(find_unit(options.unit))
    except HermesError as error:
        raise ConfigError([str(error)]) from None
    flags = given(options)
    if unit is not None:
        unit.apply()
        flags = _flags_of(unit) | flags
    settings, file_problems = _settings(flags)
    log.set_up("error", settings.secrets)  # the lines below report problems; only errors of Hermes itself are logged
    if options.settings:
        return 2 if asyncio.run(check(settings, unit=unit, network=False, found=file_problems)) else 0
    return asyncio.run(check(settings, unit=unit, publish=options.publish, site=options.site, found=file_problems))


def _settings(flags: Mapping[str, object]) -> tuple[Settings, list[str]]:
    """Return the settings, and which of their files are not private enough.

    ``hermes serve`` would refuse to start because of these; here they are reported together with all other problems.
    """
    try:
        return serve_settings(flags), []
    except ConfigError as error:
        try:
            settings = serve_settings({**flags, "insecure_secret_files": "true"})
        except ConfigError:  # something else is wrong, too
            raise error from None
        return settings.model_copy(update={"insecure_secret_files": False}), error.problems


async def check(
    settings: Settings,
    *,
    unit: Unit | None = None,
    network: bool = True,
    publish: bool = False,
    site: str | None = None,
    found: Sequence[str] = (),
) -> int:
    """Print a line for each test; return 0 without problems, otherwise 1.

    Without ``network`` neither the port nor the broker is tested. ``publish`` allows to publish test messages. ``site``
    is an address at which browsers open the console. ``found`` are problems that are known already.
    """
    _print("ok", "settings" if unit is None else f"settings of {unit.path}")
    for key in settings.api_keys:
        _print("ok", f"API key {_described(key.caller)}")
    for origin in settings.origins:
        _print("ok", f"pages of {origin} may open sockets: {setting_of(Settings, 'origins').label}")
    problems = [
        *found,
        *_clock_problems(),
        *_topic_problems(settings),
        *_file_problems(settings),
        *_unit_problems(settings, unit),
        *_certificate_problems(settings),
        *_key_problems(settings),
        *_revocation_problems(settings),
    ]
    if network:
        problems += await _fetch_problems(settings)
        problems += [*await _address_problems(settings), *await _broker_problems(settings, publish=publish)]
        problems += await _nats_problems(settings)
        problems += await _inbox_problems(settings)
        problems += [] if site is None else await _site_problems(site)
    if is_loopback(settings.host) and not settings.dev:
        _print("warn", LOOPBACK_ONLY % settings.host)
    for warning in (*warnings(settings), *environment_warnings()):
        _print("warn", warning)
    for problem in problems:
        _print("FAIL", problem)
    match len(problems):
        case 0:
            print("ready to serve" if network else "the settings are valid")
        case 1:
            print("1 problem")
        case count:
            print(f"{count} problems")
    return 1 if problems else 0


def _print(verdict: str, text: str) -> None:
    print(f"{verdict:<8}{text}")


def _clock_problems() -> list[str]:
    problem = clock_problem(time.time())
    return [] if problem is None else [problem]


def _key_problems(settings: Settings) -> Iterator[str]:
    """Yield why keys of secrets and files cannot be used; print those that can."""
    try:
        for source, keys in settings.verification_keys.items():
            if keys:
                _print("ok", f"{len(keys)} keys of {source.value.replace('_', ' ')}, for {describe(keys)}")
    except (OSError, ValueError) as error:  # the file has changed since the settings were read
        yield str(error)


async def _fetch_problems(settings: Settings) -> list[str]:
    return [problem for location in settings.key_locations for problem in await _location_problems(location)]


async def _location_problems(location: KeyLocation) -> list[str]:
    """Return why keys cannot be fetched; print what was fetched."""
    try:
        key_set, _ = await fetch_keys(location)
    except FetchError as error:
        return [str(error)]
    skipped = sum(key_set.skipped.values())
    others = f"; {skipped} others do not verify tokens" if skipped else ""
    _print("ok", f"{location.url}: {len(key_set.keys)} keys, for {describe(key_set.keys)}{others}")
    return []


async def _nats_problems(settings: Settings) -> list[str]:
    """Return why NATS cannot be used; print what was found."""
    problems = []
    async for verdict, text in check_nats(settings):
        if verdict == "FAIL":
            problems.append(text)
        else:
            _print(verdict, text)
    return problems


def _revocation_problems(settings: Settings) -> list[str]:
    file = revocation_file(settings)
    try:
        entries = file.read()
    except ConfigError as error:
        return error.problems
    if entries:
        _print("ok", f"{len(entries):,} revocations in {file.path}")
    return []


def _described(caller: Caller) -> str:
    scopes = "every scope but tap" if caller.is_unrestricted else ", ".join(sorted(caller.scopes))
    return f"{caller.name}: {scopes}" + (
        f"; for tenant {caller.tenant_id} only" if caller.tenant_id is not None else ""
    )


def _topic_problems(settings: Settings) -> list[str]:
    problems = topic_problems(settings)
    if not problems:
        _print("ok", f"topics {', '.join(TopicMap(settings.topics).filters)}")
    return problems


def _file_problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the files of device accounts.

    Those that the settings name were checked with them; print a line for each secret one.
    """
    for setting in settings_of(Settings):
        for path in settings.files(setting.name) if setting.flag.private else ():
            if path.exists() and private_file.problem(path, secret=True) is None:
                _print("ok", f"{path} ({setting.option}) cannot be read by others")
    if settings.device_listener is not None:
        yield from _folder_problems(settings.device_listener.folder)


def _folder_problems(folder: Path) -> Iterator[str]:
    """Yield a problem if others can read password hashes or add accounts."""
    passwords = folder / FILE_NAME
    with contextlib.suppress(OSError):  # the test of the device accounts reports such an error
        if folder.stat().st_mode & stat.S_IWOTH:
            yield f"{folder} can be written by every user of this machine: chmod 700 {folder}"
        if (problem := private_file.problem(passwords, secret=True)) is not None:
            yield problem


def _flags_of(unit: Unit) -> dict[str, object]:
    parser = argparse.ArgumentParser(prog=f"{unit.path}: hermes serve", allow_abbrev=False)
    add_setting_flags(parser, Settings)
    return given(parser.parse_args(unit.flags))


def _unit_problems(settings: Settings, unit: Unit | None) -> Iterator[str]:
    """Yield the files that the user of the unit cannot read.

    systemd reads those of credentials as root.
    """
    if unit is None or unit.user is None:
        return
    if (unknown := unknown_account(unit)) is not None:
        yield unknown
        return
    copied = set(unit.credentials.values())
    for path in (*_files(settings), *_config_files(unit)):
        if path in copied or (blocked := unreadable(path, unit)) is None:
            continue
        group = main_group(unit)
        cure = f"chown root:{group} {path} && chmod 640 {path}"
        if blocked.is_dir():
            cure = f"{blocked} lets only its owner in; move the file, or chmod o+x {blocked}"
        yield f"{path} cannot be read by {unit.user}, the user of the unit: {cure}"


def _config_files(unit: Unit) -> Iterator[Path]:
    """Yield the TOML file of the unit."""
    named = _flags_of(unit).get(CONFIG.name) or unit.environment.get(CONFIG.variable)
    if named and Path(str(named)).is_file():
        yield Path(str(named))


def _files(settings: Settings) -> Iterator[Path]:
    for name in Settings.model_fields:
        yield from (path for path in settings.files(name) if path.is_file())


def _certificate_problems(settings: Settings) -> Iterator[str]:
    """Yield certificates that cannot be used; print a warning for one that ends soon."""
    if settings.external_broker is not None and settings.external_broker.tls:
        try:
            settings.mqtt_options.tls.context()
        except ValueError as error:
            yield str(error)
    for name in ("tls_cert", "mqtt_cert_file", "mqtt_ca_file", "broker_cert_file", "jwks_ca_file", "nats_ca_file"):
        for path in settings.files(name):
            yield from _expiry_problems(path)


def _expiry_problems(path: Path) -> Iterator[str]:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):  # reported by the code that uses the file
        return
    now = datetime.now(UTC)
    for certificate in certificates:
        ends = certificate.not_valid_after_utc
        name = certificate.subject.rfc4514_string() or "a certificate"
        if ends <= now:
            yield f"{path}: {name} has expired on {ends:%Y-%m-%d}; renew it"
        elif ends <= now + EXPIRES_SOON:
            _print("warn", f"{path}: {name} expires on {ends:%Y-%m-%d}")
        else:
            _print("ok", f"{path}: {name} is valid until {ends:%Y-%m-%d}")


async def _address_problems(settings: Settings) -> list[str]:
    problems: list[str] = []
    for address in settings.listen_addresses:
        host, port, tls, flag = address
        try:
            for listening in listen(host, port, flag=flag):
                listening.close()
        except HermesError as error:
            url = own_url(host, port, tls=tls)
            context = own_context(settings.tls_cert) if tls and settings.tls_cert is not None else None
            key = next((key.text for key in settings.api_keys if Scope.STATUS in key.caller.scopes), None)
            client = HermesClient(url, api_key=key, tls=context)
            if "is in use" in str(error) and await client.is_running():
                _print("ok", f"a Hermes is running at {url}; hermes status shows its state")
                await _print_refused_origins(client)
            else:
                problems.append(str(error))
        else:
            _print("ok", f"{host} port {port} is free{' (TLS)' if tls else ''}")
    return problems


async def _print_refused_origins(client: HermesClient) -> None:
    """Print a warning if the running Hermes has refused pages because of their origin."""
    try:
        sockets = (await client.status())["sockets"]
    except HermesError:
        return
    if last := sockets.get("last_refused_origin"):
        count = sockets["origins_refused"]
        _print("warn", f"{count} requests of pages were refused because of their origin, the last: {last['message']}")


async def _site_problems(site: str) -> list[str]:
    findings = [finding async for finding in check_site(site)]
    for verdict, text in findings:
        if verdict == "ok":
            _print(verdict, text)
    return [text for verdict, text in findings if verdict != "ok"]


async def _broker_problems(settings: Settings, *, publish: bool) -> list[str]:
    url = settings.external_broker
    if url is not None:
        return await _external_broker_problems(url, settings, publish=publish)
    if settings.broker_kind == "embedded":
        return [*_embedded_broker_problems(), *_device_problems(settings)]
    _print("ok", "MQTT is off")
    return []


async def _inbox_problems(settings: Settings) -> list[str]:
    """Look at the tables and rights of the inbox's database; change nothing."""
    url = settings.inbox_url
    if url is None:
        return []
    from hermes.inbox.postgres.session import check_database, parameters_of  # it imports an extra

    try:
        await check_database(parameters_of(url, settings.inbox_password))
    except HermesError as error:
        return [f"inbox {postgres_name(url)}: {error}"]
    _print("ok", f"inbox {postgres_name(url)} has the tables of this version, and the role may use them")
    return []


async def _external_broker_problems(url: MqttUrl, settings: Settings, *, publish: bool) -> list[str]:
    for line in _connection_summary(url, settings):
        _print("info", line)
    topics = None if settings.mqtt_on_demand else TopicMap(settings.topics)
    delivered = await try_connection(
        url, options=settings.mqtt_options, topics=topics, timeout_s=BROKER_TIMEOUT_S, publish=publish
    )
    if isinstance(delivered, str):
        return [f"broker {url}: {delivered}"]
    granted = "grants every subscription"
    if settings.mqtt_on_demand:
        granted = "accepts the connection; with --mqtt-on-demand no subscription was tested"
    _print("ok", f"broker {url} {granted}")
    for topic_filter in () if topics is None else topics.filters:
        if topic_filter in delivered:
            _print("ok", f"broker {url} delivers messages of {topic_filter}")
        elif publish and not is_testable(topic_filter):
            _print("info", f"{topic_filter} was not tested: a test message would be one of a real device")
        elif publish:
            _print("warn", f"no test message of {topic_filter} came back: {ACL_UNKNOWN}")
        else:
            _print("info", f"it is unknown whether the broker's ACL delivers messages of {topic_filter}: see --publish")
    return []


def _connection_summary(url: MqttUrl, settings: Settings) -> Iterator[str]:
    """Yield the parameters of the trial connection, given or not."""
    options = settings.mqtt_options
    user = options.username or url.username
    source = settings.mqtt_password_file or ("the URL" if url.password is not None else None)
    password = f"the password of {source}" if source else "no password"
    yield f"user {user}, {password}" if user else "no user, no password"
    if url.tls:
        tls = options.tls
        shown = f"presenting {tls.cert_file} with key {tls.key_file}" if tls.cert_file else "without client certificate"
        alpn = f", ALPN {', '.join(tls.alpn)}" if tls.alpn else ""
        yield f"TLS, trusting {tls.ca_file or 'the CA certificates of the system'}, {shown}{alpn}"
    maximum = options.receive_maximum or RECEIVE_MAXIMUM
    yield f"keepalive {options.keepalive_s} s, QoS {options.qos}, receive maximum {maximum}"
    client_id = options.for_a_trial().client_id
    session = "" if options.clean_start else f"; the persistent session of {options.client_id} is not touched"
    yield f"{f'client id {client_id}' if client_id else 'random client id'}, clean start{session}"


def _embedded_broker_problems() -> list[str]:
    try:
        found = find_mosquitto()
    except BrokerUnavailable as error:
        return [str(error)]
    _print("ok", f"mosquitto {found.version} at {found.path}")
    return []


def _device_problems(settings: Settings) -> Iterator[str]:
    """Yield what prevents devices from connecting; clear text is a warning only."""
    listener = settings.device_listener
    if listener is None:
        _print("info", LOCAL_BROKER)
        return
    try:
        accounts = DeviceListener(listener, topics=settings.topics, metrics=Metrics()).check()
    except BrokerUnavailable as error:
        yield str(error)
    else:
        _print("ok", f"{accounts} device accounts in {listener.folder}; devices connect to {listener}")
    if listener.reveals_passwords:
        _print("warn", CLEAR_TEXT % listener)
