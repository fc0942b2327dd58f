"""Hermes itself: ``hermes serve`` as a user would start it, with files of its own and a free port."""

import contextlib
import http.client
import secrets
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from bench.contenders import DATA, TENANT, Broadcaster
from bench.load.swarm import HttpSource
from bench.processes import CHECKOUT, Child, running
from hermes.auth.tokens import TokenSigner


@dataclass(frozen=True, slots=True)
class Hermes:
    """A ready Hermes."""

    child: Child
    port: int
    mint: TokenSigner
    api_key: str
    name: str = "Hermes"

    def user_socket(self, user_id: str) -> str:
        """``/ws/notifications``."""
        token = self.mint.sign(user_id=user_id, username=f"user-{user_id}", ttl_s=3_600)
        return f"/ws/notifications?token={token}"

    def tenant_socket(self, tenant_id: str) -> str:
        """``/ws/tenant/{tenant_id}``."""
        token = self.mint.sign(user_id="1", username="bench", tenant_id=tenant_id, ttl_s=3_600)
        return f"/ws/tenant/{quote(tenant_id, safe='')}?token={token}"

    def device_socket(self, tenant_id: str, device_id: str) -> str:
        """``/ws/device/{device_id}`` of that tenant."""
        token = self.mint.sign(user_id="1", username="bench", tenant_id=tenant_id, ttl_s=3_600)
        return f"/ws/device/{quote(device_id, safe='')}?token={token}"

    def combined_socket(self, user_id: str) -> str:
        """``/ws`` of a user of the bench's tenant, which gets the tenant's broadcasts."""
        token = self.mint.sign(user_id=user_id, username=f"user-{user_id}", tenant_id=TENANT, ttl_s=3_600)
        return f"/ws?token={token}"

    def metric(self, name: str) -> float:
        """Value of this metric without labels in ``GET /metrics``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    def is_ready(self) -> bool:
        """Whether ``GET /ready`` answers 200: device data can arrive, or MQTT is off."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        finally:
            connection.close()


@contextlib.contextmanager
def hermes(
    *options: str, mqtt_url: str = "off", port: int = 0, secret: str = "", checkout: Path = CHECKOUT
) -> Iterator[Hermes]:
    """Start it with these further options, wait until it is ready, stop it at the end.

    One that restarts gets its own ``port`` and ``secret``; otherwise the port is free and the secret random.
    ``checkout`` is the source tree to run.
    """
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as folder:
        secret, api_key = secret or secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        secret_file = _private(Path(folder, "jwt-secret"), secret)
        key_file = _private(Path(folder, "api-keys"), api_key)
        module = "hermes" if (checkout / "hermes" / "__main__.py").exists() else "hermes.cli"
        command = [sys.executable, "-m", module, "serve", "--host", "127.0.0.1", "--port", str(port)]
        command += [
            "--jwt-secret-file",
            str(secret_file),
            "--api-key-file",
            str(key_file),
            "--mqtt-url",
            mqtt_url,
            *options,
        ]
        with running(command, output=Path(folder, "output"), folder=checkout) as child:
            url = child.wait_for(r"Hermes \S+ on (http://\S+)")[1]
            program = Hermes(child, urlsplit(url).port or 80, TokenSigner(secret), api_key)
            child.wait_until(program.is_ready, "Hermes does not become ready")
            yield program


@contextlib.contextmanager
def hermes_broadcasts(*options: str, data: str = DATA, checkout: Path = CHECKOUT) -> Iterator[Broadcaster]:
    """Hermes with ``POST /notify`` as its source, and sockets on ``/ws``, each of another user of the tenant."""
    body = (
        f'{{"tenant_id":"{TENANT}","id":"%n","title":"Cold room","message":"Door 4 is open","type":"warning",'
        f'"data":{data}}}'
    )
    with hermes(*options, checkout=checkout) as program:
        headers = (f"X-API-Key: {program.api_key}", "Content-Type: application/json")
        source = HttpSource(program.port, "/notify", body, headers)
        yield Broadcaster(program.name, program.child, program.port, source, lambda n: program.combined_socket(str(n)))


def _private(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content)
    return path
