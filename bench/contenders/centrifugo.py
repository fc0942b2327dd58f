"""Centrifugo, a publish-subscribe server in Go: https://centrifugal.dev. The variable ``CENTRIFUGO`` has its path."""

import contextlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jwt

from bench.contenders import DATA, Broadcaster, line
from bench.load.swarm import HttpSource
from bench.processes import Child, NotInstalledError, accepts, free_port, running

VARIABLE = "CENTRIFUGO"
CHANNEL = "bench"
PUBLISH, BATCH = "/api/publish", "/api/batch"
NAME = "Centrifugo"


@dataclass(frozen=True, slots=True)
class Centrifugo:
    """A ready Centrifugo, in as many threads as there are processors."""

    child: Child
    port: int
    secret: str
    api_key: str
    name: str = NAME

    def user_socket(self, user_id: str) -> str:
        """Its WebSocket for browsers without a library, with the token in the URL and subscribed by the token."""
        claims = {"sub": user_id, "exp": int(time.time()) + 3_600, "channels": [CHANNEL]}
        token = jwt.encode(claims, self.secret, algorithm="HS256")
        return f"/connection/uni_websocket?cf_connect={quote(json.dumps({'token': token}))}"


@contextlib.contextmanager
def centrifugo() -> Iterator[Centrifugo]:
    """Start it, stop it at the end. Raises `NotInstalledError` without the variable."""
    program = os.environ.get(VARIABLE, "")
    if not program:
        raise NotInstalledError(
            f"set {VARIABLE} to the program; go install github.com/centrifugal/centrifugo/v6@latest builds it"
        )
    port, secret, key = free_port(), secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    configuration = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"key": key},
        "client": {"token": {"hmac_secret_key": secret}, "allowed_origins": ["*"]},
        "uni_websocket": {"enabled": True},
        "log": {"level": "warn"},
    }
    with tempfile.TemporaryDirectory(prefix="hermes-bench-centrifugo-") as folder:
        path = Path(folder, "config.json")
        path.write_text(json.dumps(configuration))
        with running([program, "--config", str(path)], output=Path(folder, "output")) as child:
            child.wait_until(lambda: accepts(port), "centrifugo does not listen")
            yield Centrifugo(child, port, secret, key)


@contextlib.contextmanager
def broadcaster() -> Iterator[Broadcaster]:
    """Start it for a broadcast to sockets that share one channel."""
    with centrifugo() as server:
        message = f'{{"channel":"{CHANNEL}","data":{line(DATA)}}}'
        headers = ("Content-Type: application/json", f"X-API-Key: {server.api_key}")
        source = HttpSource(server.port, PUBLISH, message, headers)
        yield Broadcaster(NAME, server.child, server.port, source, lambda number: server.user_socket(str(number)))
