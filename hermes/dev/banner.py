"""The text that ``--dev`` prints after the start, with commands to paste."""

from dataclasses import dataclass

from hermes.auth.tokens import TokenSigner
from hermes.dev.demo_users import ANA, DEMO_USERS


@dataclass(frozen=True, slots=True)
class Running:
    """The facts of the running gateway that the banner contains.

    ``broker_port`` is None without an embedded broker; ``why`` is then the reason. ``accounts`` is whether the broker
    requires passwords. ``inbox`` is the file of the inbox; empty without one.
    """

    url: str
    api_key: str
    signer: TokenSigner
    broker_port: int | None
    devices: int
    command: str = "hermes"
    why: str = ""
    accounts: bool = False
    inbox: str = ""


def banner(running: Running) -> str:
    """Return the text for standard output."""
    lines = [f"\nHermes is running. Console:\n\n  {running.url}/\n"]
    lines.append("Send a notification; it appears in the console:\n")
    lines.append(f"  {_curl(running)}\n")
    if running.inbox:
        lines.append(f"It is also stored, for pages that are closed now, in\n\n  {running.inbox}\n")
    if running.broker_port is None:
        lines.append(f"No devices: {running.why}\n")
    else:
        lines += _device_lines(running)
    lines.append("Tokens for this machine, valid for 30 days:\n")
    lines += [f"  {user.label}\n  {user.token(running.signer)}\n" for user in DEMO_USERS]
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
    add = f"{running.command} device add {ANA.tenant_id}/mine"
    return [
        f"{running.devices} simulated devices publish to the broker on port {running.broker_port}. Add your own:\n",
        f"  {add if running.accounts else publish}\n",
        "See the frames that a browser gets:\n",
        f"  {running.command} listen tenant/{ANA.tenant_id}{url}\n",
    ]
