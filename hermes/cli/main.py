"""Floor 4: the ``hermes`` command. argparse reads words, `hermes.config` makes sense of them.

Exit codes: 0 done, 1 it failed, 2 the words or the settings are wrong.
"""

import argparse
import asyncio
import gc
import json
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from hermes import __version__, log
from hermes.cli import arguments as cli_flags
from hermes.cli import device as device_command
from hermes.cli import topics as explain
from hermes.cli.arguments import given
from hermes.cli.check import check, topic_faults
from hermes.cli.listen import listen, socket_url
from hermes.dev.banner import Running, welcome
from hermes.dev.demo_users import ROOT
from hermes.dev.secrets import DevSecrets
from hermes.errors import ConfigError, HermesError
from hermes.gateway import Gateway
from hermes.server import raise_file_limit, wait_for_stop_signal
from hermes.settings.folders import state_folder
from hermes.settings.load import load
from hermes.settings.model import ClientSettings, DeviceSettings, Settings, TokenSettings, TopicSettings

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 10.0

Command = Callable[[argparse.Namespace], int]
Words = Callable[[argparse.ArgumentParser], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = make_parser().parse_args(arguments)
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
    settings = serve_settings(given(options))
    if faults := topic_faults(settings):
        raise ConfigError(faults)
    log.set_up(settings.log_level, settings.secrets)
    raise_file_limit()
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
    async with Gateway(settings) as gateway:
        tune_gc()
        print(f"{_greeting(gateway)}\n", end="", flush=True)  # one write: the log may share the terminal
        await wait_for_stop_signal()
        logger.info("stopping")


def tune_gc() -> None:
    """What is loaded stays: it need not be looked through each time. And look less often than every 700 objects, which
    is seven sockets: it took 6 % of the time of a reconnect storm, and is most of its 99th percentile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _greeting(gateway: Gateway) -> str:
    settings = gateway.settings
    if not settings.dev:
        return f"Hermes {__version__} on {gateway.url}"
    return welcome(
        Running(
            url=gateway.url,
            api_key=settings.api_keys[0],
            mint=settings.token_signer,
            broker_port=None if gateway.broker is None else gateway.broker.port,
            devices=len(gateway.device_ids),
            accounts=settings.broker_listen is not None,
            command=sys.argv[0] if Path(sys.argv[0]).name == "hermes" else "hermes",
            why=", ".join(gateway.link.missing) or f"the broker is {settings.broker_name}",
        )
    )


def serve_settings(flags: dict[str, Any]) -> Settings:
    """The settings to serve with; in ``--dev`` with the kept secret and key where none is given."""
    settings = load(Settings, flags)
    if not settings.dev:
        return settings
    kept: dict[str, Any] = {}
    state = DevSecrets(state_folder())
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
        _token_settings(options).token_signer.sign(
            user_id=options.user,
            username=options.username or f"user-{options.user}",
            tenant_id=options.tenant,
            is_superuser=options.superuser,
            ttl_s=options.ttl,
        )
    )
    return 0


def _token_settings(options: argparse.Namespace) -> TokenSettings:
    settings = load(TokenSettings, given(options))
    state = DevSecrets(state_folder())
    if settings.secret is None and state.exists:
        return settings.model_copy(update={"jwt_secret_file": state.secret_file})
    return settings


def _notify(options: argparse.Namespace) -> int:
    settings = load(ClientSettings, given(options))
    addressee = {"user_id": options.user} if options.user else {"tenant_id": options.tenant}
    notice = addressee | {"title": options.title, "message": options.message, "type": options.type}
    answer = asyncio.run(_post_notice(settings, notice))
    print(json.dumps(answer))
    return 0 if answer.get("status") == "success" else 1


async def _post_notice(settings: ClientSettings, notice: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    state = DevSecrets(state_folder())
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
    settings = load(ClientSettings, given(options))
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
    return settings.token_signer.sign(
        user_id=user_id, username=ROOT.username, tenant_id=ROOT.tenant_id, is_superuser=True, ttl_s=86_400
    )


def _device(options: argparse.Namespace) -> int:
    return device_command.run(options, load(DeviceSettings, given(options)).accounts_folder)


def _topics(options: argparse.Namespace) -> int:
    return explain.run(options, load(TopicSettings, given(options)).topics)


def _check(options: argparse.Namespace) -> int:
    settings = serve_settings(given(options))
    log.set_up("error", settings.secrets)  # it says itself what is wrong; only a fault of Hermes' own comes beside that
    return asyncio.run(check(settings))


# -- their words, of which `hermes.cli.arguments` has the most
# ------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    """What may be written behind ``hermes``."""
    parser = argparse.ArgumentParser(
        prog="hermes", description="The gateway between an on-prem site's MQTT devices and its browsers."
    )
    parser.add_argument("--version", action="version", version=f"hermes {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = partial(_command, commands)
    add("serve", _serve, "run the gateway", cli_flags.add_serve_flags, cli_flags.SERVE_EXAMPLES)
    add("token", _token, "print a signed JWT", cli_flags.add_token_flags, cli_flags.TOKEN_EXAMPLES)
    add("notify", _notify, "send a notification", cli_flags.add_notify_flags, cli_flags.NOTIFY_EXAMPLES)
    add("listen", _listen, "print a socket's frames", cli_flags.add_listen_flags, cli_flags.LISTEN_EXAMPLES)
    add("device", _device, "let devices into the embedded broker", _add_device_words, device_command.EXAMPLES)
    add("topics", _topics, "explain what becomes of a topic", explain.add_words, explain.EXAMPLES)
    add("check", _check, "look at settings, files and broker; say what to mend", cli_flags.add_serve_flags)
    return parser


def _add_device_words(command: argparse.ArgumentParser) -> None:
    cli_flags.add_device_flags(command)
    device_command.add_words(command)


def _command(commands: Any, name: str, run: Command, summary: str, add_words: Words, examples: str = "") -> None:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(command=run)
    add_words(command)
