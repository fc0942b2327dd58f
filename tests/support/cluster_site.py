"""``make cluster``: a site with three nodes on this machine, to try them and to make parts fail.

Three Hermes, each at its own of three NATS servers that form one system; an inbox in PostgreSQL; mosquitto with
simulated devices; HAProxy in front, which leaves out nodes that are not ready.
"""

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.contenders.postgres import PostgresServer
from bench.processes import Child, accepts, free_port, running
from hermes.auth.tokens import TokenSigner
from hermes.dev.simulator import SimulatedDevices
from hermes.metrics import Metrics
from hermes.mqtt.client import MqttClient
from hermes.settings.urls.mqtt import parse_mqtt_url
from tests.support.programs import needs

NODES = ("node-1", "node-2", "node-3")
PROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 75s
  timeout tunnel 1h
frontend site
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  balance leastconn
  option httpchk GET /ready
  option redispatch
{servers}
"""
NATS = """
host: 127.0.0.1
port: {port}
server_name: {name}
cluster {{ name: site, listen: "127.0.0.1:{cluster_port}", routes: [{routes}] }}
"""


@dataclass(frozen=True)
class Site:
    """The running programs by name, and how to use them."""

    url: str  # of the proxy
    broker_port: int
    node_ports: dict[str, int]
    children: dict[str, Child]
    api_key: str
    key_file: Path
    signer: TokenSigner

    def token(self, user_id: str = "123", tenant_id: str = "acme") -> str:
        """Return a token that every node accepts."""
        return self.signer.sign(user_id=user_id, username=f"user {user_id}", tenant_id=tenant_id, ttl_s=86_400)


@contextlib.contextmanager
def cluster_site(port: int = 0) -> Iterator[Site]:
    """Run a site; the proxy listens on ``port``, 0 chooses one."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-cluster-")))
        children: dict[str, Child] = {}
        nats_ports = _start_nats(stack, folder, children)
        database = _start_postgres(stack)
        broker_port = _start_mosquitto(stack, folder, children)
        secret, api_key = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        key_file = _private(folder / "api-keys", api_key)
        common = [
            *("--jwt-secret-file", str(_private(folder / "jwt-secret", secret)), "--api-key-file", str(key_file)),
            *("--mqtt-url", f"mqtt://127.0.0.1:{broker_port}", "--inbox", database.url("hermes")),
        ]
        _run_hermes(folder, "inbox", "--inbox", database.url("hermes"), "migrate")
        node_ports = {name: free_port() for name in NODES}
        for name, nats_port in zip(NODES, nats_ports, strict=True):
            first = [nats_port, *(each for each in nats_ports if each != nats_port)]
            urls = ",".join(f"nats://127.0.0.1:{each}" for each in first)
            own = ["--port", str(node_ports[name]), "--node-name", name, "--nats-url", urls]
            command = [sys.executable, "-m", "hermes", "serve", *own, "--state-dir", str(folder / name), *common]
            children[name] = stack.enter_context(running(command, output=folder / f"{name}.log"))
        for name in NODES:
            children[name].wait_for(r"Hermes \S+ on (http://\S+)")
        proxy_port = _start_proxy(stack, folder, children, port or free_port(), node_ports)
        yield Site(
            f"http://127.0.0.1:{proxy_port}", broker_port, node_ports, children, api_key, key_file, TokenSigner(secret)
        )


def _start_nats(stack: contextlib.ExitStack, folder: Path, children: dict[str, Child]) -> list[int]:
    ports, cluster_ports = [free_port() for _ in NODES], [free_port() for _ in NODES]
    routes = ", ".join(f"nats://127.0.0.1:{each}" for each in cluster_ports)
    for number, (port, cluster_port) in enumerate(zip(ports, cluster_ports, strict=True), 1):
        name = f"nats-{number}"
        config = folder / f"{name}.conf"
        config.write_text(NATS.format(port=port, name=name, cluster_port=cluster_port, routes=routes))
        command = [needs("nats-server"), "-c", str(config)]
        children[name] = stack.enter_context(running(command, output=folder / f"{name}.log"))
        children[name].wait_until(lambda port=port: accepts(port), "nats-server does not listen")  # type: ignore[misc]
    return ports


def _start_postgres(stack: contextlib.ExitStack) -> PostgresServer:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-cluster-postgres-")))
    server = PostgresServer(folder, free_port())
    server.create()
    server.start()
    stack.callback(server.stop)
    server.execute("CREATE DATABASE hermes")
    return server


def _start_mosquitto(stack: contextlib.ExitStack, folder: Path, children: dict[str, Child]) -> int:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n")
    command = [needs("mosquitto"), "-c", str(config)]
    children["mosquitto"] = stack.enter_context(running(command, output=folder / "mosquitto.log"))
    children["mosquitto"].wait_until(lambda: accepts(port), "mosquitto does not listen")
    return port


def _start_proxy(
    stack: contextlib.ExitStack, folder: Path, children: dict[str, Child], port: int, nodes: dict[str, int]
) -> int:
    servers = "\n".join(
        f"  server {name} 127.0.0.1:{each} check inter 1s fall 2 rise 1 on-marked-down shutdown-sessions"
        for name, each in nodes.items()
    )
    config = folder / "haproxy.cfg"
    config.write_text(PROXY.format(port=port, servers=servers))
    command = [needs("haproxy"), "-db", "-f", str(config)]
    children["proxy"] = stack.enter_context(running(command, output=folder / "proxy.log"))
    children["proxy"].wait_until(lambda: accepts(port), "HAProxy does not listen")
    return port


def _run_hermes(folder: Path, *arguments: str) -> None:
    with running([sys.executable, "-m", "hermes", *arguments], output=folder / "command.log") as child:
        if child.wait_for_end(60):
            raise SystemExit(child.output)


def _private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


GREETING = """
Three nodes are running behind {url}/

  token of user 123   {token}
  API key             {api_key}

Send a notification to any of them; the browsers on all of them show it:

  .venv/bin/hermes notify --url {url} --api-key-file {key_file} --user 123 --title Door --message Open

See the nodes: enter token and API key in the console at {url}/#connect, or

  .venv/bin/hermes status --url {url} --api-key-file {key_file}

Make a part fail: kill -9, kill -STOP and kill -CONT with one of these process ids

{parts}

Ctrl-C stops all of it.
"""


def main() -> int:
    """Run a site until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="make cluster", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--port", type=int, default=8080, help="port of the proxy (8080; 0 chooses a free one)")
    options = parser.parse_args()
    with cluster_site(options.port) as site:
        parts = [f"  {name:<10} {child.pid}" for name, child in site.children.items()]
        nodes = [f"  {name} listens on http://127.0.0.1:{port}/" for name, port in site.node_ports.items()]
        print(
            GREETING.format(
                url=site.url,
                token=site.token(),
                api_key=site.api_key,
                key_file=site.key_file,
                parts="\n".join([*parts, "", *nodes]),
            ),
            flush=True,
        )
        asyncio.run(_simulate(site.broker_port))
    return 0


async def _simulate(broker_port: int) -> None:
    """Publish the values of simulated devices until Ctrl-C or SIGTERM."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    url = parse_mqtt_url(f"mqtt://127.0.0.1:{broker_port}")
    client = MqttClient(url=url, metrics=Metrics(), thread_name="cluster-simulator")
    client.start()
    simulator = SimulatedDevices(publish=client.publish)
    simulator.start()
    await stopping.wait()
    await simulator.stop()
    await asyncio.to_thread(client.stop)


if __name__ == "__main__":
    sys.exit(main())
