"""What befalls Hermes, its broker, the network and the tokens in a soak."""

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

TIMEOUT_S = 120.0  # reached only in a soak that fails: the longest back-off and heartbeat, on a slow machine too
OUTAGE_MAX_S = 2.5
FREEZE_S = 5.0  # until the network works again; what was open then is found dead by a heartbeat, up to 40 s later
SHORT_TTL_S = 2


@dataclass
class Node:
    """A Hermes in --dev on one port, through all its lives, with its embedded broker and simulated devices."""

    state: Path
    port: int = field(default_factory=free_port)
    complaints: list[str] = field(default_factory=list)
    _program: Program | None = None

    @property
    def url(self) -> str:
        """Its own address, past the proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        """The one that it made for itself."""
        return (self.state / "hermes" / "api-key").read_text().strip()

    def start(self) -> None:
        """Until it listens."""
        words = ["serve", "--dev", "--port", str(self.port)]
        self._program = Program(words, {"XDG_STATE_HOME": str(self.state)})
        self._program.wait_for("Ctrl-C stops it")

    def end(self, number: signal.Signals) -> None:
        """Until it is gone; an orderly stop must succeed."""
        program, self._program = self._program, None
        if program is None:
            return
        code = program.end(number)
        if number is not signal.SIGKILL and code != 0:
            self.complaints.append(f"ended with {code}")
        self.complaints += [line for line in program.errors if "Traceback" in line or "ERROR" in line]

    def kill_broker(self) -> None:
        """Without a goodbye; wait for its successor."""
        broker = self._brokers()
        for pid in broker:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self._brokers() not in ([], broker), TIMEOUT_S, why="no new broker")

    def _brokers(self) -> list[int]:
        assert self._program is not None
        return children_named(self._program.process.pid, "mosquitto")

    @property
    def ready(self) -> bool:
        """Whether it has its link to the broker."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=TIMEOUT_S):
                return True
        except OSError:
            return False

    def mint(self, ttl_s: int | None = None) -> str:
        """A token for the console."""
        whose = {"user_id": CONSOLE_USER, "username": "ana", "tenant_id": "acme"} | ({"ttl_s": ttl_s} if ttl_s else {})
        headers = {"Content-Type": "application/json", "X-API-Key": self.api_key}
        request = urllib.request.Request(f"{self.url}/dev/token", json.dumps(whose).encode(), headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            token: str = json.load(response)["token"]
            return token


@dataclass
class Site:
    """All that a fault may touch. The pages reach the node through the proxy."""

    node: Node
    proxy: Proxy
    context: BrowserContext
    console: SoakedConsole
    clients: SoakedClients
    chance: random.Random

    def lines(self) -> list[Line]:
        """All sockets of both pages."""
        return self.console.lines() + self.clients.lines()

    def pass_time(self, seconds: float) -> None:
        """Time in which the pages' events are read."""
        self.clients.page.wait_for_timeout(seconds * 1000)

    def wait(self, condition: Callable[[], object], why: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait, with a bound, while the pages' events are read."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{why} in {timeout_s} s; sockets: {self.lines()}")
            self.pass_time(0.05)

    def outage(self) -> None:
        """Some time without whatever is gone just now."""
        self.pass_time(self.chance.uniform(0, OUTAGE_MAX_S))


def crash(site: Site) -> None:
    """Hermes is killed, and with it its broker."""
    site.node.end(signal.SIGKILL)
    site.outage()
    site.node.start()


def restart(site: Site) -> None:
    """Hermes is stopped in good order."""
    site.node.end(signal.SIGTERM)
    site.outage()
    site.node.start()


def broker(site: Site) -> None:
    """The broker is killed; sockets stay."""
    site.node.kill_broker()


def cut(site: Site) -> None:
    """Every connection is cut; new ones are refused for a while."""
    site.proxy.refuse()
    site.proxy.cut()
    site.outage()
    site.proxy.accept()


def offline(site: Site) -> None:
    """The browser is told that it has no network. Chromium keeps open sockets through that, so they are cut as well."""
    site.context.set_offline(True)
    site.proxy.cut()
    site.outage()
    site.context.set_offline(False)


def blackout(site: Site) -> None:
    """No network, and meanwhile Hermes is killed and comes back."""
    site.context.set_offline(True)
    crash(site)
    site.context.set_offline(False)


def expiry(site: Site) -> None:
    """The applications do not renew their tokens in time: 1008 on every socket of theirs."""
    before = {line.name: line.expired for line in site.clients.lines()}
    site.clients.be_late(True)
    site.wait(
        lambda: all(line.expired > before[line.name] for line in site.clients.lines()), "not every token has expired"
    )
    site.clients.be_late(False)


def stale_paste(site: Site) -> None:
    """The console's user pastes a token that lives for a moment, and a good one once it is refused."""
    site.console.paste_token(site.node.mint(SHORT_TTL_S))
    site.wait(
        lambda: all(line.state == "refused" for line in site.console.lines()),
        "not every socket of the console is refused",
    )
    site.console.paste_token(site.node.mint())


def freeze(site: Site) -> None:
    """What is on its way vanishes, and nobody is told: only heartbeats find out."""
    site.proxy.hold()
    site.pass_time(FREEZE_S)
    site.proxy.forward()


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault, and whose sockets it ends: these must be seen to have opened anew before it counts as over."""

    cause: Callable[[Site], None]
    ends: tuple[str, ...]  # by the beginning of the sockets' names
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
