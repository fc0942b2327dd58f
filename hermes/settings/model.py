"""The settings: built once, validated whole, passed by constructor.

`hermes.settings.load` merges flags, environment (``HERMES_…``) and the TOML file; pydantic reads the strings.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from hermes.auth.tokens import TokenSigner
from hermes.errors import ConfigError
from hermes.settings import fields, rules
from hermes.settings.broker import BrokerListen, listen_text, parse_listen
from hermes.settings.fields import (
    DEFAULT_MQTT_URL,
    DEFAULT_TOPICS,
    CaFile,
    CommaList,
    KeyFile,
    PasswordFile,
    Secret,
    SecretFile,
    Topics,
    key_lines,
    secret_text,
)
from hermes.settings.folders import broker_folder
from hermes.settings.mqtt import KEEPALIVE_S, MqttOptions, Qos
from hermes.settings.mqtt_url import parse_mqtt_url
from hermes.settings.rules import NO_SECRET
from hermes.settings.tls import TlsOptions

ENVIRONMENT_PREFIX = "HERMES_"

DEFAULT_PORT = 8080


class Faults(Exception):
    """Carries the fault lines past pydantic, which would wrap a ValueError."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class SourcedSettings(BaseSettings):
    """Settings whose faults, of one field or of several together, are all told at once."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    @classmethod
    def cross_faults(cls, given: Mapping[str, Any]) -> list[str]:
        """What no field can know alone, judged from the values as they were given."""
        return []

    @model_validator(mode="wrap")
    @classmethod
    def _all_faults(cls, given: dict[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        faults = cls.cross_faults(given)
        try:
            settings = handler(given)
        except ValidationError as error:
            raise Faults(faults + _explain(error)) from None
        if faults:
            raise Faults(faults)
        return settings


class TokenSettings(SourcedSettings):
    """How tokens are signed and read: what both ``hermes serve`` and ``hermes token`` need."""

    jwt_secret: Secret | None = None
    jwt_secret_file: SecretFile | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    claim_tenant: Annotated[str, Field(min_length=1)] = "tenant_id"

    @property
    def secret(self) -> str | None:
        """The signing secret, from wherever it was given; None where it was not."""
        if self.jwt_secret is not None:
            return self.jwt_secret.get_secret_value()
        return None if self.jwt_secret_file is None else secret_text(self.jwt_secret_file)

    @property
    def token_signer(self) -> TokenSigner:
        """Signs tokens by these settings; raises `ConfigError` without a secret."""
        if self.secret is None:
            raise ConfigError([NO_SECRET])
        return TokenSigner(
            secret=self.secret,
            claim_tenant=self.claim_tenant,
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
        )

    @classmethod
    def cross_faults(cls, given: Mapping[str, Any]) -> list[str]:
        """A secret comes from one place."""
        if given.get("jwt_secret") is not None and given.get("jwt_secret_file") is not None:
            return ["HERMES_JWT_SECRET and --jwt-secret-file are both given; keep one"]
        return []


class DeviceSettings(SourcedSettings):
    """What ``hermes device`` needs: where the accounts are."""

    broker_state_dir: Annotated[Path, AfterValidator(fields.absolute)] | None = None

    @property
    def folder(self) -> Path:
        """The folder of the accounts."""
        return self.broker_state_dir or broker_folder()


class TopicSettings(SourcedSettings):
    """What ``hermes topics`` needs: how topics are mapped."""

    topics: Topics = DEFAULT_TOPICS


class ClientSettings(SourcedSettings):
    """What ``hermes notify`` and ``hermes listen`` need to reach a running Hermes."""

    api_url: Annotated[str, AfterValidator(fields.http_url)] = f"http://127.0.0.1:{DEFAULT_PORT}"
    token: SecretStr | None = None
    token_file: Annotated[Path, AfterValidator(fields.readable)] | None = None
    api_key_file: KeyFile | None = None

    @property
    def bearer(self) -> str | None:
        """The token to open sockets with; None where none was given."""
        if self.token_file is None and self.token is None:
            return None
        text = secret_text(self.token_file) if self.token_file else self.token.get_secret_value() if self.token else ""
        if re.fullmatch(r"[\w.~+/=-]+", text.strip(), re.ASCII) is None:
            raise ConfigError(["the token of --token-file or HERMES_TOKEN is no JWT: look for stray characters"])
        return text.strip()

    @property
    def api_key(self) -> str | None:
        """The first key of the key file; None without a file."""
        return None if self.api_key_file is None else key_lines(self.api_key_file)[0]


class Settings(TokenSettings):
    """Everything ``hermes serve`` can be told."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = DEFAULT_PORT
    api_key_file: KeyFile | None = None
    mqtt_url: Annotated[str, AfterValidator(fields.mqtt_url)] | None = Field(None, repr=False)
    mqtt_username: Annotated[str, Field(min_length=1)] | None = None
    mqtt_password_file: PasswordFile | None = None
    mqtt_ca_file: CaFile | None = None
    mqtt_cert_file: Path | None = None
    mqtt_key_file: Path | None = None
    mqtt_alpn: Annotated[CommaList, AfterValidator(fields.alpn)] = ()
    mqtt_client_id: Annotated[str, AfterValidator(fields.client_id)] | None = None
    mqtt_keepalive_s: Annotated[int, Field(ge=1, le=65_535)] = KEEPALIVE_S
    mqtt_clean_start: bool = True
    mqtt_session_expiry_s: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    mqtt_receive_maximum: Annotated[int, Field(ge=1, le=65_535)] | None = None
    mqtt_on_demand: bool = False
    mqtt_linger_s: Annotated[float, Field(ge=0, le=86_400)] = 30
    mqtt_qos: Annotated[Qos, BeforeValidator(fields.number)] = 0
    broker_listen: Annotated[str, AfterValidator(listen_text)] | None = None
    broker_cert_file: Path | None = None
    broker_key_file: Path | None = None
    broker_state_dir: Annotated[Path, AfterValidator(fields.absolute)] | None = None
    topics: Topics = DEFAULT_TOPICS
    origins: Annotated[CommaList, AfterValidator(lambda values: tuple(map(fields.origin, values)))] = ()
    ping_interval_s: Annotated[float, Field(ge=1, le=3_600)] = 25
    ping_timeout_s: Annotated[float, Field(ge=1, le=3_600)] = 20
    drain_timeout_s: Annotated[float, Field(ge=0, le=600)] = 10
    outbox_max_bytes: Annotated[int, Field(ge=65_536)] = 1_048_576
    outbox_max_messages: Annotated[int, Field(ge=1)] = 1_000
    snapshot_max_values: Annotated[int, Field(ge=1)] = 100_000
    snapshot_max_bytes: Annotated[int, Field(ge=1_048_576)] = 134_217_728
    snapshot_max_age_s: Annotated[float, Field(ge=1)] = 604_800
    max_sockets: Annotated[int, Field(ge=1)] | None = None
    compress: bool = True
    uvloop: Annotated[bool, AfterValidator(fields.uvloop)] = False
    dev: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def broker_url(self) -> str:
        """Where devices' data comes from: an ``mqtt://`` or ``mqtts://`` URL, ``embedded`` or ``off``."""
        return self.mqtt_url or ("embedded" if self.dev else DEFAULT_MQTT_URL)

    @property
    def broker_kind(self) -> Literal["embedded", "external", "off"]:
        """Whether the broker is Hermes' own, another one, or MQTT is off."""
        match self.broker_url:
            case "embedded" | "off" as kind:
                return kind
            case _:
                return "external"

    @property
    def broker_name(self) -> str:
        """The same, to be shown: without its password."""
        own = self.broker_url in fields.NO_BROKER_URLS
        return self.broker_url if own else str(parse_mqtt_url(self.broker_url))

    @property
    def device_listener(self) -> BrokerListen | None:
        """Where devices find the embedded broker; None where it is Hermes' alone."""
        if self.broker_listen is None:
            return None
        folder = self.broker_state_dir or broker_folder()
        return BrokerListen(*parse_listen(self.broker_listen), folder, self.broker_cert_file, self.broker_key_file)

    @property
    def mqtt_options(self) -> MqttOptions:
        """How to present oneself to the broker."""
        return MqttOptions(
            username=self.mqtt_username,
            password=None if self.mqtt_password_file is None else secret_text(self.mqtt_password_file),
            tls=TlsOptions(self.mqtt_ca_file, self.mqtt_cert_file, self.mqtt_key_file, self.mqtt_alpn),
            client_id=self.mqtt_client_id,
            keepalive_s=self.mqtt_keepalive_s,
            clean_start=self.mqtt_clean_start,
            session_expiry_s=self.mqtt_session_expiry_s,
            receive_maximum=self.mqtt_receive_maximum,
            qos=self.mqtt_qos,
        )

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys that may call ``/notify``; none means loopback callers only."""
        return () if self.api_key_file is None else key_lines(self.api_key_file)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may show, in every form in which it was given."""
        shown = self.broker_url.rpartition("@")[0].partition("://")[2].partition(":")[2]  # as the URL has it, escaped
        found = (self.secret, *self.api_keys, self.mqtt_options.password, shown, unquote(shown))
        return tuple(text for text in found if text)

    @classmethod
    def cross_faults(cls, given: Mapping[str, Any]) -> list[str]:
        """Listening beyond this machine needs a key; only ``--dev`` can do without a secret; and more of the kind."""
        return super().cross_faults(given) + rules.cross_faults(given)


def variable(name: str) -> str:
    """Return the name of the environment variable for a setting."""
    return f"{ENVIRONMENT_PREFIX}{name.upper()}"


def _flag(name: str) -> str:
    """The flag and variable that a field is known by, to name it in a fault."""
    flag = {"topics": "topic", "origins": "origin", "api_url": "url"}.get(name, name).replace("_", "-")
    if name in ("jwt_secret", "token"):
        return variable(name)
    return f"--{flag} ({variable(name)})"


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        text = fault["msg"].removeprefix("Value error, ")
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown key {name!r} in the configuration file")
        else:
            lines.append(f"{_flag(name)}: {text}" if name else text)
    return lines
