"""Floor 1: what no setting can know alone: which of them cannot go together, and what to write instead.

Judged from the values as they were given, before they are read: so that these faults are told with all the others.
"""

import re
from collections.abc import Mapping
from typing import Any

from hermes.settings.broker import listen_faults
from hermes.settings.fields import DEFAULT_MQTT_URL, DEFAULT_TOPICS, is_loopback, split_commas
from hermes.settings.mqtt import link_faults

NO_SECRET = (
    "no JWT secret: write one to a file (openssl rand -hex 32 > jwt-secret) and give "
    "--jwt-secret-file jwt-secret, set HERMES_JWT_SECRET, or use --dev to try Hermes out"
)


def cross_faults(given: Mapping[str, Any]) -> list[str]:
    """Of ``hermes serve``: a line for each thing to mend."""
    return [
        *_reach_faults(given),
        *_secret_faults(given),
        *link_faults(given),
        *_demand_faults(given),
        *_listen_faults(given),
    ]


def _reach_faults(given: Mapping[str, Any]) -> list[str]:
    host = given.get("host", "127.0.0.1")
    if is_loopback(host):
        return []
    if _is_dev(given):
        return [f"--dev is for this machine only, but --host is {host}; use --host 127.0.0.1 or leave out --dev"]
    if given.get("api_key_file") is None:
        return [
            f"--host {host} can be reached from other machines, so /notify needs a key: "
            "write one to a file (openssl rand -hex 24 > api-keys) and give --api-key-file api-keys"
        ]
    return []


def _secret_faults(given: Mapping[str, Any]) -> list[str]:
    if _is_dev(given) or given.get("jwt_secret") is not None or given.get("jwt_secret_file") is not None:
        return []
    return [NO_SECRET]


def _demand_faults(given: Mapping[str, Any]) -> list[str]:
    """A session that the broker keeps would keep subscriptions, and fill with data, that nobody wants any more."""
    if not _says(given, "mqtt_on_demand", _YES):
        return []
    kept = [
        *(["--mqtt-clean-start false"] if _says(given, "mqtt_clean_start", _NO) else []),
        *(["--mqtt-session-expiry-s"] if str(given.get("mqtt_session_expiry_s", "0")) not in ("0", "") else []),
    ]
    if not kept:
        return []
    return [
        "--mqtt-on-demand subscribes to what is watched just now, and a kept session would go on with what was watched "
        f"before: leave out {' and '.join(kept)}, or --mqtt-on-demand"
    ]


def _listen_faults(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with letting devices in; a wrong certificate is told where it is read."""
    topics = split_commas(given.get("topics", DEFAULT_TOPICS))
    broker_url = given.get("mqtt_url") or ("embedded" if _is_dev(given) else DEFAULT_MQTT_URL)
    return listen_faults(given, broker_url=broker_url, topics=topics if isinstance(topics, list | tuple) else ())


def _is_dev(given: Mapping[str, Any]) -> bool:
    return _says(given, "dev", _YES)


_YES, _NO = ("1", "true", "yes", "on", "t", "y"), ("0", "false", "no", "off", "f", "n")  # as pydantic has it


def _says(given: Mapping[str, Any], name: str, words: tuple[str, ...]) -> bool:
    return str(given.get(name, "")).lower() in words


def shown_faults(flags: Mapping[str, Any]) -> list[str]:
    """Secrets on the command line; the settings themselves do not know where a value came from."""
    if re.match(r"\w+://[^@]*:.*@", str(flags.get("mqtt_url", ""))):
        return ["--mqtt-url: a password on the command line shows in ps; set HERMES_MQTT_URL instead"]
    return []
