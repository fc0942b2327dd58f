"""What a reload changes: settings that differ, also in the content of their files."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hermes.auth.keys import Source
from hermes.settings.flags import FILE, setting_of, settings_of
from hermes.settings.model import Settings
from hermes.settings.urls.mqtt import MqttUrl

KEYS = frozenset({"jwt_secret", "jwt_secret_file", "jwt_public_key_file", "jwks_file", "jwt_issuer"})
ISSUERS = frozenset({"oidc_issuer", "jwks_url", "jwks_ca_file", "jwks_insecure", "jwks_max_stale_s", "jwt_issuer"})
CLAIM_RULES = frozenset(
    {
        *("claim_user", "claim_name", "claim_tenant", "claim_superuser"),
        *("jwt_audience", "jwt_leeway_s", "jwt_max_age_s", "jwt_require_exp"),
    }
)
SOCKET_LIMITS = frozenset({"max_sockets", "max_sockets_per_user", "max_sockets_per_tenant", "max_sockets_per_address"})
LIMITS = SOCKET_LIMITS | {
    *("max_http_connections", "max_connects_per_address_s", "max_failed_auth_per_address", "client_frames_per_s"),
    *("outbox_max_bytes", "outbox_max_messages", "ping_interval_s", "ping_timeout_s", "drain_timeout_s", "compress"),
}
CERTIFICATE = frozenset({"tls_cert", "tls_key"})
FEED = frozenset({"topics", "mqtt_username", "mqtt_password_file"})
APPLIED = frozenset(
    {
        *(KEYS | ISSUERS | CLAIM_RULES | LIMITS | CERTIFICATE | FEED),
        *("api_key_file", "origins", "trusted_proxies", "log_level", "insecure_secret_files", "oidc_client_id"),
        "metrics_public",
    }
)
# Read for each connection or looked at every second, so that new content needs neither a reload nor a restart
READ_ANEW = frozenset(
    {
        *("mqtt_ca_file", "mqtt_cert_file", "mqtt_key_file", "broker_cert_file", "broker_key_file"),
        *("nats_creds_file", "nats_ca_file"),
        "inbox_password_file",
    }
)
FILE_SOURCES = (Source.SECRET, Source.PUBLIC_KEY, Source.JWKS_FILE)

Contents = Mapping[str, object]


def contents_of(settings: Settings) -> Contents:
    """Return a value for each setting that differs if the setting or its files do."""
    return {
        setting.name: (
            tuple((path, _digest(path)) for path in settings.files(setting.name))
            if setting.flag.metavar == FILE
            else getattr(settings, setting.name)
        )
        for setting in settings_of(Settings)
    }


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Changes:
    """The settings that a reload applies, and those that need a restart."""

    applied: frozenset[str]
    restart: frozenset[str]

    @classmethod
    def between(cls, old: Contents, new: Contents, *, applicable: Collection[str] = APPLIED) -> "Changes":
        """Return what differs; settings that are not ``applicable`` need a restart."""
        names = frozenset(name for name in new if old[name] != new[name])
        renewed = frozenset(name for name in names & READ_ANEW if paths(old[name]) == paths(new[name]))
        applied = names & frozenset(applicable)
        return cls(applied | renewed, names - applied - renewed)

    def __str__(self) -> str:
        """Return one line for the log."""
        done = f"changed {_options(self.applied)}" if self.applied else "nothing has changed"
        return f"{done}; a restart is needed for {_options(self.restart)}" if self.restart else done


def paths(content: object) -> list[object]:
    """Return the files of one of the `Contents`, whatever is in them."""
    assert isinstance(content, tuple)
    return [path for path, _ in content]


def _options(names: Collection[str]) -> str:
    settings = [setting_of(Settings, name) for name in names]
    return ", ".join(sorted(setting.option or setting.name for setting in settings))


def is_same_broker(one: MqttUrl | None, other: MqttUrl | None) -> bool:
    """Return whether two addresses are of the same broker, whatever user they have."""
    if one is None or other is None:
        return False
    return replace(one, username=None, password=None) == replace(other, username=None, password=None)
