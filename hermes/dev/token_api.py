"""Floor 3, ``--dev``: tokens for whoever asks with the key, to try things with."""

import time
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints, ValidationError

from hermes.auth.tokens import TokenSigner
from hermes.delivery.messages import ADDRESSEE_MAX_CHARS, invalid_fields
from hermes.errors import RequestError

TTL_MAX_S = 30 * 24 * 3600  # as long as the ready ones

_Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=ADDRESSEE_MAX_CHARS)]


class TokenRequest(BaseModel):
    """The body of ``POST /dev/token``; ``ttl_s`` None is a token for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: _Id | StrictInt
    username: _Id = "dev"
    tenant_id: _Id | StrictInt | None = None
    is_superuser: StrictBool = False
    ttl_s: Annotated[StrictInt, Field(ge=1, le=TTL_MAX_S)] | None = None


def mint_token(mint: TokenSigner, value: object) -> dict[str, Any]:
    """The token that this parsed JSON asks for: ``{"status","token","expires"}``, in Unix ms or None.

    Raises `RequestError` 422 ``invalid`` that names each faulty field.
    """
    if not isinstance(value, dict):
        raise RequestError(422, "invalid", "expected a JSON object")
    try:
        request = TokenRequest.model_validate(value)
    except ValidationError as error:
        raise invalid_fields(error) from None
    token = mint.sign(
        user_id=str(request.user_id),
        username=request.username,
        tenant_id=None if request.tenant_id is None else str(request.tenant_id),
        is_superuser=request.is_superuser,
        ttl_s=request.ttl_s,
    )
    expires = None if request.ttl_s is None else int(time.time() + request.ttl_s) * 1000
    return {"status": "success", "token": token, "expires": expires}
