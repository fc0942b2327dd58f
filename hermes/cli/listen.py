"""``hermes listen``: print the frames of a socket, one per line."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from functools import partial

from hermes import log
from hermes.auth.claims import ClaimNames, claim_at
from hermes.cli.arguments import add_setting_flags, claim, given
from hermes.cli.token import token_settings
from hermes.client import HermesClient, Reconnect, claims_of, socket_url
from hermes.dev.demo_users import ROOT
from hermes.errors import ConfigError
from hermes.ids import id_text
from hermes.log import UNPRINTABLE, printable
from hermes.settings.load import load
from hermes.settings.model import ClientSettings, TokenSettings

OWN_TOKEN_TTL_S = 86_400

EXAMPLES = """\
examples:
  hermes listen notifications
  hermes listen tenant/acme
  hermes listen device/climate-01 --token-file token
  hermes listen notifications --since 0
  hermes listen all | jq .data

With the token of a superuser, all is the devices of every tenant (the route /ws/tenants); with another token it is
what its user may see: the devices and broadcasts of one tenant, and the user's notifications (combined, the route /ws).

Frames are printed to standard output, one per line; messages about the connection to standard error. When the
connection ends, it reconnects. Without --token-file and HERMES_TOKEN it signs a token of a superuser, with the secret
of the flags below or of hermes serve --dev on this machine."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the target, the settings of the client, and those for signing."""
    parser.add_argument(
        "target", type=_target, metavar="TARGET", help="notifications, tenant/ID, device/ID, tenants, combined or all"
    )
    parser.add_argument(
        "--user",
        type=claim,
        default="123",
        metavar="ID",
        help="without a token: sign one for this user (default: %(default)s)",
    )
    parser.add_argument(
        "--since",
        metavar="POSITION",
        help="resume at this position of the inbox, 0 for its beginning: only notifications and combined have rows",
    )
    add_setting_flags(
        parser, ClientSettings, TokenSettings, only={"api_url", "token_file", "ca_file", *TokenSettings.model_fields}
    )


def _target(text: str) -> str:
    try:
        socket_url("http://any", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def run(options: argparse.Namespace) -> int:
    """Print frames until Ctrl-C."""
    log.quiet_client()
    settings = load(ClientSettings, given(options))
    token = settings.bearer or _own_token(options)
    target = options.target
    if target == "all":
        target, shown = _all(token, token_settings(given(options)).claim_names)
        print(f"hermes listen: {shown}", file=sys.stderr)
    client = HermesClient(settings.api_url, token=token, tls=settings.tls)
    asyncio.run(_print_frames(client, target, options.since))
    return 0


def _own_token(options: argparse.Namespace) -> Callable[[], str]:
    """Return a function that signs a token of a superuser.

    Raises `ConfigError` without a secret.
    """
    settings = token_settings(given(options))
    if settings.secret is None:
        raise ConfigError(["no token: give --token-file FILE or set HERMES_TOKEN; hermes token prints one"])
    print(f"hermes listen: no token given; signing one for user {options.user}, superuser", file=sys.stderr)
    return partial(
        settings.token_signer.sign,
        user_id=options.user,
        username=ROOT.username,
        tenant_id=ROOT.tenant_id,
        is_superuser=True,
        ttl_s=OWN_TOKEN_TTL_S,
    )


def _all(token: str | Callable[[], str], names: ClaimNames) -> tuple[str, str]:
    """Return the target that ``all`` is with this token, and what it shows.

    The signature of the token is not checked.
    """
    claims = claims_of(token if isinstance(token, str) else token())
    if names.superuser.holds(claims):
        return "tenants", "showing the devices of all tenants"
    tenant_id, user_id = (id_text(claim_at(claims, name)) for name in (names.tenant, names.user))
    devices = "no devices, because it has no tenant," if tenant_id is None else f"the devices of tenant {tenant_id}"
    shown = f"showing {devices} and the notifications of user {user_id}"
    return "combined", f"the token is not a superuser's: {printable(shown)}"


async def _print_frames(client: HermesClient, target: str, since: str | None) -> None:
    async for text in client.listen_text(target, since=since, on_reconnect=_report):
        print(one_line(text), flush=True)


def one_line(frame: str) -> str:
    """Return a frame as one line that cannot control the terminal.

    Its JSON value stays the same. White space between the tokens becomes blanks. Other unprintable characters stand in
    strings only (RFC 8259 §7), and become escapes.
    """
    if frame.isprintable():
        return frame
    return UNPRINTABLE.sub(lambda found: " " if found[0] in "\n\r\t" else json.dumps(found[0])[1:-1], frame)


def _report(reconnect: Reconnect) -> None:
    print(
        f"hermes listen: {printable(reconnect.reason)}; next attempt in {reconnect.wait_s:.1f} s",
        file=sys.stderr,
        flush=True,
    )
