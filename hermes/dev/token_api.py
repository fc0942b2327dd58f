"""Floor 3, ``--dev``: tokens for whoever asks with the key, to try things with."""

import time
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt

from hermes.auth.tokens import TokenSigner
from hermes.delivery.request_model import IdText, RequestModel

TTL_MAX_S = 30 * 24 * 3600  # as long as the ready ones


class TokenRequest(RequestModel):
    """The body of ``POST /dev/token``; ``ttl_s`` None is a token for ever."""

    user_id: IdText | StrictInt
    username: IdText = "dev"
    tenant_id: IdText | StrictInt | None = None
    is_superuser: StrictBool = False
    ttl_s: Annotated[StrictInt, Field(ge=1, le=TTL_MAX_S)] | None = None


def mint_token(mint: TokenSigner, value: object) -> dict[str, Any]:
    """The token that this parsed JSON asks for: ``{"status","token","expires"}``, in Unix ms or None.

    Raises `RequestError` 422 ``invalid`` that names each faulty field.
    """
    request = TokenRequest.from_json(value)
    token = mint.sign(
        user_id=str(request.user_id),
        username=request.username,
        tenant_id=None if request.tenant_id is None else str(request.tenant_id),
        is_superuser=request.is_superuser,
        ttl_s=request.ttl_s,
    )
    expires = None if request.ttl_s is None else int(time.time() + request.ttl_s) * 1000
    return {"status": "success", "token": token, "expires": expires}
