"""Floor 3: what ``--dev`` prints when it is up: commands to paste, each of which shows something."""

from dataclasses import dataclass

from hermes.auth.tokens import TokenSigner
from hermes.dev.demo_users import ANA, DEMO_USERS


@dataclass(frozen=True, slots=True)
class Running:
    """What the welcome speaks of. ``broker_port`` is None where there is no embedded broker, ``why`` then says why."""

    url: str
    api_key: str
    mint: TokenSigner
    broker_port: int | None
    devices: int
    command: str = "hermes"
    why: str = ""
    accounts: bool = False  # whether the broker asks everyone for a password


def welcome(running: Running) -> str:
    """The text, for standard output."""
    lines = [f"\nHermes is up. Console:\n\n  {running.url}/\n"]
    lines.append("Send a notification and watch it pop up there:\n")
    lines.append(f"  {_curl(running)}\n")
    if running.broker_port is None:
        lines.append(f"No devices: {running.why}\n")
    else:
        lines += _device_lines(running)
    lines.append("Tokens, good for 30 days, on this machine only:\n")
    lines += [f"  {person.label}\n  {person.token(running.mint)}\n" for person in DEMO_USERS]
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


def _curl(running: Running) -> str:
    body = f'{{"user_id":"{ANA.user_id}","title":"New alert","message":"Sensor X is hot","type":"warning"}}'
    return (
        f"curl -s {running.url}/notify -H 'X-API-Key: {running.api_key}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )


def _device_lines(running: Running) -> list[str]:
    topic = f"tenants/{ANA.tenant_id}/devices/mine/temp"
    url = "" if running.url.endswith("127.0.0.1:8080") else f" --url {running.url}"
    publish = f"mosquitto_pub -p {running.broker_port} -t {topic} -m '{{\"value\":21.4}}'"
    return [
        f"{running.devices} simulated devices publish to the broker on port {running.broker_port}. Be one of them:\n",
        f"  {f'{running.command} device add {ANA.tenant_id}/mine' if running.accounts else publish}\n",
        "See what a browser would get:\n",
        f"  {running.command} listen tenant/{ANA.tenant_id}{url}\n",
    ]
