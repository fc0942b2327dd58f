"""The soak: the console and clients of the client module live through faults at random, and must lose nothing else.

``make soak`` runs a quarter of an hour of it, ``make test-all`` a minute, ``make test`` some seconds. One fault at a
time: it is caused, it ends, and then every socket must open again by itself and Hermes must have its link to the
broker. That moment is the *recovery*; from it until the next fault all is calm, and :mod:`tests.soak.ledger` says what
must not be lost then.
"""

import argparse
import contextlib
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.faults import QUICK_FAULTS, SLOW_FAULTS, Fault, Node, Site
from tests.soak.ledger import Ledger, Sender
from tests.soak.pages import CLIENTS_USER, CONSOLE_USER, NOTIFIED_ROUTES, SoakedClients, SoakedConsole, new_context
from tests.support.consoles import chromium
from tests.support.proxies import proxy

OPEN_WITHIN_S = 60.0
CALM_S = (1.0, 2.5)  # between a recovery and the next fault, or longer
CALM_NOTICES_MIN = 6  # that are answered in it: a calm that counts none proves nothing
ARRIVE_WITHIN_S = 60.0  # reached only in a soak that fails


@dataclass(frozen=True, slots=True)
class Caused:
    """A fault that has been lived through, in seconds from its end."""

    name: str
    recovered_s: float
    sockets_s: tuple[float, ...]  # when each socket that it had ended was open again


@dataclass
class Verdict:
    """How it went."""

    seed: int
    caused: list[Caused] = field(default_factory=list)
    counted: int = 0
    sent: int = 0
    refreshed: int = 0
    faults: list[str] = field(default_factory=list)  # what must not be

    def _line(self, name: str) -> str:
        those = [each for each in self.caused if each.name == name]
        sockets_s = [seconds for each in those for seconds in each.sockets_s]
        back = f", a socket was back in {statistics.median(sockets_s):.1f} s (median)" if sockets_s else ""
        most_s = max(each.recovered_s for each in those)
        return f"{name:12} {len(those):3} times, all was well in {most_s:.1f} s at most{back}"

    def report(self) -> str:
        """In some lines."""
        lines = [
            f"seed {self.seed}: {self.sent} notifications, {self.counted} of them in calms; "
            f"{self.refreshed} tokens renewed on open sockets"
        ]
        lines += [self._line(name) for name in sorted({each.name for each in self.caused})]
        faults = [f"FAULT {fault} ({count} times)" for fault, count in Counter(self.faults).items()]
        return "\n".join([*lines, *faults, "failed" if faults else "passed"])


@dataclass
class Soak:
    """One run."""

    site: Site
    faults: Mapping[str, Fault]
    verdict: Verdict
    ledger: Ledger = field(default_factory=Ledger)
    _last: str = "the first opening"

    def run(self, seconds: float, *, trace: bool = False) -> None:
        """Faults until the time is over and each kind has come; none comes again before all others have."""
        since_s = time.monotonic()
        self._recover({line.name: 0 for line in self.site.lines()}, OPEN_WITHIN_S)
        sender = Sender(self.site.node.url, self.site.node.api_key, (CONSOLE_USER, CLIENTS_USER), self.ledger)
        sender.start()
        try:
            for name in self._kinds():
                self._calm()
                if time.monotonic() - since_s > seconds and self._all_caused:
                    break
                caused = self._live_through(name)
                self.verdict.caused.append(caused)
                if trace:
                    print(
                        f"{time.monotonic() - since_s:6.1f} s {name}: recovered in {caused.recovered_s:.1f} s",
                        flush=True,
                    )
        except AssertionError as error:
            self.verdict.faults.append(f"{self._last} → {error}")
        finally:
            sender.stop()
        self._judge()

    def _kinds(self) -> Iterator[str]:
        while True:
            yield from self.site.chance.sample(sorted(self.faults), len(self.faults))

    @property
    def _all_caused(self) -> bool:
        return {each.name for each in self.verdict.caused} == set(self.faults)

    def _calm(self) -> None:
        """Some time without faults, that the ledger knows of."""
        since_s = time.monotonic()
        self.site.pass_time(self.site.chance.uniform(*CALM_S))
        self.site.wait(lambda: len(self.ledger.within(since_s, time.monotonic())) >= CALM_NOTICES_MIN, "no answers")
        self.ledger.calms.append((since_s, time.monotonic()))

    def _live_through(self, name: str) -> Caused:
        fault, self._last = self.faults[name], name
        opens = {line.name: line.opens for line in self.site.lines() if line.name.startswith(fault.ends or "-")}
        fault.cause(self.site)
        ended_s = time.monotonic()
        back_s = self._recover(opens, fault.recovery_s)
        sockets_s = tuple(max(0.0, back_s[socket] - ended_s) for socket in opens)
        return Caused(name, time.monotonic() - ended_s, sockets_s)

    def _recover(self, opens: Mapping[str, int], timeout_s: float) -> Mapping[str, float]:
        """Until every socket is open, those that had opened so often before anew, and the link is up. Answers when each
        socket was first seen so."""
        back_s: dict[str, float] = {}

        def recovered() -> bool:
            lines = self.site.lines()
            back = [line.name for line in lines if line.open and line.opens > opens.get(line.name, 0)]
            for socket in back:
                back_s.setdefault(socket, time.monotonic())
            return len(back) == len(lines) and self.site.node.ready

        self.site.wait(recovered, "did not recover", timeout_s)
        return back_s

    def _judge(self) -> None:
        site, verdict = self.site, self.verdict
        counted = self.ledger.counted
        verdict.sent, verdict.counted = len(self.ledger.notices), len(counted)
        with contextlib.suppress(AssertionError):  # the test judges it
            site.wait(lambda: site.clients.refreshed, "no token was refreshed")
        verdict.refreshed = site.clients.refreshed
        unsent = [notice for notice in counted if notice.outcome != "sent"]
        verdict.faults += [f"in a calm, but {notice.outcome}: {notice.id}" for notice in unsent]
        with contextlib.suppress(AssertionError):  # what is missing then is told below
            site.wait(lambda: not self._lost(), "lost", ARRIVE_WITHIN_S)
        verdict.faults += [f"lost: {lost}" for lost in self._lost()]
        verdict.faults += [f"doubled: {doubled}" for doubled in self._doubled()]
        verdict.faults += [f"not open at the end: {line}" for line in site.lines() if not line.open]
        verdict.faults += [f"history: {words}" for words in self._history_faults()]
        for console in (site.console.console, site.clients.console):
            verdict.faults += [f"the page says: {words}" for words in console.unexpected]

    def _received(self) -> dict[tuple[str, str], Counter[str]]:
        """By user and route."""
        pages = ((CONSOLE_USER, self.site.console.received), (CLIENTS_USER, self.site.clients.received))
        return {(user, route): received.get(route, Counter()) for user, received in pages for route in NOTIFIED_ROUTES}

    def _lost(self) -> list[str]:
        return [
            f"{notice.id} on {route}"
            for (user, route), received in self._received().items()
            for notice in self.ledger.counted
            if notice.user_id == user and notice.outcome == "sent" and not received[notice.id]
        ]

    def _doubled(self) -> list[str]:
        found = [
            f"{id} on {route}, {count} times"
            for (_, route), received in self._received().items()
            for id, count in received.items()
            if count > 1
        ]
        repeats = self.site.clients.repeats
        return found + ([f"{repeats} held back by the clients"] if repeats else [])

    def _history_faults(self) -> list[str]:
        """Of the console's history, which two sockets feed, and which remembers more than a calm brings."""
        titles = Counter(self.site.console.titles())
        last_calm_s, _ = self.ledger.calms[-1]
        last = [each for each in self.ledger.counted if each.user_id == CONSOLE_USER and each.asked_s >= last_calm_s]
        twice = [f"{title} stands {count} times" for title, count in titles.items() if count > 1]
        return twice + [f"lacks {notice.id}" for notice in last if not titles[f"Number {notice.id}"]]


def soak(folder: Path, *, seconds: float, seed: int, faults: Mapping[str, Fault], trace: bool = False) -> Verdict:
    """Run one with these kinds of faults, each at least once."""
    verdict = Verdict(seed)
    node = Node(folder)
    node.start()
    try:
        with proxy(node.port) as network, chromium() as browser:
            context = new_context(browser)
            url = f"http://127.0.0.1:{network.port}"
            console, clients = SoakedConsole.open(context, url), SoakedClients.open(context, url, node.api_key)
            site = Site(node, network, context, console, clients, random.Random(seed))
            Soak(site, faults, verdict).run(seconds, trace=trace)
            context.close()
    finally:
        node.end(signal.SIGTERM)
    verdict.faults += [f"Hermes says: {line.strip()}" for line in node.complaints]
    return verdict


def new_seed() -> int:
    """Told at the end, so that the same faults can be had again."""
    return random.SystemRandom().randrange(1_000_000)


def main() -> int:
    """``python -m tests.soak.run``: 0 when it passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=900.0, help="how long faults are caused (default: 900)")
    parser.add_argument("--seed", type=int, default=None, help="the same faults in the same order")
    words = parser.parse_args()
    seed = new_seed() if words.seed is None else words.seed
    print(f"seed {seed}, {words.seconds:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        faults = {**QUICK_FAULTS, **SLOW_FAULTS}
        verdict = soak(Path(folder), seconds=words.seconds, seed=seed, faults=faults, trace=True)
    print(verdict.report())
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
