"""Check the tokens of open sockets again, after keys or claim rules have changed."""

import asyncio
from collections.abc import Callable, Collection

from hermes.auth.principal import Principal, TokenVerifier
from hermes.delivery.hub import Hub
from hermes.delivery.session import Session
from hermes.errors import KEYS_UNAVAILABLE, TOKEN_INVALID, Close, SocketRejected

CHECKED_AT_ONCE = 20  # sockets in one iteration of the loop; a signature takes up to 0.3 ms


async def close_changed_sockets(
    hub: Hub,
    verifier: TokenVerifier,
    *,
    gone_keys: Collection[str],
    claims_changed: bool,
    retry_ms: Callable[[int], int],
) -> int:
    """Close the sockets of which the token has changed its meaning; return how many.

    That is a token that a key of ``gone_keys`` verified, or, if ``claims_changed``, one that is refused now, means
    another user, tenant or right, or cannot be judged because its keys are not known yet. They are closed with
    ``token_invalid``, or with ``keys_unavailable``, and a ``retry_ms`` each.
    """
    closed = 0
    sessions = tuple(hub.sessions)
    for number, session in enumerate(sessions, 1):
        if not session.closed and (close := _close_of(session, verifier, gone_keys, claims_changed)) is not None:
            session.close(close, retry_ms(len(sessions)))
            closed += 1
        if number % CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return closed


def _close_of(
    session: Session, verifier: TokenVerifier, gone_keys: Collection[str], claims_changed: bool
) -> Close | None:
    if session.principal.key_id in gone_keys:
        return TOKEN_INVALID
    if not claims_changed or session.token is None:
        return None
    try:
        principal = verifier.verify(session.token if isinstance(session.token, str) else session.token())
    except SocketRejected as rejection:
        # an expired or revoked token is handled elsewhere
        return rejection.close if rejection.close in (TOKEN_INVALID, KEYS_UNAVAILABLE) else None
    if _meaning(principal) != _meaning(session.principal):
        return TOKEN_INVALID
    session.principal = principal  # which may end earlier or later
    return None


def _meaning(principal: Principal) -> tuple[str, str | None, bool]:
    return principal.user_id, principal.tenant_id, principal.is_superuser
