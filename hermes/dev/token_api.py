"""``POST /dev/token``: sign a token with the requested claims."""

import time
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt

from hermes.auth.tokens import TokenSigner
from hermes.delivery.request_model import IdText, RequestModel

TTL_MAX_S = 30 * 24 * 3600  # as the tokens of `hermes.dev.demo_users`


class TokenRequest(RequestModel):
    """The body of ``POST /dev/token``; ``ttl_s`` is seconds, None never expires."""

    user_id: IdText | StrictInt
    username: IdText = "dev"
    tenant_id: IdText | StrictInt | None = None
    is_superuser: StrictBool = False
    ttl_s: Annotated[StrictInt, Field(ge=1, le=TTL_MAX_S)] | None = None


def mint_token(signer: TokenSigner, value: object) -> dict[str, Any]:
    """Return the answer to a parsed request: ``{"status","token","expires"}``.

    ``expires`` is Unix milliseconds or None. Raises `RequestError` 422 ``invalid`` that names each faulty field.
    """
    request = TokenRequest.from_json(value)
    issued_s = int(time.time())
    token = signer.sign(
        user_id=str(request.user_id),
        username=request.username,
        tenant_id=None if request.tenant_id is None else str(request.tenant_id),
        is_superuser=request.is_superuser,
        ttl_s=request.ttl_s,
        issued_s=issued_s,
    )
    expires = None if request.ttl_s is None else (issued_s + request.ttl_s) * 1000
    return {"status": "success", "token": token, "expires": expires}
