"""The users of ``--dev``, with tokens for a new user to try."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hermes.auth.tokens import TokenSigner

TTL_S = 30 * 24 * 3600  # a month: a page that stays open over a holiday still works


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user with a ready token."""

    user_id: str
    username: str
    tenant_id: str
    is_superuser: bool = False

    @property
    def label(self) -> str:
        """The text in a list of users: name, user id, tenant."""
        kind = ", superuser" if self.is_superuser else ""
        return f"{self.username} (user {self.user_id}, tenant {self.tenant_id}{kind})"

    def token(self, signer: TokenSigner) -> str:
        """Return a token for this user, valid for `TTL_S` seconds."""
        return signer.sign(
            user_id=self.user_id,
            username=self.username,
            tenant_id=self.tenant_id,
            is_superuser=self.is_superuser,
            ttl_s=TTL_S,
        )


ANA = DemoUser("123", "ana", "acme")
LUIS = DemoUser("456", "luis", "globex")
ROOT = DemoUser("1", "root", "acme", is_superuser=True)
DEMO_USERS = (ANA, LUIS, ROOT)


def console_facts(signer: TokenSigner, *, api_keys: Sequence[str], devices: Sequence[str]) -> Mapping[str, Any]:
    """Return the tokens, API key and device ids that the console is filled with."""
    tokens = [
        {
            "label": user.label,
            "token": user.token(signer),
            "user_id": user.user_id,
            "tenant_id": user.tenant_id,
        }
        for user in DEMO_USERS
    ]
    return {"tokens": tokens, "api_key": api_keys[0] if api_keys else "", "devices": list(devices)}
