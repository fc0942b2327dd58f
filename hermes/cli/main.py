"""The ``hermes`` command: finds the module of the given command and runs it.

Each command is a module of this folder with ``EXAMPLES``, ``add_flags(parser)`` and ``run(options)``, which returns the
exit code. Only modules of commands that occur among the arguments are imported: ``hermes --version`` needs neither
Tornado nor paho. Exit codes: 0 success, 1 failure, 2 invalid arguments or settings.
"""

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib import import_module

from hermes import __version__
from hermes.errors import ConfigError, HermesError

COMMANDS = {
    "serve": "run the gateway",
    "init": "create secrets and settings for the service",
    "status": "print the state of a running Hermes",
    "check": "test settings, files and broker, and report every problem",
    "token": "print a signed token (JWT)",
    "notify": "send a notification to a user or a tenant",
    "listen": "print the frames that a browser would receive",
    "topics": "explain how an MQTT topic is mapped to a device",
    "device": "add, list or remove accounts for devices at the embedded broker",
}
EPILOG = """\
hermes COMMAND --help describes a command and its flags.
Exit codes: 0 success, 1 failure, 2 invalid arguments or settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = make_parser([name for name in COMMANDS if name in words]).parse_args(words)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        for problem in error.problems:
            print(f"hermes: {problem}", file=sys.stderr)
        return error.exit_code
    except HermesError as error:
        print(f"hermes: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, BrokenPipeError):
        return 0


def make_parser(loaded: Collection[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Of commands that are not ``loaded`` it has the name and the summary only.
    """
    parser = argparse.ArgumentParser(
        prog="hermes",
        description="Gateway between the MQTT devices of a site and its browsers.",
        epilog=EPILOG,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"hermes {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name not in loaded:
            commands.add_parser(name, help=summary)
            continue
        module = import_module(f"hermes.cli.{name}")
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=module.EXAMPLES,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        command.set_defaults(command=module.run)
        module.add_flags(command)
    return parser


_Formatter = partial(argparse.RawDescriptionHelpFormatter, max_help_position=32)
