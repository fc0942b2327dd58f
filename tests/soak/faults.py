"""Faults of a soak test: in Hermes, its broker, the network and the tokens."""

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext

from tests.soak.pages import CONSOLE_USER, Line, SoakedClients, SoakedConsole
from tests.support.children import children_named
from tests.support.programs import Program, free_port, wait_until
from tests.support.proxies import Proxy

TIMEOUT_S = 120.0  # reached only in a soak that fails: longer than the longest back-off and heartbeat
OUTAGE_MAX_S = 2.5
FREEZE_S = 5.0  # then the network works again; a heartbeat detects each dead connection up to 40 s later
SHORT_TTL_S = 2


@dataclass
class Node:
    """A Hermes in --dev with its embedded broker and simulated devices; each restart uses the same port."""

    state: Path
    port: int = field(default_factory=free_port)
    errors: list[str] = field(default_factory=list)
    _program: Program | None = None

    @property
    def url(self) -> str:
        """Address of Hermes itself, without the proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        """The API key that Hermes generated at its first start."""
        return (self.state / "hermes" / "api-key").read_text().strip()

    def start(self) -> None:
        """Start Hermes; return when it listens."""
        arguments = ["serve", "--dev", "--port", str(self.port)]
        self._program = Program(arguments, {"XDG_STATE_HOME": str(self.state)})
        self._program.wait_for("Ctrl-C stops it")

    def end(self, number: signal.Signals) -> None:
        """End Hermes with this signal; record an error if an orderly stop fails."""
        program, self._program = self._program, None
        if program is None:
            return
        code = program.end(number)
        if number is not signal.SIGKILL and code != 0:
            self.errors.append(f"ended with {code}")
        self.errors += [line for line in program.errors if "Traceback" in line or "ERROR" in line]

    def kill_broker(self) -> None:
        """Kill the broker; wait until Hermes has started another one."""
        broker = self._brokers()
        for pid in broker:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self._brokers() not in ([], broker), TIMEOUT_S, why="broker not restarted")

    def _brokers(self) -> list[int]:
        assert self._program is not None
        return children_named(self._program.process.pid, "mosquitto")

    @property
    def ready(self) -> bool:
        """Whether Hermes is connected to the broker."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=TIMEOUT_S):
                return True
        except OSError:
            return False

    def mint(self, ttl_s: int | None = None) -> str:
        """Return a new token for the console."""
        claims = {"user_id": CONSOLE_USER, "username": "ana", "tenant_id": "acme"} | ({"ttl_s": ttl_s} if ttl_s else {})
        headers = {"Content-Type": "application/json", "X-API-Key": self.api_key}
        request = urllib.request.Request(f"{self.url}/dev/token", json.dumps(claims).encode(), headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            token: str = json.load(response)["token"]
            return token


@dataclass
class Site:
    """Everything that a fault may affect; the pages connect through the proxy."""

    node: Node
    proxy: Proxy
    context: BrowserContext
    console: SoakedConsole
    clients: SoakedClients
    chance: random.Random

    def lines(self) -> list[Line]:
        """Return all sockets of both pages."""
        return self.console.lines() + self.clients.lines()

    def pass_time(self, seconds: float) -> None:
        """Wait this time while the pages' events are handled."""
        self.clients.page.wait_for_timeout(seconds * 1000)

    def wait(self, condition: Callable[[], object], why: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait for the condition, with a time-out, while the pages' events are handled."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{why} in {timeout_s} s; sockets: {self.lines()}")
            self.pass_time(0.05)

    def outage(self) -> None:
        """Wait for the random duration of an outage."""
        self.pass_time(self.chance.uniform(0, OUTAGE_MAX_S))


def crash(site: Site) -> None:
    """Kill Hermes and its broker, then start Hermes."""
    site.node.end(signal.SIGKILL)
    site.outage()
    site.node.start()


def restart(site: Site) -> None:
    """Stop Hermes with SIGTERM, then start it."""
    site.node.end(signal.SIGTERM)
    site.outage()
    site.node.start()


def broker(site: Site) -> None:
    """Kill the broker; the sockets stay open."""
    site.node.kill_broker()


def cut(site: Site) -> None:
    """Cut every connection and refuse new ones during the outage."""
    site.proxy.refuse()
    site.proxy.cut()
    site.outage()
    site.proxy.accept()


def offline(site: Site) -> None:
    """Set the browser offline and cut its sockets, which Chromium does not close when it goes offline."""
    site.context.set_offline(True)
    site.proxy.cut()
    site.outage()
    site.context.set_offline(False)


def blackout(site: Site) -> None:
    """Kill and start Hermes while the browser is offline."""
    site.context.set_offline(True)
    crash(site)
    site.context.set_offline(False)


def expiry(site: Site) -> None:
    """Let the tokens of the client page expire: Hermes closes each of its sockets with 1008."""
    before = {line.name: line.expired for line in site.clients.lines()}
    site.clients.be_late(True)
    site.wait(
        lambda: all(line.expired > before[line.name] for line in site.clients.lines()), "not every token has expired"
    )
    site.clients.be_late(False)


def stale_paste(site: Site) -> None:
    """Paste a token into the console that expires soon, then a valid one when the sockets are refused."""
    site.console.paste_token(site.node.mint(SHORT_TTL_S))
    site.wait(
        lambda: all(line.state == "refused" for line in site.console.lines()),
        "not every socket of the console is refused",
    )
    site.console.paste_token(site.node.mint())


def freeze(site: Site) -> None:
    """Drop all traffic without closing a connection; only heartbeats detect this."""
    site.proxy.hold()
    site.pass_time(FREEZE_S)
    site.proxy.forward()


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault and the sockets that it closes; the recovery ends when these have reopened."""

    cause: Callable[[Site], None]
    ends: tuple[str, ...]  # prefixes of the sockets' names
    recovery_s: float = 45.0  # back-off may have reached its 30 s


ALL = ("console", "client")
QUICK_FAULTS: Mapping[str, Fault] = {
    "crash": Fault(crash, ALL),
    "restart": Fault(restart, ALL),
    "broker": Fault(broker, ()),
    "cut": Fault(cut, ALL),
    "offline": Fault(offline, ALL),
    "expiry": Fault(expiry, ("client",)),
    "stale paste": Fault(stale_paste, ("console",)),
}
SLOW_FAULTS: Mapping[str, Fault] = {
    "blackout": Fault(blackout, ALL),
    "freeze": Fault(freeze, ALL, recovery_s=90.0),
}
