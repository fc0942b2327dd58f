"""``hermes device add|list|remove``: accounts of devices at the embedded broker.

It only writes the file of the accounts; a running Hermes notices the change and reloads its broker.
"""

import argparse
import contextlib
import ipaddress
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hermes.broker.accounts import Account, AccountsFile, advice, parse_account
from hermes.broker.acl import AclBuilder
from hermes.broker.device_listener import NOTE_NAME, NOTE_VERSION
from hermes.cli.arguments import add_setting_flags, given
from hermes.errors import AccountError, TemplateError
from hermes.settings import private_file
from hermes.settings.load import load
from hermes.settings.model import DeviceSettings
from hermes.topics.topic_map import TopicMap

EXAMPLES = """\
examples:
  hermes device add acme/climate-01
      print the user and the password, this once, and a command to test them
  hermes device list
  hermes device remove acme/climate-01
  sudo /opt/hermes/bin/hermes device --broker-state-dir /var/lib/hermes/broker add acme/climate-01
      if Hermes runs as the systemd service

A running hermes serve --broker-listen with the same folder applies a change within seconds."""

NOT_USED = (
    "hermes device: no Hermes has used the folder {} yet; "
    "start it with --broker-listen and this folder (--broker-state-dir)"
)

VERBS = {
    "add": "create an account and print its password, once",
    "list": "print every account",
    "remove": "delete an account",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the settings, then a parser for each verb."""
    add_setting_flags(parser, DeviceSettings)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, dest="verb")
    for verb, text in VERBS.items():
        command = verbs.add_parser(verb, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        if verb != "list":
            command.add_argument(
                "device", metavar="TENANT/DEVICE", help="tenant id and device id, as in acme/climate-01"
            )


def run(options: argparse.Namespace) -> int:
    """Run the verb. Raises `AccountError`."""
    accounts = AccountsFile(load(DeviceSettings, given(options)).accounts_folder)
    if options.verb == "list":
        return _list(accounts)
    account = parse_account(options.device)
    if options.verb == "remove":
        accounts.remove(account)
        return 0
    return _add(accounts, account)


def _list(accounts: AccountsFile) -> int:
    for account in sorted(accounts.read()):
        print(account if account.user == str(account) else f"{account}\tuser {account.user}")
    return 0


def _add(accounts: AccountsFile, account: Account) -> int:
    note = _note(accounts.folder)
    filters = _filters(note, account)
    password = accounts.add(account)
    if note is None:
        print(NOT_USED.format(accounts.folder), file=sys.stderr)
    print("\n".join(_lines(account, password, note or {}, filters)))
    return 0


def _lines(account: Account, password: str, note: Mapping[str, Any], filters: tuple[str, ...]) -> Iterator[str]:
    yield f"user      {account.user}"
    yield f"password  {password}"
    for text in filters:
        yield f"topic     {text}"
    yield ""
    yield "The password is not shown again. To test it, let mosquitto_pub read it from a file, because others can see"
    yield "arguments in ps. Run the first line, paste the second, end with Ctrl-D, and run the last line:"
    yield "  mkdir -p ~/.config && (umask 077; cat > ~/.config/mosquitto_pub)"
    yield f"  -P {password}"
    yield f"  {_publish_line(account, note, filters)}"


def _publish_line(account: Account, note: Mapping[str, Any], filters: tuple[str, ...]) -> str:
    host, _, port = str(note.get("listen", "GATEWAY:1883")).rpartition(":")
    words = ["mosquitto_pub", "-h", _host(host), "-p", port]
    if note.get("tls"):
        words += ["--cafile", "ca.pem"]
    words += ["-u", account.user, "-t", _topic(filters), "-m", '{"value":21.5}']
    return shlex.join(words)


def _host(listening: str) -> str:
    """Return the host to connect to, or GATEWAY if it listens on all addresses."""
    bare = listening.strip("[]")
    with contextlib.suppress(ValueError):
        if not ipaddress.ip_address(bare).is_unspecified:
            return bare
    return "GATEWAY"


def _topic(filters: tuple[str, ...]) -> str:
    """Return a topic of the device, to test it."""
    text = next(iter(filters), "TOPIC")
    return "/".join("test" if level in ("+", "#") else level for level in text.split("/"))


def _filters(note: Mapping[str, Any] | None, account: Account) -> tuple[str, ...]:
    """Return the filters of the device by the templates of the note.

    Raises `AccountError` if there are none.
    """
    try:
        topics = TopicMap([str(text) for text in note["topics"]]) if note else None
    except (KeyError, TypeError, TemplateError):
        topics = None  # written by another version
    return () if topics is None else AclBuilder(topics).filters(account)


def _note(folder: Path) -> Mapping[str, Any] | None:
    """Return what the Hermes that uses this folder wrote about itself."""
    try:
        note = json.loads((folder / NOTE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccountError(f"cannot read {folder / NOTE_NAME}: {error.strerror}; {advice(error)}") from None
    except ValueError:
        return None
    if not isinstance(note, dict):
        return None
    version = note.get("version", NOTE_VERSION)
    if isinstance(version, int):
        private_file.check_version(folder / NOTE_NAME, version, known=NOTE_VERSION)
    return note
