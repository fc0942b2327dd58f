"""Where keys are fetched, and the discovery document of an issuer.

Source: OpenID Connect Discovery 1.0 §4.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from hermes.auth.claims import shown
from hermes.auth.keys import Source
from hermes.json_nesting import nested_too_deeply

WELL_KNOWN = "/.well-known/openid-configuration"
URL_MAX_CHARS = 2_048


@dataclass(frozen=True, slots=True)
class KeyLocation:
    """Where the keys of a source are: a JWK set at ``url``, or the issuer ``url``.

    ``issuer`` is the ``iss`` of the tokens; None if it is not checked. ``check_url`` raises ValueError for a URL that
    must not be used; ``tls_context`` makes a context that trusts the right CAs.
    """

    source: Source
    url: str
    issuer: str | None
    check_url: Callable[[str], None]
    tls_context: Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class Discovery:
    """What Hermes and its console use of the document.

    An end point that it lacks is None.
    """

    jwks_uri: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    end_session_endpoint: str | None = None


def discovery_url(issuer: str) -> str:
    """Return the URL of the discovery document.

    A slash at the end of the issuer is not doubled.
    """
    return issuer.rstrip("/") + WELL_KNOWN


def parse_discovery(text: bytes, *, issuer: str, check_url: Callable[[str], None]) -> Discovery:
    """Return the URLs of a discovery document.

    ``check_url`` raises ValueError for a URL that Hermes must not use. Raises ValueError with the reason if the
    document is not one of this issuer (§4.3).
    """
    document = _object(text)
    if document.get("issuer") != issuer:
        raise ValueError(f"its issuer is {shown(document.get('issuer'))}: give exactly that as --oidc-issuer, if right")
    return Discovery(
        jwks_uri=_url(document, "jwks_uri", check_url),
        authorization_endpoint=_optional_url(document, "authorization_endpoint", check_url),
        token_endpoint=_optional_url(document, "token_endpoint", check_url),
        end_session_endpoint=_optional_url(document, "end_session_endpoint", check_url),
    )


def _object(text: bytes) -> dict[str, Any]:
    if nested_too_deeply(text):
        raise ValueError("it is nested too deeply")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def _url(document: dict[str, Any], name: str, check_url: Callable[[str], None]) -> str:
    value = document.get(name)
    if not isinstance(value, str) or len(value) > URL_MAX_CHARS:
        raise ValueError(f"its {name} is {shown(value)}, not a URL")
    try:
        check_url(value)
    except ValueError as error:
        raise ValueError(f"its {name} {error}") from None
    return value


def _optional_url(document: dict[str, Any], name: str, check_url: Callable[[str], None]) -> str | None:
    """Return a URL for the console's login; None if it is absent or unusable."""
    try:
        return _url(document, name, check_url)
    except ValueError:
        return None
