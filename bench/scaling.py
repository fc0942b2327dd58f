"""``python -m bench.scaling``: what a site with many nodes needs, calculated from measured unit costs.

Each figure is a flag, so that a reader can use their own. Every limit is the amount that a site needs of something,
divided by what there is of it; the largest share breaks first.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from bench import report
from bench.processes import CHECKOUT

PAGE = CHECKOUT / "docs" / "scaling.md"
KIB, MIB, GIB = 1_024, 1_048_576, 1_073_741_824
CORE_US = 1e6  # of CPU in a second
PROBES_MAX_PER_S = 1_000  # of one node; hermes/cluster/attachment.py
FENCES_MAX_PER_S = 40  # of one node; hermes/cluster/deliveries.py


def _given(default: float, text: str) -> Any:
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True)
class Site:
    """What a site is like, and its machines."""

    nodes: float = _given(100, "nodes")
    sockets: float = _given(1_000_000, "open sockets in all, each of another user")
    notifications_per_user_h: float = _given(1, "notifications to each of these users in an hour, one by one")
    offline_percent: float = _given(20, "further notifications to users without a socket, in percent of these")
    session_h: float = _given(8, "hours for which a socket stays open")
    device_messages_per_s: float = _given(2_000, "MQTT messages in a second")
    watched_percent: float = _given(1, "of them, those that the sockets of one node watch, in percent")
    on_demand: float = _given(0, "1 with --mqtt-on-demand true")
    kept_days: float = _given(7, "days for which the inbox keeps a notification")
    node_gib: float = _given(2, "memory of the machine of a node, GiB")
    nats_servers: float = _given(3, "NATS servers")
    nats_gib: float = _given(4, "memory of the machine of a NATS server, GiB")
    nats_cores: float = _given(4, "its cores")
    database_cores: float = _given(8, "cores of the machine of PostgreSQL")
    max_connections: float = _given(100, "max_connections of PostgreSQL")
    inbox_gib: float = _given(1, "--inbox-max-bytes, GiB")
    max_sockets: float = _given(49_024, "--max-sockets of a node, with LimitNOFILE=65536")


@dataclass(frozen=True, slots=True)
class Costs:
    """Unit costs, with the scenario of ``make bench`` that measures each."""

    base_mib: float = _given(60, "memory of a Hermes without sockets, MiB (docs/guide/sizing.md)")
    socket_kib: float = _given(15.5, "memory of a socket, KiB (idle-memory)")
    user_kib: float = _given(0.34, "memory of an online user with NATS, KiB (cluster)")
    handshake_us: float = _given(362, "CPU of opening a socket, µs (handshakes)")
    notify_us: float = _given(199, "CPU of POST /notify, µs (notify-rate)")
    sender_times: float = _given(1.34, "times that, at the node that is asked (cluster)")
    receiver_times: float = _given(0.44, "times that, at the node of the user (cluster)")
    device_message_us: float = _given(110, "CPU of an MQTT message that every node reads, µs (fleet)")
    announcement_us: float = _given(26, "CPU of an announcement at each node, µs (cluster, calculated)")
    probe_us: float = _given(4, "CPU of a probe at the node that is probed, µs (cluster, calculated)")
    fence_us: float = _given(12, "CPU of a fence at each node that is asked, µs (cluster, calculated)")
    fence_answer_us: float = _given(5, "CPU of each answer to it, µs (cluster, calculated)")
    status_bytes: float = _given(2_500, "an answer to the question of /status to all nodes")
    subscription_own_kib: float = _given(0.83, "memory of a subscription at its NATS server, KiB (cluster-units)")
    subscription_other_kib: float = _given(0.71, "memory of it at each other one, KiB (cluster-units)")
    subscriptions_per_s: float = _given(59_000, "subscriptions that NATS learns in a second (cluster-units)")
    nats_request_us: float = _given(12.4, "CPU of a request with its answer at a NATS server, µs (cluster-units)")
    transactions_per_s: float = _given(282, "transactions that PostgreSQL commits one by one, 1/s (cluster-units)")
    transaction_us: float = _given(936, "CPU of PostgreSQL for one of them, µs (cluster-units)")
    foreign_row_us: float = _given(4.1, "CPU of a row at a node that does not need it, µs (cluster-units)")
    foreign_row_database_us: float = _given(2.8, "CPU of PostgreSQL for that, µs (cluster-units)")
    idle_node_us: float = _given(3_060, "CPU of an idle node in a second, µs (cluster-units)")
    idle_node_database_us: float = _given(7_560, "CPU of PostgreSQL for it in a second, µs (cluster-units)")
    row_bytes: float = _given(700, "a row as --inbox-max-bytes counts it: its frame and 400 bytes")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a site needs of something, and what there is; ``how`` is how that is known."""

    part: str
    what: str
    needed: float
    available: float
    unit: str
    how: str

    @property
    def share(self) -> float:
        """The part of it that is used; above 1 it breaks."""
        return self.needed / self.available


def limits(site: Site, costs: Costs) -> list[Limit]:
    """Return every limit, the one that breaks first at the top."""
    sent = site.sockets * site.notifications_per_user_h / 3_600
    stored = sent * (1 + site.offline_percent / 100)
    found = [*_of_a_node(site, costs, sent, stored), *_of_nats(site, costs, sent), *_of_the_inbox(site, costs, stored)]
    return sorted(found, key=lambda limit: -limit.share)


def _of_a_node(site: Site, costs: Costs, sent: float, stored: float) -> list[Limit]:
    sockets = site.sockets / site.nodes
    opened = sockets / site.session_h / 3_600
    others = site.nodes - 1
    probes = min(PROBES_MAX_PER_S * site.nodes, stored - sent) * others / site.nodes
    fences = FENCES_MAX_PER_S * others * (costs.fence_us + costs.fence_answer_us)
    read = site.watched_percent / 100 if site.on_demand else 1.0
    memory = costs.base_mib / KIB + 2 * sockets * (costs.socket_kib + costs.user_kib) * KIB / GIB
    notifications = stored / site.nodes * costs.notify_us * costs.sender_times
    notifications += sent / site.nodes * others / site.nodes * costs.notify_us * costs.receiver_times
    cluster = others / 5 * costs.announcement_us + probes * costs.probe_us + costs.idle_node_us
    return [
        Limit("a node", "memory, with room for peaks", memory, site.node_gib, "GiB", "measured, × sockets"),
        Limit("a node", "open sockets", sockets, site.max_sockets, "", "a setting"),
        _cpu("a node", "notifications", notifications, 1, "measured, × rate"),
        _cpu("a node", "new sockets", opened * costs.handshake_us, 1, "measured, × rate"),
        _cpu("a node", "MQTT feed", site.device_messages_per_s * read * costs.device_message_us, 1, "measured, × rate"),
        _cpu("a node", "rows of other nodes", stored * costs.foreign_row_us, 1, "measured with 2 nodes, × rate"),
        _cpu("a node", "announcements, probes, looks", cluster, 1, "measured with 2 nodes, × nodes"),
        _cpu("a node", "fences, if all nodes send some because one hangs", fences, 1, "measured with 2 nodes, × nodes"),
    ]


def _of_nats(site: Site, costs: Costs, sent: float) -> list[Limit]:
    own = site.sockets / site.nats_servers
    memory = (own * costs.subscription_own_kib + (site.sockets - own) * costs.subscription_other_kib) * KIB / GIB
    # a request passes two servers; an announcement reaches every node, and is a quarter of a request with its answer
    passed = 2 * sent + site.nodes * site.nodes / 5 / 4
    return [
        Limit("a NATS server", "memory of subscriptions", memory, site.nats_gib, "GiB", "measured, × users"),
        _cpu("a NATS server", "messages", passed / site.nats_servers * costs.nats_request_us, site.nats_cores,
             "measured with 2 servers, × rate"),
    ]  # fmt: skip


def _of_the_inbox(site: Site, costs: Costs, stored: float) -> list[Limit]:
    cpu = stored * costs.transaction_us
    cpu += stored * (site.nodes - 1) * costs.foreign_row_database_us + site.nodes * costs.idle_node_database_us
    kept = stored * site.kept_days * 86_400 * costs.row_bytes / GIB
    return [
        Limit("PostgreSQL", "connections", site.nodes + 3, site.max_connections, "", "a setting"),
        Limit("PostgreSQL", "transactions", stored, costs.transactions_per_s, "1/s", "measured with one node, × rate"),
        _cpu("PostgreSQL", "all", cpu, site.database_cores, "measured with 2 nodes, × rate × nodes"),
        Limit("PostgreSQL", "rows that are kept", kept, site.inbox_gib, "GiB", "a setting"),
    ]


def _cpu(part: str, what: str, used_us: float, cores: float, how: str) -> Limit:
    return Limit(part, f"CPU: {what}", 100 * used_us / CORE_US, 100 * cores, "% of a core", how)


def events(site: Site, costs: Costs) -> list[tuple[str, str]]:
    """Return what happens to a site, and what it takes."""
    sockets = site.sockets / site.nodes
    back_s = sockets * costs.handshake_us / CORE_US / (site.nodes - 1)
    answers_kb = site.nodes * costs.status_bytes / 1_000
    subscribed_s = site.sockets / site.nats_servers / costs.subscriptions_per_s
    return [
        ("a node ends, and its sockets return to the others", f"{back_s:.2f} s of CPU at each of them"),
        ("a NATS server ends, and its nodes move to another one", f"{subscribed_s:.1f} s until all users are known"),
        ("a console is open: a question to all nodes each second", f"{answers_kb:,.0f} KB/s to the node that it asks"),
    ]


def text(site: Site, costs: Costs) -> str:
    """Return the tables as Markdown."""
    lines = ["| part | what | needed | there is | used | known how |", "|---|---|---|---|---|---|"]
    for limit in limits(site, costs):
        unit = f" {limit.unit}" if limit.unit else ""
        used = f"{100 * limit.share:,.0f} %" if limit.share >= 0.1 else f"{100 * limit.share:.2g} %"
        cells = (limit.part, limit.what, f"{_number(limit.needed)}{unit}", f"{_number(limit.available)}{unit}", used)
        lines.append(f"| {' | '.join(cells)} | {limit.how} |")
    lines += ["", "| event | what it takes |", "|---|---|"]
    lines += [f"| {event} | {takes} |" for event, takes in events(site, costs)]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=str(__doc__).partition("\n")[0])
    for each in (*fields(Site), *fields(Costs)):
        flag, help_text = f"--{each.name.replace('_', '-')}", each.metadata["text"].replace("%", "%%")
        parser.add_argument(flag, type=float, default=each.default, metavar="N", help=f"{help_text} ({each.default:g})")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    given = vars(parser.parse_args(arguments))
    site = Site(**{each.name: given[each.name] for each in fields(Site)})
    costs = Costs(**{each.name: given[each.name] for each in fields(Costs)})
    tables = text(site, costs)
    print(tables)
    if given["write"]:
        report.write(PAGE, tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
