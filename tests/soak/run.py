"""Soak test: random faults; the console and clients of the client module must recover without loss.

``make soak`` runs it for 15 minutes, ``make test-all`` for one minute, ``make test`` for some seconds. One fault occurs
at a time. After its end every socket must reopen by itself and Hermes must be connected to the broker; this is the
*recovery*. The time between a recovery and the next fault is a *calm*; :mod:`tests.soak.ledger` describes which
notifications must arrive.
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
CALM_S = (1.0, 2.5)  # minimum between a recovery and the next fault, chosen at random
CALM_NOTIFICATIONS_MIN = 6  # responses in one calm, so that each calm tests something
ARRIVE_WITHIN_S = 60.0  # reached only in a soak that fails


@dataclass(frozen=True, slots=True)
class Caused:
    """A fault after its recovery; times are seconds from the end of the fault."""

    name: str
    recovered_s: float
    sockets_s: tuple[float, ...]  # until each socket that it had closed was open again


@dataclass
class Verdict:
    """Result of a soak."""

    seed: int
    caused: list[Caused] = field(default_factory=list)
    counted: int = 0
    sent: int = 0
    refreshed: int = 0
    faults: list[str] = field(default_factory=list)  # empty if the soak passed

    def _line(self, name: str) -> str:
        matching = [each for each in self.caused if each.name == name]
        sockets_s = [seconds for each in matching for seconds in each.sockets_s]
        reopened = f", a socket reopened in {statistics.median(sockets_s):.1f} s (median)" if sockets_s else ""
        most_s = max(each.recovered_s for each in matching)
        return f"{name:12} {len(matching):3} times, recovered in {most_s:.1f} s at most{reopened}"

    def report(self) -> str:
        """Return the result as text of several lines."""
        lines = [
            f"seed {self.seed}: {self.sent} notifications, {self.counted} of them in calms; "
            f"{self.refreshed} tokens refreshed on open sockets"
        ]
        lines += [self._line(name) for name in sorted({each.name for each in self.caused})]
        faults = [f"FAULT {fault} ({count} times)" for fault, count in Counter(self.faults).items()]
        return "\n".join([*lines, *faults, "failed" if faults else "passed"])


@dataclass
class Soak:
    """One run of the soak."""

    site: Site
    faults: Mapping[str, Fault]
    verdict: Verdict
    ledger: Ledger = field(default_factory=Ledger)
    _last: str = "the first opening"

    def run(self, seconds: float, *, trace: bool = False) -> None:
        """Cause faults until the time has elapsed and each kind has occurred, in random rounds of all kinds."""
        since_s = time.monotonic()
        self._recover({line.name: 0 for line in self.site.lines()}, OPEN_WITHIN_S)
        sender = Sender(self.site.node.url, self.site.node.api_key, (CONSOLE_USER, CLIENTS_USER), self.ledger)
        sender.start()
        try:
            for name in self._kinds():
                self._calm()
                if time.monotonic() - since_s > seconds and self._all_caused:
                    break
                caused = self._cause(name)
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
        """Wait for a random time without faults and record it in the ledger."""
        since_s = time.monotonic()
        self.site.pass_time(self.site.chance.uniform(*CALM_S))
        self.site.wait(
            lambda: len(self.ledger.within(since_s, time.monotonic())) >= CALM_NOTIFICATIONS_MIN, "no responses"
        )
        self.ledger.calms.append((since_s, time.monotonic()))

    def _cause(self, name: str) -> Caused:
        fault, self._last = self.faults[name], name
        opens = {line.name: line.opens for line in self.site.lines() if line.name.startswith(fault.ends or "-")}
        fault.cause(self.site)
        ended_s = time.monotonic()
        back_s = self._recover(opens, fault.recovery_s)
        sockets_s = tuple(max(0.0, back_s[socket] - ended_s) for socket in opens)
        return Caused(name, time.monotonic() - ended_s, sockets_s)

    def _recover(self, opens: Mapping[str, int], timeout_s: float) -> Mapping[str, float]:
        """Wait for the recovery; return the time at which each socket was first seen open.

        A socket in ``opens`` must have opened more often than the number there.
        """
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
        verdict.sent, verdict.counted = len(self.ledger.notifications), len(counted)
        with contextlib.suppress(AssertionError):  # the test checks the number
            site.wait(lambda: site.clients.refreshed, "no token was refreshed")
        verdict.refreshed = site.clients.refreshed
        unsent = [notification for notification in counted if notification.outcome != "sent"]
        verdict.faults += [f"in a calm, but {notification.outcome}: {notification.id}" for notification in unsent]
        with contextlib.suppress(AssertionError):  # missing notifications are reported below
            site.wait(lambda: not self._lost(), "lost", ARRIVE_WITHIN_S)
        verdict.faults += [f"lost: {lost}" for lost in self._lost()]
        verdict.faults += [f"doubled: {doubled}" for doubled in self._doubled()]
        verdict.faults += [f"not open at the end: {line}" for line in site.lines() if not line.open]
        verdict.faults += [f"history: {text}" for text in self._history_faults()]
        for console in (site.console.console, site.clients.console):
            verdict.faults += [f"fault in the page: {text}" for text in console.unexpected]

    def _received(self) -> dict[tuple[str, str], Counter[str]]:
        """Return the received ids by user and route."""
        pages = ((CONSOLE_USER, self.site.console.received), (CLIENTS_USER, self.site.clients.received))
        return {(user, route): received.get(route, Counter()) for user, received in pages for route in NOTIFIED_ROUTES}

    def _lost(self) -> list[str]:
        return [
            f"{notification.id} on {route}"
            for (user, route), received in self._received().items()
            for notification in self.ledger.counted
            if notification.user_id == user and notification.outcome == "sent" and not received[notification.id]
        ]

    def _doubled(self) -> list[str]:
        found = [
            f"{id} on {route}, {count} times"
            for (_, route), received in self._received().items()
            for id, count in received.items()
            if count > 1
        ]
        repeats = self.site.clients.repeats
        return found + ([f"{repeats} duplicates suppressed by the clients"] if repeats else [])

    def _history_faults(self) -> list[str]:
        """Return the faults of the console's history, which receives from two sockets and stores more than one calm."""
        titles = Counter(self.site.console.titles())
        last_calm_s, _ = self.ledger.calms[-1]
        last = [
            each for each in self.ledger.counted if each.user_id == CONSOLE_USER and each.requested_s >= last_calm_s
        ]
        twice = [f"{title} is shown {count} times" for title, count in titles.items() if count > 1]
        return twice + [
            f"{notification.id} is missing" for notification in last if not titles[f"Number {notification.id}"]
        ]


def soak(folder: Path, *, seconds: float, seed: int, faults: Mapping[str, Fault], trace: bool = False) -> Verdict:
    """Run a soak with these kinds of faults, each at least once."""
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
    verdict.faults += [f"Hermes: {line.strip()}" for line in node.errors]
    return verdict


def new_seed() -> int:
    """Return a random seed; the report shows it, so that a run can be repeated."""
    return random.SystemRandom().randrange(1_000_000)


def main() -> int:
    """Run ``python -m tests.soak.run``; return 0 if the soak passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=900.0, help="time during which faults are caused (default: 900)"
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="seed of an earlier run, for the same faults in the same order"
    )
    options = parser.parse_args()
    seed = new_seed() if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        faults = {**QUICK_FAULTS, **SLOW_FAULTS}
        verdict = soak(Path(folder), seconds=options.seconds, seed=seed, faults=faults, trace=True)
    print(verdict.report())
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
