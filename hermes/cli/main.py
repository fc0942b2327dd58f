"""The ``hermes`` command: finds the module of the given command and runs it.

Each command is a module of this folder with ``EXAMPLES``, ``add_flags(parser)`` and ``run(options)``, which returns the
exit code. Only modules of commands that occur among the arguments are imported: ``hermes --version`` needs neither
Tornado nor paho. Exit codes: 0 success, 1 failure, 2 invalid arguments or settings.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import import_module

from hermes.errors import ConfigError, HermesError

COMMANDS = {
    "serve": "run the gateway",
    "init": "create secrets and settings for the service",
    "status": "print the state of a running Hermes",
    "check": "test settings, files and broker, and report every problem",
    "token": "print a signed token (JWT)",
    "notify": "send a notification to a user or a tenant",
    "disconnect": "end the sockets of a user, a token or a tenant, and revoke their tokens",
    "listen": "print the frames that a browser would receive",
    "topics": "explain how an MQTT topic is mapped to a device",
    "device": "add, list or remove accounts for devices at the embedded broker",
    "inbox": "show, back up, restore or purge stored notifications",
    "licenses": "print the licences of Hermes and of everything in it",
    "sbom": "print the software bill of materials (CycloneDX)",
}
EPILOG = """\
hermes COMMAND --help describes a command and its flags.
Exit codes: 0 success, 1 failure, 2 invalid arguments or settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:  # None if it was closed
                sys.stdout.flush()
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # the reader has seen enough, as head does
        _discard_output()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        print(f"hermes: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1


def _run(words: Sequence[str]) -> int:
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


def _discard_output() -> None:
    """Let Python's last flush of standard output succeed."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


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
    parser.add_argument(
        "--version", action=_Version, help="print the versions of Hermes and of what it runs on, and exit"
    )
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


class _Version(argparse.Action):
    """Print the versions; they are collected only for this flag."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from hermes.appliance.version import version_report

        print(version_report())
        parser.exit()


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keep line breaks, and put each command and its summary on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def add_arguments(self, actions: Iterable[argparse.Action]) -> None:
        """Add arguments; argparse forgets that commands are indented by two more columns."""
        actions = list(actions)
        super().add_arguments(actions)
        if any(isinstance(action, argparse._SubParsersAction) for action in actions):
            self._action_max_length += 2
