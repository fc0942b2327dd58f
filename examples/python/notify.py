"""Send a notification: notify.py USER_ID TITLE MESSAGE [info|warning|error|success]."""

import json
import os
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

API_URL = os.environ.get("HERMES_API_URL", "http://127.0.0.1:8080")
KEY_FILE = Path(os.environ.get("HERMES_API_KEY_FILE", "~/.local/state/hermes/api-key")).expanduser()
TIMEOUT_S = 10.0


def notify(user_id: str, title: str, message: str, kind: str = "info") -> str:
    """Send one notification and return the answer; raises `HTTPError` if Hermes rejects it."""
    body = json.dumps({"user_id": user_id, "title": title, "message": message, "type": kind}, ensure_ascii=False)
    key = KEY_FILE.read_text().splitlines()[0]
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    request = Request(f"{API_URL}/notify", body.encode(), headers)  # noqa: S310 - the address is our own setting
    with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        answer: bytes = response.read()
    return answer.decode()


if __name__ == "__main__":
    try:
        print(notify(*sys.argv[1:]))
    except HTTPError as error:
        sys.exit(error.read().decode())
    except URLError as error:
        sys.exit(f"{API_URL} does not answer: {error.reason}")
