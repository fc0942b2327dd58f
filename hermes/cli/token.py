"""``hermes token``: print a signed token, or write it into a private file."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from hermes.cli.arguments import add_setting_flags, claim, duration_s, given
from hermes.dev.secrets import DevSecrets
from hermes.errors import HermesError
from hermes.settings import private_file
from hermes.settings.folders import state_folder
from hermes.settings.load import load
from hermes.settings.model import TokenSettings

EXAMPLES = """\
examples:
  hermes token --user 123 --username ana --tenant acme --ttl 1h
  hermes token --user 1 --username root --superuser --jwt-secret-file /etc/hermes/jwt-secret
  hermes token --user 123 --output token && hermes listen notifications --token-file token

The secret is that of --jwt-secret-file or HERMES_JWT_SECRET; without either, that of hermes serve --dev on this
machine."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the claims and the settings for signing."""
    claims = parser.add_argument_group("claims")
    claims.add_argument("--user", type=claim, required=True, metavar="ID", help="the user_id claim (required)")
    claims.add_argument("--username", type=claim, metavar="NAME", help="the username claim (default: user-ID)")
    claims.add_argument("--tenant", type=claim, metavar="ID", help="the tenant claim (default: none)")
    claims.add_argument("--superuser", action="store_true", help="may watch every tenant and every device")
    claims.add_argument(
        "--ttl",
        type=duration_s,
        default=3_600.0,
        metavar="TIME",
        help="lifetime: 30s, 15m, 1h, 7d or never (default: 1h)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write it into this file, which only you can read, as --token-file requires (default: print it)",
    )
    add_setting_flags(parser, TokenSettings)


def run(options: argparse.Namespace) -> int:
    """Print or write the token."""
    signer = token_settings(given(options)).token_signer
    token = signer.sign(
        user_id=options.user,
        username=options.username or f"user-{options.user}",
        tenant_id=options.tenant,
        is_superuser=options.superuser,
        ttl_s=options.ttl,
    )
    if options.output is None:
        print(token)
        return 0
    try:
        private_file.write(options.output, f"{token}\n")
    except OSError as error:
        raise HermesError(f"cannot write {options.output}: {error.strerror}") from None
    return 0


def token_settings(flags: Mapping[str, object]) -> TokenSettings:
    """Return the settings for signing.

    Without a given secret they have the stored one of ``--dev``, if it exists.
    """
    settings = load(TokenSettings, flags)
    state = DevSecrets(state_folder())
    if settings.secret is None and state.exists:
        return settings.model_copy(update={"jwt_secret_file": (state.secret_file,)})
    return settings
