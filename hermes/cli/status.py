"""``hermes status``: the state of a running Hermes."""

import argparse
import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from hermes import log
from hermes.auth.api_keys import Scope
from hermes.cli.arguments import add_setting_flags, given
from hermes.client import HermesClient
from hermes.dev.secrets import stored_key
from hermes.errors import HermesError, RequestError
from hermes.settings.load import load_client
from hermes.settings.model import ClientSettings

EXAMPLES = """\
examples:
  hermes status
  hermes status --quiet && echo running
  hermes status --url http://gateway.example:8080 --api-key-file api-keys

Without --config, the file /etc/hermes/hermes.toml is used if there is one: address and API key are read from it.
Exit code 0 if Hermes answers, 1 if it does not. --quiet prints nothing and needs no API key."""

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` and the settings of the client."""
    parser.add_argument("--quiet", action="store_true", help="print nothing; only the exit code is the result")
    add_setting_flags(parser, ClientSettings, only=("api_url", "api_key_file", "ca_file"))


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    log.quiet_client()
    if options.quiet:
        settings = load_client(given(options), with_key=False)
        return 0 if asyncio.run(HermesClient(settings.api_url, tls=settings.tls).is_running()) else 1
    settings = load_client(given(options))
    client = HermesClient(settings.api_url, api_key=settings.api_key(Scope.STATUS) or stored_key(), tls=settings.tls)
    try:
        figures = asyncio.run(client.status())
    except RequestError as error:
        advice = "; give --api-key-file" if error.status in (401, 403) else ""
        raise HermesError(f"{settings.api_url}: {error.message}{advice}") from None
    for name, text in table(figures, settings.api_url):
        print(f"{name:<12}{text}")
    return 0


def table(figures: Mapping[str, Any], url: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each line for the figures of ``GET /status``."""
    mqtt, sockets, process = figures["mqtt"], figures["sockets"], figures["process"]
    problems = figures.get("missing", mqtt["missing"])
    up_s = (figures["now"] - figures["started"]) / 1000
    yield "Hermes", f"{figures['version']} at {url}, pid {process['pid']}, up for {duration(up_s)}"
    yield "ready", "yes" if figures["ready"] else "; ".join(["no", *problems])
    yield "MQTT", f"{mqtt['state']} since {_time(mqtt['since'])}, {mqtt['broker']} broker"
    yield "received", f"{mqtt['received']:,} messages; dropped {_counts(mqtt['dropped'])}; {mqtt['queued']:,} waiting"
    yield (
        "links",
        f"{mqtt['connects']:,} connections, {mqtt['outages']:,} outages of {duration(mqtt['outage_s'])} in all",
    )
    count = sum(sockets["open"].values())
    yield "sockets", f"{count:,} of {sockets['limit']:,} open: {_counts(sockets['open'])}; {sockets['blocked']:,} slow"
    yield "closed", f"{_counts(sockets['closed'])}; refused {_counts(sockets['refused'])}"
    if last := sockets.get("last_refused_origin"):
        yield "origins", f"{sockets['origins_refused']:,} requests refused, the last: {last['message']}"
    yield "delivered", f"{figures['delivery']['deliveries']:,} frames; {figures['delivery']['skipped']:,} left out"
    yield "notify", _counts(figures["notify"]["answers"])
    snapshot = figures["snapshot"]
    size = _mebibytes(snapshot["bytes"])
    yield "last values", f"{snapshot['values']:,}, {size}; evicted {_counts(snapshot['evicted'])}"
    looks = process["loop_looks"]
    lag_ms = 1000 * process["loop_lag_s"] / looks if looks else 0.0
    memory = _mebibytes(process["rss_bytes"])
    yield "process", f"{memory} of memory, {process['cpu_s']:.1f} s of CPU, event loop {lag_ms:.1f} ms late"
    if cluster := figures.get("cluster"):
        yield from (("node", text) for text in node_lines(figures, cluster))


def node_lines(figures: Mapping[str, Any], cluster: Mapping[str, Any]) -> Iterator[str]:
    """Yield a text for each node; the one that answered is the first."""
    own = {
        "version": figures["version"],
        "users": cluster["users"],
        "sockets": sum(figures["sockets"]["open"].values()),
    }
    yield f"{cluster['node']}: {cluster['state']}, {_counts_of_node(own)}, answered this command"
    for node in cluster["nodes"]:
        answered = node["figures"] is not None
        facts = [node["state"] or "state not known"] if answered else [f"no answer, {_heard(figures, node)}"]
        facts.append(_counts_of_node(node))
        if not node["same_keys"]:
            facts.append("verifies tokens with other keys than this node")
        if node["protocol"] != cluster["protocol"]:
            facts.append(f"protocol {node['protocol']} between nodes, here {cluster['protocol']}")
        yield "; ".join([f"{node['node']}: {', '.join(facts)}", *(node["figures"] or {}).get("missing", ())])
    for node in cluster["former"]:
        yield f"{node['node']}: {'stopped' if node['left'] else 'lost'}, {_heard(figures, node)}"


def _counts_of_node(node: Mapping[str, Any]) -> str:
    return f"version {node['version']}, users {node['users']:,}, sockets {node['sockets']:,}"


def _heard(figures: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    return f"last heard {duration((figures['now'] - node['heard']) / 1_000)} ago"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``3 d 4 h``."""
    rest = int(seconds)
    parts: list[str] = []
    for name, size in UNITS:
        count, rest = divmod(rest, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000).astimezone().isoformat(sep=" ", timespec="seconds")


def _counts(counts: Mapping[str, int]) -> str:
    found = [f"{name} {count:,}" for name, count in counts.items() if count]
    return ", ".join(found) or "none"


def _mebibytes(size: int) -> str:
    return f"{size / 1_048_576:.1f} MiB"
