"""Check the tokens of open sockets again, after keys or claim rules have changed."""

import asyncio
from collections.abc import Callable, Collection

from hermes.auth.principal import Principal, TokenVerifier
from hermes.delivery.hub import Hub
from hermes.delivery.session import Session
from hermes.errors import TOKEN_INVALID, SocketRejected

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

    That is a token that a key of ``gone_keys`` verified, or, if ``claims_changed``, one that is refused now or means
    another user, tenant or right. They are closed with ``token_invalid`` and a ``retry_ms`` each.
    """
    closed = 0
    sessions = tuple(hub.sessions)
    for number, session in enumerate(sessions, 1):
        if not session.closed and not _is_as_before(session, verifier, gone_keys, claims_changed):
            session.close(TOKEN_INVALID, retry_ms(len(sessions)))
            closed += 1
        if number % CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return closed


def _is_as_before(session: Session, verifier: TokenVerifier, gone_keys: Collection[str], claims_changed: bool) -> bool:
    if session.principal.key_id in gone_keys:
        return False
    if not claims_changed or session.token is None:
        return True
    try:
        principal = verifier.verify(session.token if isinstance(session.token, str) else session.token())
    except SocketRejected as rejection:
        return rejection.close is not TOKEN_INVALID  # any other reason is handled elsewhere, or passes
    if _meaning(principal) != _meaning(session.principal):
        return False
    session.principal = principal  # which may end earlier or later
    return True


def _meaning(principal: Principal) -> tuple[str, str | None, bool]:
    return principal.user_id, principal.tenant_id, principal.is_superuser
