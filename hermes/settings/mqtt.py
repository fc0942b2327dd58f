"""Floor 1: how Hermes links to the broker, as frozen values, and what of the settings cannot go together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hermes.settings.tls import TlsOptions

Qos = Literal[0, 1]

KEEPALIVE_S = 30  # a broker that vanished without a word is noticed within twice this
CLIENT_ID_MAX_BYTES = 65_535  # MQTT 5 §1.5.4


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """How to present oneself to a broker. ``username`` and ``password`` win over those of the URL."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsOptions = field(default_factory=TlsOptions)
    client_id: str | None = None  # None: one of its own in each process
    keepalive_s: int = KEEPALIVE_S
    clean_start: bool = True
    session_expiry_s: int = 0
    receive_maximum: int | None = None
    qos: Qos = 0

    def for_a_trial(self) -> "MqttOptions":
        """The same, without a hand on the session of a Hermes that runs with these."""
        client_id = None if self.client_id is None else f"{self.client_id}-check"
        return replace(self, client_id=client_id, clean_start=True, session_expiry_s=0)


# -- what cannot go together ------------------------------------------------------------------------------------------


def link_faults(given: Mapping[str, Any]) -> list[str]:
    """What no single MQTT setting can know, judged from the values as they were given."""
    return [*_url_faults(given), *_pair_faults(given), *_session_faults(given)]


def _url_faults(given: Mapping[str, Any]) -> list[str]:
    """What the URL has no use for, or says already."""
    url = given.get("mqtt_url") or ("embedded" if _said(given, "dev", "yes") else "mqtt://")
    scheme, _, rest = str(url).partition("://")
    own = scheme in ("embedded", "off")
    credentials = rest.rpartition("@")[0]
    faults = [
        f"{_flag(name)} is for TLS, which --mqtt-url does not ask for; write mqtts:// or wss://"
        for name in ("mqtt_ca_file", "mqtt_cert_file", "mqtt_key_file", "mqtt_alpn")
        if given.get(name) and scheme not in ("mqtts", "wss")
    ]
    faults += [
        f"{_flag(name)} is for a broker elsewhere, but --mqtt-url is {scheme}; leave it out"
        for name in ("mqtt_username", "mqtt_password_file")
        if given.get(name) and own
    ]
    if given.get("mqtt_username") and credentials:
        faults.append("--mqtt-username and a user in the MQTT URL are both given; keep one")
    if given.get("mqtt_password_file") and ":" in credentials:
        faults.append("--mqtt-password-file and a password in the MQTT URL are both given; keep the file")
    elif given.get("mqtt_password_file") and not own and not given.get("mqtt_username") and not credentials:
        faults.append("--mqtt-password-file needs a user: give --mqtt-username as well")
    return faults


def _pair_faults(given: Mapping[str, Any]) -> list[str]:
    certificate, key = given.get("mqtt_cert_file"), given.get("mqtt_key_file")
    if bool(certificate) != bool(key):
        had, missing = ("--mqtt-cert-file", "--mqtt-key-file")[:: 1 if certificate else -1]
        return [f"{had} needs its other half: give {missing} as well"]
    if certificate and key:
        try:
            TlsOptions(cert_file=Path(certificate), key_file=Path(key)).context()
        except ValueError as error:
            return [f"--mqtt-cert-file: {error}"]
    return []


def _session_faults(given: Mapping[str, Any]) -> list[str]:
    """A session is kept by four settings together: one of them alone would promise what does not happen."""
    kept = _said(given, "mqtt_clean_start", "no")
    expires = str(given.get("mqtt_session_expiry_s", "0")) not in ("0", "")
    if not kept:
        return ["--mqtt-session-expiry-s keeps nothing without --mqtt-clean-start false; give both"] if expires else []
    missing = [
        *(["--mqtt-session-expiry-s SECONDS, or it ends with the connection"] if not expires else []),
        *(["--mqtt-client-id NAME, or the broker cannot know it again"] if not given.get("mqtt_client_id") else []),
        *(["--mqtt-qos 1, or the broker keeps no messages"] if str(given.get("mqtt_qos", "0")) == "0" else []),
    ]
    return [f"--mqtt-clean-start false, for a session that the broker keeps, needs {text}" for text in missing]


_WORDS = {
    "yes": ("1", "true", "yes", "on", "t", "y"),
    "no": ("0", "false", "no", "off", "f", "n"),
}  # as pydantic has it


def _said(given: Mapping[str, Any], name: str, word: Literal["yes", "no"]) -> bool:
    return str(given.get(name, "")).lower() in _WORDS[word]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
