"""``hermes inbox stats|backup|restore|purge|migrate``: the stored notifications.

If a running Hermes has the file, the command asks it over HTTP; otherwise it opens the file itself. A database is used
directly.
"""

import argparse
import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from hermes.auth.api_keys import Scope
from hermes.cli.arguments import add_setting_flags, given
from hermes.client import HermesClient
from hermes.dev.secrets import stored_key
from hermes.errors import HermesError, RequestError
from hermes.ids import UserId
from hermes.inbox.inbox import InboxStats
from hermes.inbox.sqlite import offline
from hermes.inbox.sqlite.file_lock import InUse
from hermes.settings.folders import inbox_file
from hermes.settings.load import load, load_client
from hermes.settings.model import InboxCommandSettings
from hermes.settings.private_file import MODE

EXAMPLES = """\
examples:
  hermes inbox stats
  hermes inbox backup /backup/inbox.db
      while Hermes runs; the file must not exist yet
  hermes inbox restore /backup/inbox.db
      while Hermes does not run; clients see a gap
  hermes inbox purge --user 123
      remove everything that is stored about a user
  sudo -u hermes hermes inbox --inbox /var/lib/hermes/inbox.db stats
      if Hermes runs as the systemd service
  hermes inbox --inbox postgresql://owner@db.example/hermes migrate --grant hermes
      create the tables, for a Hermes that connects as the role hermes"""

INBOX_ONLY = ("inbox", "inbox_password_file")
INBOX_FLAGS = (*INBOX_ONLY, "api_url", "api_key_file", "ca_file")
DATABASE_TOOLS = {"backup": "pg_dump", "restore": "pg_restore"}
VERBS = {
    "stats": "print number, size and age of what is stored",
    "backup": "write a copy into a new file",
    "restore": "replace the inbox by a copy, while Hermes does not run",
    "purge": "remove everything about a user",
    "migrate": "create the tables in a database, or bring those of an older version up to date",
}
T = TypeVar("T")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the settings, then a parser for each verb."""
    add_setting_flags(parser, InboxCommandSettings, only=INBOX_FLAGS)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, dest="verb")
    for verb, text in VERBS.items():
        command = verbs.add_parser(verb, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        if verb in ("backup", "restore"):
            command.add_argument("file", metavar="FILE", help="the copy", type=Path)
        if verb == "purge":
            command.add_argument("--user", metavar="ID", help="id of the user", required=True)
        if verb == "migrate":
            command.add_argument(
                "--grant",
                metavar="ROLE",
                help="let this role use the tables; may be repeated",
                action="append",
                default=[],
            )


def run(options: argparse.Namespace) -> int:
    """Run the verb. Raises `HermesError`."""
    settings = load(InboxCommandSettings, given(options))
    if settings.inbox_url is not None:
        return _run_database(options, settings, settings.inbox_url)
    path = settings.inbox if isinstance(settings.inbox, Path) else inbox_file()
    if options.verb == "migrate":
        raise HermesError("a file is brought up to date when Hermes opens it: migrate is for --inbox postgresql://…")
    if options.verb == "restore":
        offline.restore(path, options.file)
        print(f"restored {path}; clients that come back see a gap")
        return 0
    if options.verb == "backup":
        _either(
            options,
            file=lambda: offline.back_up(path, options.file),
            running=lambda client: _download(client, options.file),
        )
        print(f"wrote {options.file}")
        return 0
    if options.verb == "purge":
        removed = _either(
            options,
            file=lambda: offline.purge(path, UserId(options.user)),
            running=lambda client: asyncio.run(client.purge_inbox(options.user)),
        )
        _print_removed(removed, options.user)
        return 0
    _print_stats(
        _either(
            options,
            file=lambda: vars_of(offline.stats(path)),
            running=lambda client: asyncio.run(client.inbox_stats()),
        )
    )
    return 0


def _run_database(options: argparse.Namespace, settings: InboxCommandSettings, url: str) -> int:
    """Run the verb with a database. Raises `HermesError`."""
    if options.verb in DATABASE_TOOLS:
        raise HermesError(f"this inbox is in PostgreSQL: {options.verb} it with {DATABASE_TOOLS[options.verb]}")
    from hermes.inbox.postgres import database  # it imports an extra
    from hermes.inbox.postgres.session import parameters_of

    parameters = parameters_of(url, settings.inbox_password)
    if options.verb == "migrate":
        before, after = database.migrate(parameters, grants=options.grant)
        print(f"the tables have version {after}" if before == after else f"version {before} → {after}")
        for role in options.grant:
            print(f"the role {role} may use them")
    elif options.verb == "purge":
        _print_removed(database.purge(parameters, UserId(options.user)), options.user)
    else:
        _print_stats(vars_of(database.stats(parameters)))
    return 0


def _print_removed(number: int, user: str) -> None:
    print(f"removed {number:,} notifications of user {user}")


def _print_stats(figures: Mapping[str, Any]) -> None:
    oldest = figures["oldest"]
    since = "-" if oldest is None else datetime.fromtimestamp(oldest / 1_000, UTC).isoformat(timespec="seconds")
    print(f"rows        {figures['rows']:,}")
    print(f"bytes       {figures['bytes']:,}")
    print(f"oldest      {since}")
    print(f"last number {figures['last_seq']:,}")
    print(f"epoch       {figures['epoch'] or '-'}")


def vars_of(stats: InboxStats) -> dict[str, Any]:
    """Return the figures by the names of ``GET /inbox/stats``."""
    return {
        "rows": stats.rows,
        "bytes": stats.bytes,
        "oldest": stats.oldest_ms,
        "last_seq": stats.last_seq,
        "epoch": stats.epoch,
    }


def _either(options: argparse.Namespace, *, file: Callable[[], T], running: Callable[[HermesClient], T]) -> T:
    """Use the file, or the running Hermes that has it."""
    try:
        return file()
    except InUse:
        settings = load_client({name: value for name, value in given(options).items() if name not in INBOX_ONLY})
        client = HermesClient(settings.api_url, api_key=settings.api_key(Scope.INBOX) or stored_key(), tls=settings.tls)
        try:
            return running(client)
        except RequestError as error:
            raise HermesError(f"{settings.api_url}: {error.message}; give --api-key-file") from None


def _download(client: HermesClient, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    except OSError as error:
        raise HermesError(f"cannot create {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        asyncio.run(client.back_up_inbox(file.write))
