"""Print a token for a user, signed as your backend would: ``python sign.py USER_ID USERNAME TENANT_ID``."""

import os
import sys
import time
from pathlib import Path

import jwt  # pip install pyjwt

LIFETIME_S = 600  # the client asks for the next token in time


def sign_token(secret: str, user_id: str, username: str, tenant_id: str) -> str:
    """Return a token that Hermes accepts."""
    now = int(time.time())
    claims = {
        "user_id": user_id,
        "username": username,
        "tenant_id": tenant_id,
        "iat": now,
        "exp": now + LIFETIME_S,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


if __name__ == "__main__":
    default = Path.home() / ".local/state/hermes/jwt-secret"
    # Hermes ignores a newline at the end of the file, and so must you.
    secret = Path(os.environ.get("HERMES_JWT_SECRET_FILE", default)).read_text().removesuffix("\n")
    print(sign_token(secret, *sys.argv[1:]))
