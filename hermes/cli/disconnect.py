"""``hermes disconnect``: end sockets and revoke tokens."""

import argparse
import asyncio
import json

from hermes import log
from hermes.auth.api_keys import Scope
from hermes.cli.arguments import add_setting_flags, claim, given
from hermes.client import HermesClient
from hermes.dev.secrets import stored_key
from hermes.errors import RequestError
from hermes.settings.load import load_client
from hermes.settings.model import ClientSettings

EXAMPLES = """\
examples:
  hermes disconnect --user 123 --reason 'left the company'
  hermes disconnect --token-id 5f2c --reason 'laptop stolen'
  hermes disconnect --tenant acme --no-revoke
      their clients reconnect within seconds
  hermes disconnect --user 123 --undo

Prints the answer. Tokens with an iat up to "revoked_until" are refused: sign the next token later. The API key needs
the scope disconnect; without --api-key-file, the key of hermes serve --dev on this machine is used."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the target and the settings of the client."""
    what = parser.add_argument_group("what to disconnect")
    target = what.add_mutually_exclusive_group(required=True)
    target.add_argument("--user", type=claim, metavar="ID", help="the user_id of the tokens")
    target.add_argument("--token-id", type=claim, metavar="ID", help="the jti of one token")
    target.add_argument("--tenant", type=claim, metavar="ID", help="the tenant of the tokens")
    what.add_argument("--reason", default="", metavar="TEXT", help="for the audit log, up to 256 characters")
    how = what.add_mutually_exclusive_group()
    how.add_argument("--no-revoke", action="store_true", help="only close the sockets; their clients reconnect")
    how.add_argument("--undo", action="store_true", help="accept the revoked tokens again")
    add_setting_flags(parser, ClientSettings, only=("api_url", "api_key_file", "ca_file"))


def run(options: argparse.Namespace) -> int:
    """Print the answer; 1 if Hermes refuses."""
    log.quiet_client()
    settings = load_client(given(options))
    key = settings.api_key(Scope.DISCONNECT) or stored_key()
    client = HermesClient(settings.api_url, api_key=key, tls=settings.tls)
    target = {"user_id": options.user, "token_id": options.token_id, "tenant_id": options.tenant}
    try:
        if options.undo:
            removed = asyncio.run(client.undo_disconnect(**target))
            print(json.dumps({"status": "success", "removed": removed}))
        else:
            done = asyncio.run(client.disconnect(**target, revoke=not options.no_revoke, reason=options.reason))
            print(json.dumps(done.answer))
    except RequestError as error:
        print(json.dumps(error_answer(error)))
        return 1
    return 0


def error_answer(error: RequestError) -> dict[str, object]:
    """Return the error as Hermes sent it."""
    content = {"code": error.code, "message": error.message} | ({"fields": error.fields} if error.fields else {})
    return {"status": "error", "error": content}
