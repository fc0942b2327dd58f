"""Send to a Hermes in --dev that has an inbox, as a backend service does."""

import json
import urllib.request
from typing import Any

from tests.support.consoles import TIMEOUT_MS, api_key
from tests.support.programs import Program


def request(program: Program, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer of a route of senders."""
    headers = {"Content-Type": "application/json", "X-API-Key": api_key(program)}
    data = None if body is None else json.dumps(body).encode()
    made = urllib.request.Request(program.url + path, data, headers, method=method)
    with urllib.request.urlopen(made, timeout=TIMEOUT_MS / 1_000) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def send(program: Program, user: str, *ids: str, **fields: object) -> None:
    """Send a notification with each of these ids; it must be stored."""
    for id in ids:
        answer = request(program, "POST", "/notify", {"user_id": user, "id": id, "title": id, "message": ""} | fields)
        assert answer["stored"] is True


def token_of(program: Program, user: str) -> str:
    """Sign a token."""
    body = {"user_id": user, "username": user, "tenant_id": "acme"}
    return str(request(program, "POST", "/dev/token", body)["token"])
