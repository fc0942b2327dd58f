"""``hermes notify``: send a notification."""

import argparse
import asyncio
import json
from typing import Any, get_args

from hermes import log
from hermes.auth.api_keys import Scope
from hermes.cli.arguments import add_setting_flags, claim, given
from hermes.client import HermesClient
from hermes.delivery.messages import Severity
from hermes.dev.secrets import stored_key
from hermes.errors import RequestError
from hermes.settings.load import load_client
from hermes.settings.model import ClientSettings

EXAMPLES = """\
examples:
  hermes notify --user 123 --title 'New alert' --message 'Sensor X is hot' --type warning
  hermes notify --tenant acme --title Maintenance --message 'Back at 14:00'
  hermes notify --user 123 --title Door --message Open --id door-7 --data '{"door": 7}' --require sent
  hermes notify --user 123 --title Door --message Open --ttl 3600 --wait acked --timeout 60

Prints the answer; "sent":false means that no open socket received it. The exit code is 0 if Hermes accepted the
notification, 1 if it refused it or, with --require sent, if no open socket received it. Without
--api-key-file, the key of hermes serve --dev on this machine is used."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the notification and the settings of the client."""
    notification = parser.add_argument_group("notification")
    recipient = notification.add_mutually_exclusive_group(required=True)
    recipient.add_argument("--user", type=claim, metavar="ID", help="notify this user")
    recipient.add_argument("--tenant", type=claim, metavar="ID", help="broadcast to the /ws sockets of this tenant")
    notification.add_argument("--title", required=True, metavar="TEXT", help="1 to 256 characters")
    notification.add_argument("--message", required=True, metavar="TEXT", help="up to 16,384 characters")
    notification.add_argument(
        "--type",
        default="info",
        choices=get_args(Severity),
        help="severity: info, warning, error or success (default: info)",
        metavar="TYPE",
    )
    notification.add_argument("--id", type=claim, metavar="ID", help="1 to 64 characters (default: made by Hermes)")
    notification.add_argument("--data", type=_json_object, metavar="JSON", help="a JSON object, delivered as it is")
    notification.add_argument(
        "--require",
        choices=("sent", "stored"),
        help="sent: exit with 1 if no open socket received it; stored: refuse it if the inbox cannot store it",
        metavar="WHAT",
    )
    inbox = parser.add_argument_group("with an inbox (hermes serve --inbox)")
    inbox.add_argument("--ttl", type=int, metavar="SECONDS", help="how long it is stored; 0 is not at all")
    inbox.add_argument("--replaces", type=claim, metavar="ID", help="withdraw the notification with this id")
    inbox.add_argument("--priority", type=int, metavar="N", help="1 to 5 (default: 3)")
    inbox.add_argument(
        "--wait", choices=("acked",), metavar="WHAT", help="acked: wait for an acknowledgement; exit with 1 without one"
    )
    inbox.add_argument("--timeout", type=int, default=20, metavar="SECONDS", help="of --wait, 1 to 60 (default: 20)")
    add_setting_flags(parser, ClientSettings, only=("api_url", "api_key_file", "ca_file"))


def _json_object(text: str) -> str:
    """Return the text of a JSON object."""
    try:
        value = json.loads(text.encode())  # bytes, because only they are checked to be UTF-8
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('not a JSON object; write one such as {"door": 7}')
    return text


def run(options: argparse.Namespace) -> int:
    """Send it and print the answer.

    Returns 1 if Hermes refuses it, if no socket received it and ``--require sent`` is given, or if it was not
    acknowledged with ``--wait acked``.
    """
    log.quiet_client()
    settings = load_client(given(options))
    client = HermesClient(settings.api_url, api_key=settings.api_key(Scope.NOTIFY) or stored_key(), tls=settings.tls)
    try:
        result = asyncio.run(
            client.notify(
                user_id=options.user,
                tenant_id=options.tenant,
                title=options.title,
                message=options.message,
                type=options.type,
                id=options.id,
                data=options.data,
                ttl_s=options.ttl,
                replaces=options.replaces,
                priority=options.priority,
                require="stored" if options.require == "stored" else None,
                wait_acked_s=options.timeout if options.wait else None,
            )
        )
    except RequestError as error:
        print(json.dumps(_refusal(error)))
        return 1
    print(json.dumps(result.answer))
    is_acked = not options.wait or result.answer.get("acked") is True
    return 0 if is_acked and (options.require != "sent" or result.sent) else 1


def _refusal(error: RequestError) -> dict[str, Any]:
    """Return the answer as Hermes sent it."""
    content = {"code": error.code, "message": error.message} | ({"fields": error.fields} if error.fields else {})
    return {"status": "error", "sent": False, "error": content}
