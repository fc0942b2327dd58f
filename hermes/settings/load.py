"""Load the settings from flags, environment and TOML file.

Flags override the environment (``HERMES_…``), which overrides the TOML file, which overrides the defaults. A TOML key
is the variable's name without ``HERMES_``, in lower case.
"""

import contextlib
import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hermes.errors import ConfigError
from hermes.settings import private_file
from hermes.settings.fields import TEXT, own_url, postgres_password
from hermes.settings.flags import CONFIG, ENVIRONMENT_PREFIX, setting_of, settings_of
from hermes.settings.folders import SERVICE_CONFIG
from hermes.settings.model import (
    DEFAULT_PORT,
    PLAIN_HOST,
    ClientSettings,
    DeviceSettings,
    FileSettings,
    Settings,
    SourcedSettings,
)
from hermes.settings.rules import broken_rules

S = TypeVar("S", bound=SourcedSettings)

PORT_VARIABLE = f"{ENVIRONMENT_PREFIX}PORT"
NEAREST_LEAST = 0.75  # as similar as two names must be for a hint: HERMES_APIKEY_FILE and HERMES_API_KEY_FILE are
# What Kubernetes sets for a Service called hermes (its documentation, "Discovering services")
SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
SERVICE_VARIABLE = re.compile(r"HERMES_(?:SERVICE_(?:HOST|PORT)|PORT_\d+_(?:TCP|UDP|SCTP))(?:_\w+)?")

PASSWORD_IN_URL = re.compile(r"\w+://[^@]*:.*@")
USER_IN_URL = re.compile(r"\w+://[^/,]*@")  # of NATS: a user alone is a token
SECRET_KEYS = frozenset(  # of the TOML file: secrets themselves, not the names of their files
    setting.name for model in (Settings, ClientSettings) for setting in settings_of(model) if setting.flag.secret
)
NOT_TEXT = "must be UTF-8 text without NUL characters"


def load_settings(values: Mapping[str, object]) -> Settings:
    """Return the settings of a gateway.

    ``values`` maps names of settings (the keys of the TOML file) to Python values or to their texts; None means "not
    given". They override the environment, which overrides the TOML file that ``config`` or ``HERMES_CONFIG`` names:
    the same order as for flags. Raises `ConfigError` with every problem at once.

    >>> settings = load_settings({"port": 0, "mqtt_url": "off", "jwt_secret": "0123456789abcdef" * 2})
    >>> settings.host, settings.port
    ('127.0.0.1', 0)
    """
    return _load(Settings, values, problems=[])


def load(model: type[S], flags: Mapping[str, object]) -> S:
    """Return the settings of a command.

    As `load_settings`, for any model, and with the rule that no flag contains a password. A command that needs only
    some settings ignores the other keys of the file.
    """
    return _load(model, flags, problems=_visible_password(flags))


def load_file(path: Path) -> Settings:
    """Return the settings of a TOML file alone, as a service has them.

    Raises `ConfigError`.
    """
    return _load(Settings, {CONFIG.name: str(path)}, problems=[], with_environment=False)


def load_client(
    flags: Mapping[str, object], service_config: Path = SERVICE_CONFIG, *, with_key: bool = True
) -> ClientSettings:
    """Return the settings of a command for a running Hermes.

    Without ``--config`` and without a URL the file of the service on this machine is used, if there is one that can be
    read. Without a URL, it is the address of that file, or of ``HERMES_HOST`` and ``HERMES_PORT``.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    elsewhere = "api_url" in given or setting_of(ClientSettings, "api_url").variable in os.environ
    named = CONFIG.name in given or CONFIG.variable in os.environ
    if not named and not elsewhere and os.access(service_config, os.R_OK):  # the key is for this machine's Hermes alone
        given[CONFIG.name] = str(service_config)
    without = () if with_key else ("api_key_file",)  # which a plain user cannot read
    settings = _load(ClientSettings, given, problems=_visible_password(flags), without=without)
    if "api_url" in settings.model_fields_set:
        return settings
    file = _read_toml(given.get(CONFIG.name) or os.environ.get(CONFIG.variable))

    def value(name: str, default: object = "") -> str:
        return os.environ.get(setting_of(Settings, name).variable) or str(file.get(name, default))

    host, port, certificate = value("host", PLAIN_HOST), value("port", DEFAULT_PORT), value("tls_cert")
    if certificate and value("tls_port"):
        return settings.with_own(own_url(PLAIN_HOST, port), None)
    own = Path(certificate) if certificate else None
    return settings.with_own(own_url(host, port, tls=own is not None), own)


def _load(
    model: type[S],
    values: Mapping[str, object],
    *,
    problems: list[str],
    without: Collection[str] = (),
    with_environment: bool = True,
) -> S:
    given = {name: value for name, value in values.items() if value is not None}
    config = given.pop(CONFIG.name, None) or os.environ.get(CONFIG.variable)
    try:
        file = _read_toml(config)
    except ConfigError as error:
        raise ConfigError(problems + error.problems) from None
    if model is Settings:
        known = model.model_fields
        problems += [
            f"unknown key {name!r} in the configuration file{_nearest(name, known)}" for name in _unknown(model, file)
        ]
        problems += [f"unknown setting {name!r}" for name in _unknown(model, given)]
    environment, both = _environment(model) if with_environment else ({}, [])
    problems += both
    merged = file | environment | given
    names = [name for name in model.model_fields if name in merged and name not in without]
    settings, found = _validate(model, {name: merged[name] for name in names})
    found += _config_problems(config, file, settings)
    if problems + found:
        raise ConfigError(problems + found)
    return settings


def environment_warnings(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return a line for each ``HERMES_`` variable that has no effect.

    The variables that Kubernetes sets for a Service called ``hermes`` are passed over in silence, but for
    ``HERMES_PORT``, which has the name of a setting.
    """
    models = (Settings, ClientSettings, DeviceSettings)
    known = {CONFIG.variable}
    for setting in (each for model in models for each in settings_of(model)):
        known |= {setting.variable, setting.singular_variable or setting.variable}
    found = []
    for name, value in sorted(environ.items()):
        upper = name.upper()
        if upper == PORT_VARIABLE and SERVICE_ADDRESS.match(value):
            found.append(f"{name}={value} is ignored: Kubernetes sets it for a Service called hermes; use --port")
        elif upper.startswith(ENVIRONMENT_PREFIX) and upper not in known and not SERVICE_VARIABLE.fullmatch(upper):
            found.append(f"{name} is not a setting and has no effect{_nearest(upper, known)}")
    return found


def _environment(model: type[SourcedSettings]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of the environment, and a problem for each under two names.

    A variable without a text is not given; the case of its name has no meaning.
    """
    texts = {name.upper(): text for name, text in os.environ.items() if text}
    values = {each.name: texts[each.variable] for each in settings_of(model) if each.variable in texts}
    if SERVICE_ADDRESS.match(str(values.get("port", ""))):
        del values["port"]
    problems = []
    for setting in settings_of(model):
        singular = setting.singular_variable
        if singular is None or singular == setting.variable or not os.environ.get(singular):
            continue
        if os.environ.get(setting.variable):
            problems.append(f"{singular} and {setting.variable} are both given; remove one")
        values[setting.name] = os.environ[singular]
    return values, problems


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=NEAREST_LEAST)
    return f"; did you mean {near[0]}?" if near else ""


def _visible_password(flags: Mapping[str, object]) -> list[str]:
    """Return a problem for each URL with a password or a token, which `ps` shows."""
    found = []
    if PASSWORD_IN_URL.match(str(flags.get("mqtt_url", ""))):
        found.append("--mqtt-url: a password on the command line is visible in ps; set HERMES_MQTT_URL instead")
    if _has_user(flags.get("nats_url")):
        found.append(
            "--nats-url: a password or token on the command line is visible in ps; set HERMES_NATS_URL instead, or "
            "use --nats-creds-file"
        )
    if postgres_password(str(flags.get("inbox", ""))) is not None:
        found.append(
            "--inbox: a password on the command line is visible in ps; give --inbox-password-file, or set HERMES_INBOX "
            "instead"
        )
    return found


def _has_user(urls: object) -> bool:
    """Return whether one of these URLs of NATS has a user or a token."""
    parts = urls if isinstance(urls, list | tuple) else [urls]
    return any(USER_IN_URL.search(str(part)) for part in parts)


def _read_toml(path: object) -> dict[str, Any]:
    if not path:
        return {}
    if not _is_text(path):
        raise ConfigError([f"{CONFIG.option}: {NOT_TEXT}"])
    try:
        return tomllib.loads(Path(str(path)).read_text(TEXT))
    except OSError as error:
        raise ConfigError([f"{CONFIG.option}: cannot read {path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{CONFIG.option}: {path} is not TOML: {error}"]) from None


def _config_problems(path: object, file: Mapping[str, Any], settings: SourcedSettings) -> list[str]:
    """Return a problem if others may write the TOML file, or read secrets in it."""
    if not path or not isinstance(settings, FileSettings) or settings.insecure_secret_files:
        return []
    in_url = (
        PASSWORD_IN_URL.match(str(file.get("mqtt_url", "")))
        or _has_user(file.get("nats_url"))
        or postgres_password(str(file.get("inbox", ""))) is not None
    )
    has_secret = any(name in file for name in SECRET_KEYS) or in_url
    with contextlib.suppress(OSError):
        found = private_file.problem(Path(str(path)), secret=bool(has_secret))
        return [] if found is None else [f"{CONFIG.option}: {found}; or only warn: --insecure-secret-files"]
    return []


def _unknown(model: type[SourcedSettings], values: Mapping[str, object]) -> list[str]:
    return [name for name in values if name not in model.model_fields]


def _validate(model: type[S], values: Mapping[str, Any]) -> tuple[S, list[str]]:
    """Validate field by field, then apply the rules to the valid values.

    Returns the settings, with the default in place of each invalid value, and a line for each problem.
    """
    unreadable = {name for name, value in values.items() if not _is_text(value)}
    found = [f"{setting_of(model, name).label}: {NOT_TEXT}" for name in values if name in unreadable]
    readable = {name: value for name, value in values.items() if name not in unreadable}
    try:
        settings, errors = model(**readable), []
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    invalid = {str(error["loc"][0]) for error in errors}
    if invalid:
        settings = model(**{name: value for name, value in readable.items() if name not in invalid})
    found += [_explain(model, error) for error in errors]
    return settings, found + broken_rules(settings, invalid=invalid | unreadable)


def _is_text(value: object) -> bool:
    """Return whether no part of a value has lone surrogates or NUL characters.

    pydantic cannot report the former: the operating system's texts have them for bytes that are not UTF-8.
    """
    if isinstance(value, list | tuple):
        return all(map(_is_text, value))
    if not isinstance(value, str | Path):
        return True
    try:
        return b"\0" not in str(value).encode()
    except UnicodeEncodeError:
        return False


def _explain(model: type[SourcedSettings], error: ErrorDetails) -> str:
    return f"{setting_of(model, str(error['loc'][0])).label}: {error['msg'].removeprefix('Value error, ')}"
