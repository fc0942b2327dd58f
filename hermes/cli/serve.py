"""``hermes serve``: run the gateway."""

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from hermes import __version__, log
from hermes.appliance.notify_socket import NotifySocket
from hermes.appliance.supervision import Supervision
from hermes.cli.arguments import add_setting_flags, given
from hermes.dev.banner import Running, banner
from hermes.dev.secrets import DevSecrets
from hermes.errors import ConfigError
from hermes.gateway import Gateway
from hermes.mqtt.feed import feed_problems
from hermes.server import raise_file_limit, reload_event, stop_event
from hermes.settings.folders import state_folder
from hermes.settings.load import environment_warnings, load
from hermes.settings.model import Settings
from hermes.settings.rules import warnings

logger = logging.getLogger(__name__)

# Collections of new objects are short: 5,000 are about 50 sockets. That of all objects, which takes a tenth of a
# second with 10,000 sockets, is rare: Hermes leaves no cycle when a socket, a connection or a request ends.
GC_THRESHOLDS = (5_000, 2, 1_000)

USAGE = "%(prog)s [FLAG]..."  # a list of all flags would be twenty lines

SOURCES = """\
Each flag has an environment variable (HERMES_PORT for --port) and a key in the TOML file (port). A flag overrides the
variable, which overrides the file. A secret is never a flag: HERMES_JWT_SECRET is a variable only."""

EXAMPLES = f"""\
examples:
  hermes serve --dev
      try Hermes out on this machine: own broker, simulated devices, ready tokens
  hermes serve --jwt-secret-file /etc/hermes/jwt-secret --api-key-file /etc/hermes/api-keys --host 0.0.0.0
  hermes serve --config /etc/hermes/hermes.toml
  hermes serve --topic chirpstack --topic 'plant/{{tenant_id}}/{{device_id}}/{{series...}}' …

{SOURCES}"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting."""
    parser.usage = USAGE
    add_setting_flags(parser, Settings)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = serve_settings(given(options))
    if problems := topic_problems(settings):
        raise ConfigError(problems)
    log.set_up(settings.log_level, settings.secrets)
    raise_file_limit()
    notify = NotifySocket.from_environment()
    with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
        runner.run(_serve_until_stopped(settings, notify, lambda: serve_settings(given(options))))
    return 0


def topic_problems(settings: Settings) -> list[str]:
    """Return what prevents the topics from being subscribed to."""
    return [] if settings.broker_kind == "off" else feed_problems(settings)


def serve_settings(flags: Mapping[str, object]) -> Settings:
    """Return the settings to serve with.

    ``--dev`` adds its stored secret and key if none is given.
    """
    settings = load(Settings, flags)
    if not settings.dev:
        return settings
    state = DevSecrets(state_folder())
    own: dict[str, object] = {}
    if settings.secret is None:
        own["jwt_secret_file"] = (state.secret_file,)
    if not settings.api_keys:
        own["api_key_file"] = state.key_file
    if own:
        try:
            state.ensure()
        except OSError as error:
            raise ConfigError(
                [f"cannot store secrets in {state.folder}: {error.strerror}; set XDG_STATE_HOME to a writable folder"]
            ) from None
    settings = settings.model_copy(update=own)
    problems = [line for name in own for line in settings.file_problems(name)]
    if problems and not settings.insecure_secret_files:
        raise ConfigError(problems)
    return settings


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop's event loop; None means asyncio's own."""
    if not settings.uvloop:
        return None
    import uvloop  # an extra

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve_until_stopped(
    settings: Settings, notify: NotifySocket | None, read_settings: Callable[[], Settings]
) -> None:
    for warning in (*warnings(settings), *environment_warnings()):
        logger.warning(warning)
    secrets = settings.secrets
    stopping = stop_event()
    reloading = reload_event()
    async with Gateway(settings) as gateway:
        supervision = Supervision(notify, status=lambda: gateway.status_line, answers=gateway.answers)
        tune_gc()
        _print(_greeting(gateway))
        supervision.start()
        reload = _reload(gateway, supervision, reloading, read_settings, secrets)
        reloads = asyncio.create_task(reload, name="hermes-reload")
        await stopping.wait()
        logger.info("stopping")
        reloads.cancel()
        await asyncio.gather(reloads, return_exceptions=True)
        await supervision.stop()


async def _reload(
    gateway: Gateway,
    supervision: Supervision,
    wanted: asyncio.Event,
    read_settings: Callable[[], Settings],
    secrets: tuple[str, ...],
) -> None:
    """Read the settings again whenever that is wanted.

    If they are invalid, nothing changes. ``secrets`` are those of the start: an old one may be in use to the end.
    """
    while True:
        await wanted.wait()
        wanted.clear()
        supervision.reloading()
        try:
            settings = read_settings()
            if problems := topic_problems(settings):
                raise ConfigError(problems)
            log.mask(settings.secrets)
            await gateway.reload(settings)
            secrets = tuple({*secrets, *settings.secrets})
            log.set_up(settings.log_level, secrets)
        except ConfigError as error:
            logger.error("reload: nothing is changed: %s", "; ".join(error.problems))
        except Exception:  # the top of a task: the next reload may work
            logger.exception("reload: failed")
        supervision.ready()


def _print(text: str) -> None:
    """Print the text; go on without standard output if the disk is full."""
    try:
        print(f"{text}\n", end="", flush=True)  # one write: the log may share the terminal
    except BrokenPipeError:
        raise
    except OSError as error:
        logger.warning("cannot write to standard output: %s", error.strerror)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())  # otherwise Python fails again when it flushes the text at its end
        os.close(nothing)


def tune_gc() -> None:
    """Exclude what is loaded from garbage collection, and collect less often.

    Collections took 6 % of the time of a reconnect storm, and most of its 99th percentile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _greeting(gateway: Gateway) -> str:
    settings = gateway.settings
    if not settings.dev:
        return f"Hermes {__version__} on {gateway.url}"
    return banner(
        Running(
            url=gateway.url,
            api_key=settings.api_keys[0].text,
            signer=settings.token_signer,
            broker_port=None if gateway.broker is None else gateway.broker.port,
            devices=len(gateway.device_ids),
            accounts=settings.broker_listen is not None,
            command=sys.argv[0] if Path(sys.argv[0]).name == "hermes" else "hermes",
            inbox="" if gateway.inbox is None else gateway.inbox.store.place,
            why=", ".join(gateway.link.missing) or f"the broker is {settings.broker_name}",
        )
    )
