"""Floor 3: the people of ``--dev``, with whose tokens a new user tries Hermes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hermes.auth.tokens import TokenSigner

TTL_S = 30 * 24 * 3600  # a month: a page left open over a holiday still works


@dataclass(frozen=True, slots=True)
class DemoUser:
    """Somebody to be."""

    user_id: str
    username: str
    tenant_id: str
    is_superuser: bool = False

    @property
    def label(self) -> str:
        """What a picker shows."""
        kind = ", superuser" if self.is_superuser else ""
        return f"{self.username} (user {self.user_id}, tenant {self.tenant_id}{kind})"

    def token(self, mint: TokenSigner) -> str:
        """A token of theirs."""
        return mint.sign(
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


def console_facts(mint: TokenSigner, *, api_keys: Sequence[str], devices: Sequence[str]) -> Mapping[str, Any]:
    """What the console is filled in with."""
    tokens = [
        {
            "label": person.label,
            "token": person.token(mint),
            "user_id": person.user_id,
            "tenant_id": person.tenant_id,
        }
        for person in DEMO_USERS
    ]
    return {"tokens": tokens, "api_key": api_keys[0] if api_keys else "", "devices": list(devices)}
