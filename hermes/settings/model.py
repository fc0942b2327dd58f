"""The settings of each command, as frozen models.

Each field is validated by itself. `hermes.settings.load` merges the sources and applies the rules between fields.
"""

import contextlib
import ssl
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import unquote

from pydantic import Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hermes.auth.api_keys import ApiKey, Scope
from hermes.auth.claims import ClaimNames, SuperuserClaim, TokenRules
from hermes.auth.keys import Source, VerificationKey, secret_key
from hermes.auth.oidc import KeyLocation
from hermes.auth.tokens import TokenSigner
from hermes.errors import ConfigError
from hermes.settings import fields, private_file
from hermes.settings.broker import BrokerListen, parse_listen
from hermes.settings.cluster.fields import NatsUrls, NodeName, host_node_name
from hermes.settings.fields import api_keys_of, secret_text, token_text
from hermes.settings.flags import FILE, Flag, Group, setting_of
from hermes.settings.folders import INBOX_NAME, broker_folder, serving_folder
from hermes.settings.mqtt import KEEPALIVE_S, RECEIVE_MAXIMUM, MqttOptions
from hermes.settings.tls import ServerCertificate, TlsOptions, own_context
from hermes.settings.urls.mqtt import MqttUrl, parse_mqtt_url
from hermes.settings.urls.nats import NatsUrl, parse_nats_url, secrets_of

DEFAULT_PORT = 8080
PLAIN_HOST = "127.0.0.1"  # of plain HTTP beside TLS
DEFAULT_MQTT_URL = "mqtt://127.0.0.1:1883"
TRUE_FALSE = "true|false"

NO_SECRET = (
    "no JWT secret: write one to a file (umask 077; openssl rand -hex 32 > jwt-secret) and give "
    "--jwt-secret-file jwt-secret, set HERMES_JWT_SECRET, or try Hermes with --dev"
)
NO_KEYS = f"{NO_SECRET}; or use the keys of an identity provider: --oidc-issuer"


class SourcedSettings(BaseSettings):
    """Settings that `hermes.settings.load` collects from several sources.

    The constructor validates each field and reads no environment variable.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the constructor's arguments."""
        return (init_settings,)


class FileSettings(SourcedSettings):
    """How the files are checked that other settings name."""

    insecure_secret_files: Annotated[bool, Flag(Group.GENERAL, switch=True)] = Field(
        False, description="only warn of secret files that other users of this machine can read or write"
    )

    def file_problems(self, name: str) -> list[str]:
        """Return a line for each file of a setting that is not private enough.

        Others may write it, or read it although it is secret.
        """
        found = []
        for path in self.files(name):
            with contextlib.suppress(OSError):  # the code that reads it reports that
                found.append(private_file.problem(path, secret=setting_of(type(self), name).flag.private))
        return [line for line in found if line is not None]

    def files(self, name: str) -> tuple[Path, ...]:
        """Return the files that a setting names; none of a setting that names a folder."""
        if setting_of(type(self), name).flag.metavar != FILE:
            return ()
        value = getattr(self, name)
        return tuple(each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Path))


class TokenSettings(FileSettings):
    """How tokens are signed, and the names of their claims."""

    jwt_secret_file: Annotated[fields.JwtSecretFiles, Flag(Group.TOKENS, "FILE", repeatable=True, private=True)] = (
        Field(
            (),
            description="file with a secret for HS256, at least 32 bytes (HS384 needs 48, HS512 64); one trailing "
            "newline is ignored. The first one signs (`hermes token`), all verify. Or use the variable "
            "`HERMES_JWT_SECRET`",
        )
    )
    jwt_secret: Annotated[fields.JwtSecret | None, Flag(Group.TOKENS, secret=True)] = Field(
        None, description="the secret itself, instead of the file"
    )
    jwt_issuer: Annotated[str | None, Flag(Group.TOKENS, "TEXT", default="not checked")] = Field(
        None,
        description="the `iss` claim that tokens must have, except those verified by the keys of `--oidc-issuer`",
    )
    jwt_audience: Annotated[str | None, Flag(Group.TOKENS, "TEXT", default="not checked")] = Field(
        None, description="the `aud` claim that tokens must have; `azp` counts for a token without `aud`"
    )
    claim_user: Annotated[str, Flag(Group.TOKENS, "NAME")] = Field(
        "user_id",
        min_length=1,
        description="name of the claim that contains the user id: a whole name, or a path of names with dots",
    )
    claim_name: Annotated[str, Flag(Group.TOKENS, "NAME")] = Field(
        "username",
        min_length=1,
        description="name of the claim that contains the user's name; if one of these two is renamed, it may be absent",
    )
    claim_tenant: Annotated[str, Flag(Group.TOKENS, "NAME")] = Field(
        "tenant_id", min_length=1, description="name of the claim that contains the tenant"
    )
    claim_superuser: Annotated[fields.ClaimOfSuperusers, Flag(Group.TOKENS, "NAME[=VALUE]")] = Field(
        "is_superuser",
        description="claim of superusers: `NAME` that is JSON `true`, or `NAME=VALUE`, a text equal to the value or a "
        "list with it, as in `realm_access.roles=hermes-admin`",
    )

    @property
    def secret(self) -> str | None:
        """The signing secret, from its variable or the first of its files."""
        return next(iter(self.token_secrets), None)

    @property
    def token_secrets(self) -> tuple[str, ...]:
        """All secrets; the first one signs."""
        if self.jwt_secret is not None:
            return (self.jwt_secret.get_secret_value(),)
        return tuple(map(secret_text, self.jwt_secret_file))

    @property
    def claim_names(self) -> ClaimNames:
        """The names of the claims that Hermes reads."""
        superuser = SuperuserClaim.parse(self.claim_superuser)
        return ClaimNames(self.claim_user, self.claim_name, self.claim_tenant, superuser)

    @property
    def token_signer(self) -> TokenSigner:
        """The signer of tokens by these settings.

        Raises `ConfigError` without a secret.
        """
        if self.secret is None:
            raise ConfigError([NO_SECRET])
        return TokenSigner(
            secret=self.secret,
            names=self.claim_names,
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
        )


class KeySettings(TokenSettings):
    """Which keys verify tokens, and what else a valid token needs."""

    jwt_public_key_file: Annotated[fields.PublicKeyFiles, Flag(Group.TOKENS, "FILE", repeatable=True)] = Field(
        (),
        description="file with public keys that verify tokens, PEM: RSA from 2,048 bits (RS256 … PS512), EC P-256, "
        "P-384, P-521 (ES256, ES384, ES512), Ed25519 (EdDSA)",
    )
    jwt_leeway_s: Annotated[float, Flag(Group.TOKENS, "SECONDS")] = Field(
        0,
        ge=0,
        le=3_600,
        description="seconds by which the clocks of Hermes and of the issuer may differ: added to `exp` and taken "
        "from `nbf`",
    )
    jwt_max_age_s: Annotated[float | None, Flag(Group.TOKENS, "SECONDS", default="no limit")] = Field(
        None,
        ge=1,
        le=315_360_000,
        description="seconds after its `iat` for which a token is valid; one without `iat` is then refused",
    )
    jwt_require_exp: Annotated[bool, Flag(Group.TOKENS, switch=True)] = Field(
        False, description="refuse tokens without `exp`"
    )
    oidc_issuer: Annotated[fields.IssuerUrl | None, Flag(Group.ISSUERS, "URL")] = Field(
        None,
        description="OpenID Connect issuer, for example `https://sso.example.org/realms/site`: its discovery document "
        "names the keys, and tokens verified by them must have exactly this `iss`",
    )
    oidc_client_id: Annotated[fields.NonEmpty | None, Flag(Group.ISSUERS, "ID")] = Field(
        None, description="public client of that issuer with which users sign in to the console"
    )
    oidc_scope: Annotated[fields.NonEmpty, Flag(Group.ISSUERS, "TEXT")] = Field(
        "openid",
        description="scopes that the console asks for; Entra ID needs one of Hermes' own, `openid api://hermes/.default`",
    )
    jwks_url: Annotated[fields.FetchUrl | None, Flag(Group.ISSUERS, "URL")] = Field(
        None, description="URL of a JSON Web Key Set with public keys that verify tokens, fetched every hour"
    )
    jwks_file: Annotated[fields.KeySetFile | None, Flag(Group.ISSUERS, "FILE")] = Field(
        None, description="file with a JSON Web Key Set"
    )
    jwks_ca_file: Annotated[fields.CaFile | None, Flag(Group.ISSUERS, "FILE", default="those of the system")] = Field(
        None, description="CA certificates to trust, PEM, for `--oidc-issuer` and `--jwks-url`"
    )
    jwks_insecure: Annotated[bool, Flag(Group.ISSUERS, switch=True)] = Field(
        False,
        description="fetch keys over `http` from other machines too: whoever can change the traffic can then sign "
        "tokens",
    )
    jwks_max_stale_s: Annotated[float, Flag(Group.ISSUERS, "SECONDS")] = Field(
        86_400,
        ge=60,
        le=31_536_000,
        description="seconds without a good answer after which the fetched keys open no new socket; open sockets "
        "stay open",
    )

    @property
    def has_keys(self) -> bool:
        """Whether there is anything that verifies tokens."""
        given = (self.jwt_secret, self.jwt_secret_file, self.jwt_public_key_file, self.jwks_file)
        return any((*given, self.jwks_url, self.oidc_issuer))

    @property
    def verification_keys(self) -> dict[Source, tuple[VerificationKey, ...]]:
        """The keys of the secrets and the files, by source.

        Raises OSError, and ValueError that names a file.
        """
        issuer = self.jwt_issuer
        public = [key for path in self.jwt_public_key_file for key in fields.public_keys_of_file(path, issuer=issuer)]
        return {
            Source.SECRET: tuple(secret_key(text, issuer=issuer) for text in self.token_secrets),
            Source.PUBLIC_KEY: tuple(public),
            Source.JWKS_FILE: fields.key_set_of_file(self.jwks_file, issuer=issuer).keys if self.jwks_file else (),
        }

    @property
    def token_rules(self) -> TokenRules:
        """What the claims of a valid token are."""
        return TokenRules(
            names=self.claim_names,
            audience=self.jwt_audience,
            leeway_s=self.jwt_leeway_s,
            max_age_s=self.jwt_max_age_s,
            require_exp=self.jwt_require_exp,
        )

    @property
    def key_locations(self) -> tuple[KeyLocation, ...]:
        """Where the keys of identity providers are fetched."""
        tls = TlsOptions(ca_file=self.jwks_ca_file)
        check_url = partial(fields.check_fetch_url, insecure=self.jwks_insecure)
        places = ((Source.JWKS_URL, self.jwks_url, self.jwt_issuer), (Source.OIDC, self.oidc_issuer, self.oidc_issuer))
        return tuple(
            KeyLocation(source, url, issuer, check_url, tls.context)
            for source, url, issuer in places
            if url is not None
        )


class DeviceSettings(SourcedSettings):
    """Where ``hermes device`` finds the device accounts."""

    broker_state_dir: Annotated[
        fields.AbsolutePath | None,
        Flag(
            Group.BROKER,
            "DIR",
            default="`broker` in `$STATE_DIRECTORY`, else in `$XDG_STATE_HOME/hermes` or `~/.local/state/hermes`",
        ),
    ] = Field(None, description="folder of the device accounts")

    @property
    def accounts_folder(self) -> Path:
        """The folder of the device accounts."""
        return self.broker_state_dir or broker_folder()


class TopicSettings(SourcedSettings):
    """How MQTT topics are mapped to tenants, devices and series."""

    topics: Annotated[fields.Topics, Flag(Group.TOPICS, "TEMPLATE", name="topic", repeatable=True)] = Field(
        ("hermes",), description="topic template or name of a preset"
    )


class InboxSettings(SourcedSettings):
    """Where the inbox is."""

    inbox: Annotated[
        fields.InboxPlace | None,
        Flag(Group.INBOX, "FILE|URL", default="`off`; with `--dev` `inbox.db` in `--state-dir`"),
    ] = Field(
        None,
        description="file in which notifications are stored until they are read. `auto`: `inbox.db` in "
        "`$STATE_DIRECTORY`, else in `$XDG_STATE_HOME/hermes` or `~/.local/state/hermes`; `off`: no inbox. Or a "
        "database: `postgresql://user@host/database`, with any parameter of libpq; a password (`user:password@`) is "
        "accepted only in the variable or the file. It needs the extra `postgres`",
    )
    inbox_password_file: Annotated[fields.PasswordFile | None, Flag(Group.INBOX, "FILE", private=True)] = Field(
        None,
        description="file with the password of that user, read again for each connection; one trailing newline is "
        "ignored. Without it, libpq looks in `PGPASSFILE` and in the service of the URL",
    )

    @property
    def inbox_url(self) -> str | None:
        """The URL of the database of the inbox; None if it is a file, or without an inbox."""
        return self.inbox if isinstance(self.inbox, str) and self.inbox != "off" else None

    def inbox_password(self) -> str | None:
        """Return the password for the database; None without a file.

        It is read again each time. Raises OSError, and ValueError that says what is wrong.
        """
        if self.inbox_password_file is None:
            return None
        insecure = isinstance(self, FileSettings) and self.insecure_secret_files
        text = private_file.read_text(self.inbox_password_file, insecure=insecure)
        return text.removesuffix("\n").removesuffix("\r")


class ClientSettings(FileSettings):
    """How ``hermes notify`` and ``hermes listen`` reach a running Hermes."""

    api_url: Annotated[fields.HttpUrl, Flag(Group.CLIENT, "URL", name="url")] = Field(
        f"http://127.0.0.1:{DEFAULT_PORT}", description="URL of the running Hermes"
    )
    token: Annotated[SecretStr | None, Flag(Group.CLIENT, secret=True)] = Field(
        None, description="the token itself, instead of the file"
    )
    token_file: Annotated[fields.TextFile | None, Flag(Group.CLIENT, "FILE", private=True)] = Field(
        None, description="file with the token that opens the socket. Or use the variable `HERMES_TOKEN`"
    )
    api_key_file: Annotated[
        fields.KeyFile | None, Flag(Group.CLIENT, "FILE", private=True, default="the key of `--dev`, if any")
    ] = Field(None, description="file with API keys; the first one that may do what the command needs is used")
    ca_file: Annotated[fields.CaFile | None, Flag(Group.CLIENT, "FILE", default="those of the system")] = Field(
        None, description="CA certificates to trust for an `https` URL, PEM"
    )
    _own_certificate: Path | None = PrivateAttr(None)  # of the Hermes on this machine, if no URL is given

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS context for the URL; None trusts the CA certificates of the system.

        Raises `ConfigError`.
        """
        try:
            if self._own_certificate is not None:
                return own_context(self._own_certificate)
            return None if self.ca_file is None else TlsOptions(self.ca_file).context()
        except OSError as error:
            raise ConfigError([f"cannot read {error.filename}: {error.strerror}; give --url and --ca-file"]) from None
        except ValueError as error:
            raise ConfigError([str(error)]) from None

    def with_own(self, url: str, certificate: Path | None) -> Self:
        """Return the settings for the Hermes on this machine, which has this certificate."""
        settings = self.model_copy(update={"api_url": url})
        settings._own_certificate = certificate
        return settings

    @property
    def bearer(self) -> str | None:
        """The token, from its file or its variable.

        Raises `ConfigError` if it contains characters that no token has.
        """
        if self.token_file is None and self.token is None:
            return None
        text = secret_text(self.token_file) if self.token_file else self.token.get_secret_value() if self.token else ""
        try:
            return token_text(text)
        except ValueError as error:
            raise ConfigError([f"--token-file or HERMES_TOKEN: {error}"]) from None

    def api_key(self, scope: Scope) -> str | None:
        """Return the first key of the key file with this scope, else its first key."""
        if self.api_key_file is None:
            return None
        keys = api_keys_of(self.api_key_file)
        return next((key.text for key in keys if scope in key.caller.scopes), keys[0].text)


class ListenAddress(NamedTuple):
    """An address that Hermes listens on, and the flag of its port."""

    host: str
    port: int
    tls: bool = False
    flag: str = "--port"


class ClusterSettings(FileSettings):
    """How the nodes reach each other."""

    nats_url: Annotated[NatsUrls, Flag(Group.CLUSTER, "URL", repeatable=True, default="one node")] = Field(
        (),
        repr=False,
        description="NATS servers of one system, by which several nodes work together: `nats://host[:4222]`, or "
        "`tls://…` for TLS; several separated by commas. User and password (`user:password@`) or a token (`token@`) "
        "are accepted only in the variable or the file, because flags are visible in `ps`",
    )
    nats_creds_file: Annotated[Path | None, Flag(Group.CLUSTER, "FILE", private=True)] = Field(
        None, description="creds file of the NATS user, with its JWT and seed; read again for each connection"
    )
    nats_ca_file: Annotated[fields.CaFile | None, Flag(Group.CLUSTER, "FILE", default="those of the system")] = Field(
        None, description="CA certificates to trust for `tls://`, PEM; read again for each connection"
    )
    node_name: Annotated[NodeName | None, Flag(Group.CLUSTER, "NAME", default="the host's name")] = Field(
        None, description="name of this node; each node has its own"
    )

    @property
    def nats_servers(self) -> tuple[NatsUrl, ...]:
        """The NATS servers; none for one node."""
        return tuple(parse_nats_url(text) for text in self.nats_url)

    @property
    def own_node_name(self) -> str:
        """The name of this node."""
        return self.node_name or host_node_name()


class InboxCommandSettings(ClientSettings, InboxSettings):
    """Where ``hermes inbox`` finds the inbox, or the Hermes that has it."""


class Settings(KeySettings, TopicSettings, DeviceSettings, InboxSettings, ClusterSettings):
    """All settings of ``hermes serve``."""

    host: Annotated[fields.Host, Flag(Group.LISTENING, "ADDRESS")] = Field(
        "127.0.0.1",
        description="address to listen on; `0.0.0.0` for all of IPv4, `::` for all of IPv6 and IPv4",
    )
    port: Annotated[int, Flag(Group.LISTENING, "PORT")] = Field(
        DEFAULT_PORT, ge=0, le=65_535, description="port to listen on; 0 chooses a free port and prints it"
    )
    tls_cert: Annotated[Path | None, Flag(Group.LISTENING, "FILE")] = Field(
        None,
        description="certificate and its chain, PEM: `--port` then speaks TLS (https, wss), 1.2 or later; read again "
        "at SIGHUP, and within an hour when the file changes",
    )
    tls_key: Annotated[Path | None, Flag(Group.LISTENING, "FILE", private=True)] = Field(
        None, description="key of that certificate, PEM, without a password"
    )
    tls_port: Annotated[int | None, Flag(Group.LISTENING, "PORT", default="`--port`")] = Field(
        None,
        ge=0,
        le=65_535,
        description="port for TLS at `--host`; plain HTTP is then at 127.0.0.1 and `--port`, for this machine only",
    )
    hsts_max_age_s: Annotated[int, Flag(Group.LISTENING, "SECONDS")] = Field(
        0,
        ge=0,
        le=63_072_000,
        description="`Strict-Transport-Security` of answers over TLS: browsers then use https for every port of this "
        "host name, for so many seconds; 0 for no such header",
    )
    api_key_file: Annotated[fields.KeyFile | None, Flag(Group.TOKENS, "FILE", private=True)] = Field(
        None, description="file with the API keys, one per line: `KEY`, or `NAME KEY [SCOPE,…] [tenant=ID]`"
    )
    metrics_public: Annotated[bool, Flag(Group.TOKENS, switch=True)] = Field(
        False,
        description="answer `/metrics` without a key; otherwise it needs one, except from this machine",
    )

    state_dir: Annotated[
        fields.AbsolutePath | None,
        Flag(
            Group.GENERAL,
            "DIR",
            default="`$STATE_DIRECTORY`, else `hermes` in `$XDG_STATE_HOME` or `~/.local/state`",
        ),
    ] = Field(None, description="folder of what Hermes stores, such as revocations")

    # -- the MQTT link ------------------------------------------------------------------------------------------------

    mqtt_url: Annotated[
        fields.BrokerUrl | None,
        Flag(Group.MQTT, "URL", default=f"`{DEFAULT_MQTT_URL}`; with `--dev` `embedded`"),
    ] = Field(
        None,
        repr=False,
        description="the broker: `mqtt://[user@]host[:1883]`, `mqtts://…[:8883]`, `ws://…[:80][/mqtt]`, "
        "`wss://…[:443][/mqtt]`, `unix:///run/mosquitto.sock`, `embedded` or `off`. A password (`user:password@`) is "
        "accepted only in the variable or the file, because flags are visible in `ps`. `ws://` and `wss://` need the "
        "extra `websockets`",
    )
    mqtt_username: Annotated[fields.NonEmpty | None, Flag(Group.MQTT, "NAME")] = Field(
        None, description="user name for the broker, if the URL has none"
    )
    mqtt_password_file: Annotated[fields.PasswordFile | None, Flag(Group.MQTT, "FILE", private=True)] = Field(
        None,
        description="file with the password of that user, read again for each connection; one trailing newline is "
        "ignored",
    )
    mqtt_ca_file: Annotated[fields.CaFile | None, Flag(Group.MQTT, "FILE", default="those of the system")] = Field(
        None, description="CA certificates to trust, PEM, for `mqtts://` and `wss://`"
    )
    mqtt_cert_file: Annotated[Path | None, Flag(Group.MQTT, "FILE")] = Field(
        None, description="client certificate for the broker, PEM"
    )
    mqtt_key_file: Annotated[Path | None, Flag(Group.MQTT, "FILE", private=True)] = Field(
        None, description="key of the client certificate, PEM, without a password"
    )
    mqtt_alpn: Annotated[fields.Alpn, Flag(Group.MQTT, "NAME", repeatable=True)] = Field(
        (), description="protocol name to request in the TLS handshake (ALPN)"
    )
    mqtt_client_id: Annotated[fields.ClientId | None, Flag(Group.MQTT, "NAME", default="a new one at each start")] = (
        Field(None, description="MQTT client id of Hermes")
    )
    mqtt_keepalive_s: Annotated[int, Flag(Group.MQTT, "SECONDS")] = Field(
        KEEPALIVE_S,
        ge=1,
        le=65_535,
        description="MQTT keep-alive in seconds; a silent broker is detected within twice this time",
    )
    mqtt_qos: Annotated[fields.QosNumber, Flag(Group.MQTT, "0|1")] = Field(
        0, description="QoS of the subscriptions; use 1 together with a persistent session"
    )
    mqtt_clean_start: Annotated[bool, Flag(Group.MQTT, TRUE_FALSE)] = Field(
        True, description="`false` requests a persistent session from the broker"
    )
    mqtt_session_expiry_s: Annotated[int, Flag(Group.MQTT, "SECONDS")] = Field(
        0, ge=0, le=4_294_967_295, description="seconds for which the broker stores the persistent session"
    )
    mqtt_receive_maximum: Annotated[int | None, Flag(Group.MQTT, "N", default=f"`{RECEIVE_MAXIMUM}`")] = Field(
        None,
        ge=1,
        le=65_535,
        description="maximum number of QoS 1 messages in flight; the broker may have a lower limit",
    )
    mqtt_on_demand: Annotated[bool, Flag(Group.MQTT, TRUE_FALSE)] = Field(
        False, description="subscribe only to the devices and tenants that open sockets watch"
    )
    mqtt_linger_s: Annotated[float, Flag(Group.MQTT, "SECONDS")] = Field(
        30, ge=0, le=86_400, description="seconds before an unused on-demand subscription is cancelled"
    )

    # -- the embedded broker ------------------------------------------------------------------------------------------

    broker_listen: Annotated[
        fields.ListenAddress | None, Flag(Group.BROKER, "ADDRESS:PORT", default="loopback only")
    ] = Field(
        None,
        description="address (`[::]:8883` for IPv6) at which devices with an account connect to the embedded broker",
    )
    broker_cert_file: Annotated[Path | None, Flag(Group.BROKER, "FILE")] = Field(
        None,
        description="certificate and its chain for that address, PEM; read again when the file changes. Without it "
        "the devices' passwords are sent over the network as clear text",
    )
    broker_key_file: Annotated[Path | None, Flag(Group.BROKER, "FILE", private=True)] = Field(
        None, description="key of that certificate, PEM, without a password"
    )

    # -- sockets ------------------------------------------------------------------------------------------------------

    origins: Annotated[fields.Origins, Flag(Group.LISTENING, "ORIGIN", name="origin", repeatable=True)] = Field(
        (),
        description="web origin, other than Hermes' own, that may open sockets: `https://app.example.com`, "
        "`https://*.example.com` for all names below it, `capacitor://localhost` of an app; `*` for all",
    )
    trusted_proxies: Annotated[
        fields.Proxies, Flag(Group.LISTENING, "ADDRESS", name="trusted-proxy", repeatable=True)
    ] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="address or network of a trusted proxy: only from it Hermes believes `X-Forwarded-For`, "
        "`X-Forwarded-Host`, `X-Forwarded-Proto`, `X-Forwarded-Prefix` and `X-Ingress-Path`",
    )
    max_http_connections: Annotated[
        int | None, Flag(Group.LISTENING, "N", default="a quarter of the open-file limit")
    ] = Field(
        None,
        ge=0,
        description="maximum number of open connections that are not WebSockets; over it the one that is idle for the "
        "longest is closed; 0 for no limit",
    )
    http_parser: Annotated[Literal["httptools", "tornado"], Flag(Group.LISTENING, "NAME")] = Field(
        "httptools",
        description="`httptools`, or `tornado`: about half as fast, and without limits for slow HTTP clients",
    )
    max_sockets: Annotated[
        int | None, Flag(Group.SOCKETS, "N", default="three quarters of the open-file limit, minus 128")
    ] = Field(None, ge=1, description="maximum number of open sockets")
    max_sockets_per_user: Annotated[int | None, Flag(Group.SOCKETS, "N", default="a quarter of `--max-sockets`")] = (
        Field(None, ge=0, description="maximum number of open sockets of one user; 0 for no limit")
    )
    max_sockets_per_tenant: Annotated[int, Flag(Group.SOCKETS, "N")] = Field(
        0, ge=0, description="maximum number of open sockets of one tenant; 0 for no limit"
    )
    max_sockets_per_address: Annotated[int | None, Flag(Group.SOCKETS, "N", default="half of `--max-sockets`")] = Field(
        None,
        ge=0,
        description="maximum number of open sockets of one client address (IPv6: of one /64 network); 0 for no limit",
    )
    max_connects_per_address_s: Annotated[
        int | None,
        Flag(
            Group.SOCKETS,
            "N",
            default="`1000`, or the rate at which closed sockets are asked to return, if it is higher",
        ),
    ] = Field(
        None,
        ge=0,
        description="new connections a second of one client address, with a burst of twice as many; more wait up to "
        "5 s for their turn; 0 for no limit",
    )
    max_failed_auth_per_address: Annotated[int, Flag(Group.SOCKETS, "N")] = Field(
        100,
        ge=0,
        description="wrong tokens and API keys of one client address in 10 s; after more, only known ones are "
        "accepted from it for 10 s; 0 for no limit",
    )
    client_frames_per_s: Annotated[int, Flag(Group.SOCKETS, "N")] = Field(
        200,
        ge=0,
        description="frames a second that one client may send, with a burst of ten times as many. A frame that "
        "causes more work counts more. Over the limit it is read more slowly; 0 for no limit",
    )
    ping_interval_s: Annotated[float, Flag(Group.SOCKETS, "SECONDS")] = Field(
        25, ge=1, le=3_600, description="seconds between the protocol pings of a socket"
    )
    ping_timeout_s: Annotated[float, Flag(Group.SOCKETS, "SECONDS")] = Field(
        20, ge=1, le=3_600, description="seconds to wait for a pong before the socket is dropped"
    )
    drain_timeout_s: Annotated[float, Flag(Group.SOCKETS, "SECONDS")] = Field(
        10, ge=0, le=600, description="seconds to wait at shutdown until sockets are closed"
    )
    inbox_max_bytes: Annotated[int, Flag(Group.INBOX, "BYTES")] = Field(
        1_073_741_824, ge=1_048_576, description="size of all stored notifications; above it the oldest are removed"
    )
    inbox_ttl_s: Annotated[int, Flag(Group.INBOX, "SECONDS")] = Field(
        604_800, ge=1, le=31_536_000, description="seconds that a notification is stored if it has no `ttl_s`"
    )
    outbox_max_bytes: Annotated[int, Flag(Group.SOCKETS, "BYTES")] = Field(
        1_048_576,
        ge=65_536,
        description="bytes that may wait for one slow socket, once for notifications and once for device data. "
        "Above this limit, device data is conflated; notifications close the socket",
    )
    outbox_max_messages: Annotated[int, Flag(Group.SOCKETS, "N")] = Field(
        1_000, ge=1, description="the same limit in messages"
    )
    compress: Annotated[bool, Flag(Group.SOCKETS, TRUE_FALSE)] = Field(True, description="accept permessage-deflate")

    # -- last values --------------------------------------------------------------------------------------------------

    snapshot_max_values: Annotated[int, Flag(Group.LAST_VALUES, "N")] = Field(
        100_000, ge=1, description="maximum number of last values in memory, which new sockets receive first"
    )
    snapshot_max_bytes: Annotated[int, Flag(Group.LAST_VALUES, "BYTES")] = Field(
        134_217_728,
        ge=1_048_576,
        description="approximate maximum of their memory: each value counts 1,000 bytes plus twice its payload "
        "and topic",
    )
    snapshot_max_age_s: Annotated[float, Flag(Group.LAST_VALUES, "SECONDS")] = Field(
        604_800,
        ge=1,
        description="seconds after which a value without an update is evicted; the default is enough for a device "
        "that reports daily, over a long weekend",
    )

    # -- the process --------------------------------------------------------------------------------------------------

    dev: Annotated[bool, Flag(Group.DEVELOPMENT, switch=True)] = Field(
        False,
        description="try Hermes, on this machine only: create and store a secret and an API key, start an embedded "
        "broker with simulated devices and an inbox, print tokens to use",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Flag(Group.LOGGING, "LEVEL")] = Field(
        "info", description="`debug`, `info`, `warning` or `error`"
    )
    uvloop: Annotated[fields.Uvloop, Flag(Group.GENERAL, TRUE_FALSE)] = Field(
        False, description="run on uvloop, which the extra `uvloop` installs"
    )

    @property
    def stored_in(self) -> Path:
        """The folder of what Hermes stores."""
        return self.state_dir or serving_folder()

    @property
    def inbox_path(self) -> Path | None:
        """The file of the inbox; None without one.

        With ``--dev`` there is one by default, unless there are several nodes: it would be that of one node.
        """
        if self.inbox is None:
            return self.stored_in / INBOX_NAME if self.dev and not self.nats_url else None
        return self.inbox if isinstance(self.inbox, Path) else None

    @property
    def server_certificate(self) -> ServerCertificate | None:
        """The certificate of Hermes' own TLS; None without TLS."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return ServerCertificate(self.tls_cert, self.tls_key)

    @property
    def listen_addresses(self) -> tuple[ListenAddress, ...]:
        """Every address that Hermes listens on, the one for browsers first."""
        if self.server_certificate is None:
            return (ListenAddress(self.host, self.port),)
        if self.tls_port is None:
            return (ListenAddress(self.host, self.port, tls=True),)
        return (
            ListenAddress(self.host, self.tls_port, tls=True, flag="--tls-port"),
            ListenAddress(PLAIN_HOST, self.port),
        )

    @property
    def broker_url(self) -> str:
        """The URL of the broker, ``embedded`` or ``off``."""
        return self.mqtt_url or ("embedded" if self.dev else DEFAULT_MQTT_URL)

    @property
    def broker_kind(self) -> Literal["embedded", "external", "off"]:
        """Whether the broker is embedded, external, or MQTT is off."""
        match self.broker_url:
            case "embedded" | "off" as kind:
                return kind
            case _:
                return "external"

    @property
    def external_broker(self) -> MqttUrl | None:
        """The broker that Hermes connects to; None if it is embedded or MQTT is off."""
        return parse_mqtt_url(self.broker_url) if self.broker_kind == "external" else None

    @property
    def broker_name(self) -> str:
        """`broker_url` without its password, for messages."""
        return str(self.external_broker or self.broker_url)

    @property
    def device_listener(self) -> BrokerListen | None:
        """The address at which devices connect; None if only Hermes may connect."""
        if self.broker_listen is None:
            return None
        address, port = parse_listen(self.broker_listen)
        return BrokerListen(address, port, self.accounts_folder, self.broker_cert_file, self.broker_key_file)

    @property
    def mqtt_options(self) -> MqttOptions:
        """The parameters of the connection to the broker."""
        return MqttOptions(
            username=self.mqtt_username,
            password_file=self.mqtt_password_file,
            insecure_secret_files=self.insecure_secret_files,
            tls=TlsOptions(self.mqtt_ca_file, self.mqtt_cert_file, self.mqtt_key_file, self.mqtt_alpn),
            client_id=self.mqtt_client_id,
            keepalive_s=self.mqtt_keepalive_s,
            clean_start=self.mqtt_clean_start,
            session_expiry_s=self.mqtt_session_expiry_s,
            receive_maximum=self.mqtt_receive_maximum,
            qos=self.mqtt_qos,
        )

    @property
    def api_keys(self) -> tuple[ApiKey, ...]:
        """The API keys; without any, ``/notify`` accepts callers on this machine."""
        return () if self.api_key_file is None else api_keys_of(self.api_key_file)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret in each form in which it may reach a log line."""
        escaped = self.broker_url.rpartition("@")[0].partition("://")[2].partition(":")[2]  # as it is in the URL
        files = (self.mqtt_password_file, self.inbox_password_file)
        passwords = [secret_text(file) for file in files if file is not None]
        in_url = fields.postgres_password(self.inbox_url or "") or ""
        keys = (key.text for key in self.api_keys)
        in_urls = (escaped, unquote(escaped), in_url, unquote(in_url), *secrets_of(self.nats_url))
        found = (*self.token_secrets, *keys, *passwords, *in_urls)
        return tuple(text for text in found if text)
