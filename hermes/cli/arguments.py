"""Floor 4: the words of the ``hermes`` command: each command's flags, how their texts are read, and its examples.

A flag for a setting stays a string here: `hermes.config` reads it, with the environment and the file.
"""

import argparse
import re
from typing import Any

TTL_MAX_S = 36_525 * 86_400  # a hundred years: beyond it a date is a slip, and at last no number
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

SERVE_EXAMPLES = """examples:
  hermes serve --dev
      try it out: own broker, simulated devices, ready tokens; this machine only
  hermes serve --jwt-secret-file /etc/hermes/jwt-secret --api-key-file /etc/hermes/api-keys --host 0.0.0.0
  hermes serve --config /etc/hermes/hermes.toml
  hermes serve --topic chirpstack --topic 'plant/{tenant_id}/{device_id}/{series...}' ...

every flag has a variable, HERMES_PORT for --port, and a TOML key, port; flags win, then variables, then the file"""

TOKEN_EXAMPLES = """examples:
  hermes token --user 123 --username ana --tenant acme --ttl 1h
  hermes token --user 1 --username root --superuser --jwt-secret-file /etc/hermes/jwt-secret

without a secret, the one that hermes serve --dev keeps on this machine signs"""

NOTIFY_EXAMPLES = """examples:
  hermes notify --user 123 --title 'New alert' --message 'Sensor X is hot' --type warning
  hermes notify --tenant acme --title Maintenance --message 'Back at 14:00'

prints the answer; "sent":false means that nobody had a socket open"""

LISTEN_EXAMPLES = """examples:
  hermes listen notifications
  hermes listen tenant/acme
  hermes listen device/climate-01 --token-file token
  hermes listen all | jq .data

frames go to standard output, one a line; what happens to the connection to standard error"""


def given(options: argparse.Namespace) -> dict[str, Any]:
    """What the user wrote for the settings: the attributes whose names begin with ``set_``."""
    return {
        name.removeprefix("set_"): value
        for name, value in vars(options).items()
        if name.startswith("set_") and value is not None
    }


def setting(command: argparse.ArgumentParser, flag: str, text: str, name: str | None = None, **more: Any) -> None:
    """A flag for the setting of its name, or of another ``name``; ``given`` finds it."""
    field = name or flag.removeprefix("--").replace("-", "_")
    if "action" not in more:
        more.setdefault("metavar", flag.rpartition("-")[2].upper())
    command.add_argument(flag, dest=f"set_{field}", help=text, default=None, **more)


def add_serve_flags(command: argparse.ArgumentParser) -> None:
    """Of ``hermes serve`` and ``hermes check``: every setting that is no secret itself."""
    setting(
        command,
        "--dev",
        "try Hermes out on this machine: makes and keeps secrets",
        action="store_const",
        const="true",
    )
    setting(command, "--host", "address to listen on (127.0.0.1)")
    setting(command, "--port", "port; 0 picks a free one (8080)")
    _add_secret_flags(command)
    setting(command, "--api-key-file", "keys that may call /notify, one a line")
    setting(
        command,
        "--mqtt-url",
        "mqtt://HOST, mqtts://, ws://, wss://, unix:///PATH, embedded or off (mqtt://127.0.0.1:1883; --dev: embedded)",
    )
    _add_link_flags(command)
    setting(command, "--broker-listen", "ADDRESS:PORT where devices with an account reach the embedded broker (none)")
    setting(command, "--broker-cert-file", "its certificate and chain, PEM; with it devices speak TLS")
    setting(command, "--broker-key-file", "that certificate's key")
    setting(command, "--broker-state-dir", "folder of the device accounts (see hermes device)")
    add_topic_flag(command)
    setting(
        command,
        "--origin",
        "origin of pages that may open sockets, repeatable; *: all",
        "origins",
        action="append",
        metavar="O",
    )
    setting(command, "--ping-interval-s", "seconds between pings of a socket (25)")
    setting(command, "--ping-timeout-s", "seconds after which a silent socket is dropped (20)")
    setting(command, "--drain-timeout-s", "seconds that stopping waits for sockets (10)")
    setting(command, "--outbox-max-bytes", "what may wait for one slow socket (1048576)")
    setting(command, "--outbox-max-messages", "the same in messages (1000)")
    setting(command, "--snapshot-max-values", "last values to remember for sockets that open (100000)")
    setting(command, "--snapshot-max-bytes", "about how much memory for them (134217728)")
    setting(command, "--snapshot-max-age-s", "seconds after which a value that was not renewed is forgotten (604800)")
    setting(command, "--max-sockets", "sockets at once (by the limit of open files)")
    setting(command, "--compress", "offer permessage-deflate: true or false (true)")
    setting(command, "--uvloop", "use the event loop of the extra uvloop: true or false (false)")
    setting(command, "--log-level", "debug, info, warning or error (info)")


def _add_link_flags(command: argparse.ArgumentParser) -> None:
    setting(command, "--mqtt-username", "user at the broker", metavar="NAME")
    setting(command, "--mqtt-password-file", "file with the password for it")
    setting(command, "--mqtt-ca-file", "certificates to trust for mqtts:// and wss:// (the system's)")
    setting(command, "--mqtt-cert-file", "certificate to show to the broker")
    setting(command, "--mqtt-key-file", "its key, without a password")
    setting(command, "--mqtt-alpn", "TLS protocol name to ask for, repeatable", action="append", metavar="NAME")
    setting(command, "--mqtt-client-id", "the name of this client (a new one at each start)", metavar="NAME")
    setting(command, "--mqtt-keepalive-s", "seconds; a silent broker is noticed within twice this (30)")
    setting(command, "--mqtt-clean-start", "false asks the broker to keep the session: true or false (true)")
    setting(command, "--mqtt-session-expiry-s", "seconds that the broker keeps it (0)", metavar="S")
    setting(command, "--mqtt-receive-maximum", "QoS 1 messages under way at once (65535)", metavar="N")
    setting(command, "--mqtt-on-demand", "subscribe only to what sockets watch: true or false (false)")
    setting(command, "--mqtt-linger-s", "with it, seconds until what nobody watches is taken back (30)")
    setting(command, "--mqtt-qos", "0, or 1 for a kept session (0)", metavar="N")


def _add_secret_flags(command: argparse.ArgumentParser) -> None:
    add_config_flag(command)
    setting(command, "--jwt-secret-file", "HS256 secret, at least 32 bytes; or HERMES_JWT_SECRET")
    setting(command, "--jwt-issuer", "the iss claim that tokens must have")
    setting(command, "--jwt-audience", "the aud claim that tokens must have")
    setting(command, "--claim-tenant", "the claim that names the tenant (tenant_id)")


def add_token_flags(command: argparse.ArgumentParser) -> None:
    """Of ``hermes token``."""
    _add_secret_flags(command)
    command.add_argument("--user", type=claim, required=True, metavar="ID", help="the user_id claim")
    command.add_argument("--username", type=claim, metavar="NAME", help="the username claim (user-ID)")
    command.add_argument("--tenant", type=claim, metavar="ID", help="the tenant claim")
    command.add_argument("--superuser", action="store_true", help="may open every tenant and device")
    command.add_argument(
        "--ttl", type=duration_s, default=3_600.0, metavar="TIME", help="30s, 15m, 1h, 7d or never (1h)"
    )


def add_notify_flags(command: argparse.ArgumentParser) -> None:
    """Of ``hermes notify``."""
    _add_client_flags(command)
    setting(command, "--api-key-file", "file with the key; else the one that --dev keeps")
    addressee = command.add_mutually_exclusive_group(required=True)
    addressee.add_argument("--user", type=claim, metavar="ID", help="whom to notify")
    addressee.add_argument("--tenant", type=claim, metavar="ID", help="broadcast to this tenant's /ws sockets")
    command.add_argument("--title", required=True)
    command.add_argument("--message", required=True)
    command.add_argument("--type", default="info", choices=("info", "warning", "error", "success"))


def add_listen_flags(command: argparse.ArgumentParser) -> None:
    """Of ``hermes listen``."""
    _add_client_flags(command)
    _add_secret_flags(command)
    setting(command, "--token-file", "file with the token (or HERMES_TOKEN)")
    command.add_argument(
        "--user", type=claim, metavar="ID", help="without a token: whose to sign with the kept --dev secret (123)"
    )
    command.add_argument("target", help="notifications, tenant/ID, device/ID, or all for /ws")


def add_device_flags(command: argparse.ArgumentParser) -> None:
    """Of ``hermes device``; what follows them is in `hermes.cli.device`."""
    add_config_flag(command)
    setting(command, "--broker-state-dir", "folder of the accounts, as hermes serve has it")


def add_config_flag(command: argparse.ArgumentParser) -> None:
    """Of every command that reads settings."""
    setting(command, "--config", "TOML file with the same names (HERMES_CONFIG)")


def add_topic_flag(command: argparse.ArgumentParser) -> None:
    """Of every command that maps topics."""
    setting(command, "--topic", "topic template or preset, repeatable (hermes)", "topics", action="append", metavar="T")


def _add_client_flags(command: argparse.ArgumentParser) -> None:
    setting(command, "--url", "where Hermes runs (HERMES_API_URL, http://127.0.0.1:8080)", "api_url")


def duration_s(text: str) -> float | None:
    """Seconds in ``90``, ``30s``, ``15m``, ``1h``, ``7d``; None for ``never``."""
    if text == "never":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 30s, 15m, 1h, 7d or never")
    seconds = float(match[1]) * UNITS_S[match[2]]
    if seconds > TTL_MAX_S:
        raise argparse.ArgumentTypeError(f"more than {TTL_MAX_S // UNITS_S['d']} days; write never instead")
    return seconds


def claim(text: str) -> str:
    """An id or a name; Hermes refuses tokens and notifications where it is empty or not UTF-8."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("must be UTF-8 text") from None
    return text
