"""Token verifiers with the keys that a test needs."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from hermes.auth.claims import ClaimNames, SuperuserClaim, TokenRules
from hermes.auth.key_ring import KeyRing
from hermes.auth.keys import Source, VerificationKey, secret_key
from hermes.auth.tokens import CACHE_MAX_TOKENS, JwtVerifier
from hermes.metrics import Metrics
from tests.support.gateways import SECRET


def ring_of(
    *keys: VerificationKey, source: Source = Source.PUBLIC_KEY, clock: Callable[[], float] = time.monotonic
) -> KeyRing:
    """Return a ring with these keys of one source."""
    ring = KeyRing(metrics=Metrics(), clock=clock)
    ring.replace(source, keys)
    return ring


def secret_ring(*secrets: str, issuer: str | None = None) -> KeyRing:
    """Return a ring with the keys of secrets."""
    return ring_of(*(secret_key(text, issuer=issuer) for text in secrets), source=Source.SECRET)


def verifier(
    *,
    secrets: Sequence[str] = (SECRET,),
    keys: KeyRing | None = None,
    issuer: str | None = None,
    clock: Callable[[], float] = time.time,
    claim_user: str = "user_id",
    claim_name: str = "username",
    claim_tenant: str = "tenant_id",
    claim_superuser: str = "is_superuser",
    cache_max_tokens: int = CACHE_MAX_TOKENS,
    revocations: Any = None,
    **rules: Any,
) -> JwtVerifier:
    """Return a verifier of secrets, or of the keys of a ring; ``rules`` are those of `TokenRules`."""
    names = ClaimNames(claim_user, claim_name, claim_tenant, SuperuserClaim.parse(claim_superuser))
    return JwtVerifier(
        secret_ring(*secrets, issuer=issuer) if keys is None else keys,
        TokenRules(names=names, **rules),
        clock=clock,
        cache_max_tokens=cache_max_tokens,
        revocations=revocations,
    )
