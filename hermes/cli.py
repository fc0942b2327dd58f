"""Floor 4: the ``hermes`` command. argparse reads words, `hermes.config` makes sense of them.

Exit codes: 0 done, 1 it failed, 2 the words or the settings are wrong.
"""

import argparse
import asyncio
import gc
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from hermes import __version__, device_command, log
from hermes.check import check
from hermes.config import ClientSettings, DeviceSettings, Settings, TokenSettings, load, state_folder
from hermes.dev.people import ROOT
from hermes.dev.state import DevState
from hermes.dev.welcome import Running, welcome
from hermes.errors import ConfigError, HermesError
from hermes.listen import listen, socket_url
from hermes.server import Server

REQUEST_TIMEOUT_S = 10.0
TTL_MAX_S = 36_525 * 86_400  # a hundred years: beyond it a date is a slip, and at last no number
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except ConfigError as error:
        for fault in error.faults:
            print(f"hermes: {fault}", file=sys.stderr)
        return 2
    except HermesError as error:
        print(f"hermes: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0


# -- the commands -----------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    settings = serve_settings(_given(options))
    log.set_up(settings.log_level, [settings.mint.secret, *settings.api_keys])
    with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
        runner.run(_serve_until_stopped(settings))
    return 0


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """None is asyncio's own loop. The import waits until it is asked for: uvloop is an extra."""
    if not settings.uvloop:
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve_until_stopped(settings: Settings) -> None:
    server = Server(settings)
    await server.start()
    _spare_the_collector()
    print(_greeting(server), flush=True)
    await server.run()


def _spare_the_collector() -> None:
    """What is loaded stays: it need not be looked through each time. And look less often than every 700 objects, which
    is seven sockets: it took 6 % of the time of a reconnect storm, and is most of its 99th percentile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _greeting(server: Server) -> str:
    settings = server.settings
    if not settings.dev:
        return f"Hermes {__version__} on {server.url}"
    return welcome(
        Running(
            url=server.url,
            api_key=settings.api_keys[0],
            mint=settings.mint,
            broker_port=None if server.broker is None else server.broker.port,
            devices=len(server.device_ids),
            accounts=settings.broker_listen is not None,
            command=sys.argv[0] if Path(sys.argv[0]).name == "hermes" else "hermes",
            why=", ".join(server.link.missing) or f"the broker is {settings.broker_url}",
        )
    )


def serve_settings(given: dict[str, Any]) -> Settings:
    """The settings to serve with; in ``--dev`` with the kept secret and key where none is given."""
    settings = load(Settings, given)
    if not settings.dev:
        return settings
    kept: dict[str, Any] = {}
    state = DevState(state_folder())
    if settings.secret is None:
        kept["jwt_secret_file"] = state.secret_file
    if not settings.api_keys:
        kept["api_key_file"] = state.key_file
    if kept:
        try:
            state.ensure()
        except OSError as error:
            raise HermesError(f"cannot keep secrets in {state.folder}: {error.strerror}; set XDG_STATE_HOME") from None
    return settings.model_copy(update=kept)


def _token(options: argparse.Namespace) -> int:
    print(
        _token_settings(options).mint.token(
            user_id=options.user,
            username=options.username or f"user-{options.user}",
            tenant_id=options.tenant,
            is_superuser=options.superuser,
            ttl_s=options.ttl,
        )
    )
    return 0


def _token_settings(options: argparse.Namespace) -> TokenSettings:
    settings = load(TokenSettings, _given(options))
    state = DevState(state_folder())
    if settings.secret is None and state.exists:
        return settings.model_copy(update={"jwt_secret_file": state.secret_file})
    return settings


def _notify(options: argparse.Namespace) -> int:
    settings = load(ClientSettings, _given(options))
    addressee = {"user_id": options.user} if options.user else {"tenant_id": options.tenant}
    notice = addressee | {"title": options.title, "message": options.message, "type": options.type}
    answer = asyncio.run(_post_notice(settings, notice))
    print(json.dumps(answer))
    return 0 if answer.get("status") == "success" else 1


async def _post_notice(settings: ClientSettings, notice: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    state = DevState(state_folder())
    key = settings.api_key or (state.key_file.read_text().strip() if state.exists else None)
    if key is not None:
        headers["X-API-Key"] = key
    url = f"{settings.api_url.rstrip('/')}/notify"
    try:
        request = HTTPRequest(
            url, method="POST", headers=headers, body=json.dumps(notice), request_timeout=REQUEST_TIMEOUT_S
        )
        response = await AsyncHTTPClient().fetch(request, raise_error=False)
        answer = json.loads(response.body)
    except (OSError, ValueError, HTTPClientError) as error:
        raise HermesError(f"no answer from {url}: {error}; is Hermes running there? (--url)") from None
    if not isinstance(answer, dict):
        raise HermesError(f"what answers at {url} is not Hermes (--url)")
    return answer


def _listen(options: argparse.Namespace) -> int:
    settings = load(ClientSettings, _given(options))
    url = socket_url(settings.api_url, options.target)
    asyncio.run(listen(url, settings.bearer or _own_token(options)))
    return 0


def _own_token(options: argparse.Namespace) -> str:
    """A token of the kept ``--dev`` secret, for who gave none."""
    settings = _token_settings(options)
    if settings.secret is None:
        raise ConfigError(["no token: give --token-file FILE or set HERMES_TOKEN; hermes token makes one"])
    user_id = options.user or "123"
    print(f"hermes listen: no token given; signed one for user {user_id}, superuser", file=sys.stderr)
    return settings.mint.token(
        user_id=user_id, username=ROOT.username, tenant_id=ROOT.tenant_id, is_superuser=True, ttl_s=86_400
    )


def _device(options: argparse.Namespace) -> int:
    return device_command.run(options, load(DeviceSettings, _given(options)).folder)


def _check(options: argparse.Namespace) -> int:
    settings = serve_settings(_given(options))
    return asyncio.run(check(settings))


# -- their words ------------------------------------------------------------------------------------------------

_SERVE_EXAMPLES = """examples:
  hermes serve --dev
      try it out: own broker, simulated devices, ready tokens; this machine only
  hermes serve --jwt-secret-file /etc/hermes/jwt-secret --api-key-file /etc/hermes/api-keys --host 0.0.0.0
  hermes serve --config /etc/hermes/hermes.toml
  hermes serve --topic chirpstack --topic 'plant/{tenant_id}/{device_id}/{series...}' ...

every flag has a variable, HERMES_PORT for --port, and a TOML key, port; flags win, then variables, then the file"""

_TOKEN_EXAMPLES = """examples:
  hermes token --user 123 --username ana --tenant acme --ttl 1h
  hermes token --user 1 --username root --superuser --jwt-secret-file /etc/hermes/jwt-secret

without a secret, the one that hermes serve --dev keeps on this machine signs"""

_NOTIFY_EXAMPLES = """examples:
  hermes notify --user 123 --title 'New alert' --message 'Sensor X is hot' --type warning
  hermes notify --tenant acme --title Maintenance --message 'Back at 14:00'

prints the answer; "sent":false means that nobody had a socket open"""

_LISTEN_EXAMPLES = """examples:
  hermes listen notifications
  hermes listen tenant/acme
  hermes listen device/climate-01 --token-file token
  hermes listen all | jq .data

frames go to standard output, one a line; what happens to the connection to standard error"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hermes", description="The gateway between an on-prem site's MQTT devices and its browsers."
    )
    parser.add_argument("--version", action="version", version=f"hermes {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = _command(commands, "serve", _serve, "run the gateway", _SERVE_EXAMPLES)
    _add_serve_flags(serve)
    token = _command(commands, "token", _token, "print a signed JWT", _TOKEN_EXAMPLES)
    _add_token_flags(token)
    notify = _command(commands, "notify", _notify, "send a notification", _NOTIFY_EXAMPLES)
    _add_notify_flags(notify)
    listening = _command(commands, "listen", _listen, "print a socket's frames", _LISTEN_EXAMPLES)
    _add_listen_flags(listening)
    device = _command(
        commands, "device", _device, "let devices into the embedded broker, or out", device_command.EXAMPLES
    )
    _add_device_flags(device)
    checking = _command(commands, "check", _check, "look at settings, files and broker; say what to mend", "")
    _add_serve_flags(checking)
    return parser


def _command(commands: Any, name: str, run: Command, summary: str, examples: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(command=run)
    return command


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """What the user wrote for the settings: the attributes whose names begin with ``set_``."""
    return {
        name.removeprefix("set_"): value
        for name, value in vars(options).items()
        if name.startswith("set_") and value is not None
    }


def _setting(command: argparse.ArgumentParser, flag: str, text: str, name: str | None = None, **more: Any) -> None:
    field = name or flag.removeprefix("--").replace("-", "_")
    if "action" not in more:
        more.setdefault("metavar", flag.rpartition("-")[2].upper())
    command.add_argument(flag, dest=f"set_{field}", help=text, default=None, **more)


def _add_serve_flags(command: argparse.ArgumentParser) -> None:
    _setting(
        command,
        "--dev",
        "try Hermes out on this machine: makes and keeps secrets",
        action="store_const",
        const="true",
    )
    _setting(command, "--host", "address to listen on (127.0.0.1)")
    _setting(command, "--port", "port; 0 picks a free one (8080)")
    _add_secret_flags(command)
    _setting(command, "--api-key-file", "keys that may call /notify, one a line")
    _setting(
        command,
        "--mqtt-url",
        "mqtt://HOST, mqtts://, ws://, wss://, unix:///PATH, embedded or off (mqtt://127.0.0.1:1883; --dev: embedded)",
    )
    _add_link_flags(command)
    _setting(command, "--broker-listen", "ADDRESS:PORT where devices with an account reach the embedded broker (none)")
    _setting(command, "--broker-cert-file", "its certificate and chain, PEM; with it devices speak TLS")
    _setting(command, "--broker-key-file", "that certificate's key")
    _setting(command, "--broker-state-dir", "folder of the device accounts (see hermes device)")
    _setting(
        command,
        "--topic",
        "topic template or preset, repeatable (hermes)",
        "topics",
        action="append",
        metavar="T",
    )
    _setting(
        command,
        "--origin",
        "origin of pages that may open sockets, repeatable; *: all",
        "origins",
        action="append",
        metavar="O",
    )
    _setting(command, "--ping-interval-s", "seconds between pings of a socket (25)")
    _setting(command, "--ping-timeout-s", "seconds after which a silent socket is dropped (20)")
    _setting(command, "--drain-timeout-s", "seconds that stopping waits for sockets (10)")
    _setting(command, "--outbox-max-bytes", "what may wait for one slow socket (1048576)")
    _setting(command, "--outbox-max-messages", "the same in messages (1000)")
    _setting(command, "--snapshot-max-values", "last values to remember for sockets that open (100000)")
    _setting(command, "--snapshot-max-bytes", "about how much memory for them (134217728)")
    _setting(command, "--snapshot-max-age-s", "seconds after which a value that was not renewed is forgotten (604800)")
    _setting(command, "--max-sockets", "sockets at once (by the limit of open files)")
    _setting(command, "--compress", "offer permessage-deflate: true or false (true)")
    _setting(command, "--uvloop", "use the event loop of the extra uvloop: true or false (false)")
    _setting(command, "--log-level", "debug, info, warning or error (info)")


def _add_link_flags(command: argparse.ArgumentParser) -> None:
    _setting(command, "--mqtt-username", "user at the broker", metavar="NAME")
    _setting(command, "--mqtt-password-file", "file with the password for it")
    _setting(command, "--mqtt-ca-file", "certificates to trust for mqtts:// and wss:// (the system's)")
    _setting(command, "--mqtt-cert-file", "certificate to show to the broker")
    _setting(command, "--mqtt-key-file", "its key, without a password")
    _setting(command, "--mqtt-alpn", "TLS protocol name to ask for, repeatable", action="append", metavar="NAME")
    _setting(command, "--mqtt-client-id", "the name of this client (a new one at each start)", metavar="NAME")
    _setting(command, "--mqtt-keepalive-s", "seconds; a silent broker is noticed within twice this (30)")
    _setting(command, "--mqtt-clean-start", "false asks the broker to keep the session: true or false (true)")
    _setting(command, "--mqtt-session-expiry-s", "seconds that the broker keeps it (0)", metavar="S")
    _setting(command, "--mqtt-receive-maximum", "QoS 1 messages under way at once (65535)", metavar="N")
    _setting(command, "--mqtt-on-demand", "subscribe only to what sockets watch: true or false (false)")
    _setting(command, "--mqtt-linger-s", "with it, seconds until what nobody watches is taken back (30)")
    _setting(command, "--mqtt-qos", "0, or 1 for a kept session (0)", metavar="N")


def _add_secret_flags(command: argparse.ArgumentParser) -> None:
    _setting(command, "--config", "TOML file with the same names (HERMES_CONFIG)")
    _setting(command, "--jwt-secret-file", "HS256 secret, at least 32 bytes; or HERMES_JWT_SECRET")
    _setting(command, "--jwt-issuer", "the iss claim that tokens must have")
    _setting(command, "--jwt-audience", "the aud claim that tokens must have")
    _setting(command, "--claim-tenant", "the claim that names the tenant (tenant_id)")


def _add_token_flags(command: argparse.ArgumentParser) -> None:
    _add_secret_flags(command)
    command.add_argument("--user", type=claim, required=True, metavar="ID", help="the user_id claim")
    command.add_argument("--username", type=claim, metavar="NAME", help="the username claim (user-ID)")
    command.add_argument("--tenant", type=claim, metavar="ID", help="the tenant claim")
    command.add_argument("--superuser", action="store_true", help="may open every tenant and device")
    command.add_argument(
        "--ttl", type=duration_s, default=3_600.0, metavar="TIME", help="30s, 15m, 1h, 7d or never (1h)"
    )


def _add_notify_flags(command: argparse.ArgumentParser) -> None:
    _add_client_flags(command)
    _setting(command, "--api-key-file", "file with the key; else the one that --dev keeps")
    addressee = command.add_mutually_exclusive_group(required=True)
    addressee.add_argument("--user", type=claim, metavar="ID", help="whom to notify")
    addressee.add_argument("--tenant", type=claim, metavar="ID", help="broadcast to this tenant's /ws sockets")
    command.add_argument("--title", required=True)
    command.add_argument("--message", required=True)
    command.add_argument("--type", default="info", choices=("info", "warning", "error", "success"))


def _add_listen_flags(command: argparse.ArgumentParser) -> None:
    _add_client_flags(command)
    _add_secret_flags(command)
    _setting(command, "--token-file", "file with the token (or HERMES_TOKEN)")
    command.add_argument(
        "--user", type=claim, metavar="ID", help="without a token: whose to sign with the kept --dev secret (123)"
    )
    command.add_argument("target", help="notifications, tenant/ID, device/ID, or all for /ws")


def _add_device_flags(command: argparse.ArgumentParser) -> None:
    _setting(command, "--config", "TOML file with the same names (HERMES_CONFIG)")
    _setting(command, "--broker-state-dir", "folder of the accounts, as hermes serve has it")
    device_command.add_words(command)


def _add_client_flags(command: argparse.ArgumentParser) -> None:
    _setting(command, "--url", "where Hermes runs (HERMES_API_URL, http://127.0.0.1:8080)", "api_url")


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


if __name__ == "__main__":
    sys.exit(main())
