"""The Python client and the commands with an inbox."""

import asyncio
import json
from pathlib import Path

import pytest

from hermes.cli.main import main
from hermes.client import HermesClient, Reconnect
from hermes.errors import RequestError
from tests.support.gateways import KEY, Hermes, MakeHermes, token

pytestmark = pytest.mark.usefixtures("patient")

ANA = token(tenant_id="acme")


async def started(make_hermes: MakeHermes, tmp_path: Path, **given: str) -> Hermes:
    """Start a gateway with an inbox."""
    return await make_hermes(inbox=str(tmp_path / "inbox.db"), **given)


@pytest.mark.gen_test
async def test_a_listener_resumes_after_a_restart(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """What was sent while the server was away or the client was waiting comes once."""
    hermes = await started(make_hermes, tmp_path)
    port = hermes.url.rpartition(":")[2]
    client = HermesClient(hermes.url, token=ANA, api_key=KEY)
    await client.notify(user_id="123", title="first", message="")
    reconnects: list[Reconnect] = []
    frames = client.listen("notifications", since="0", on_reconnect=reconnects.append)
    assert (await anext(frames))["action"] == "resumed"
    assert (await anext(frames))["title"] == "first"
    await hermes.gateway.stop()
    hermes = await started(make_hermes, tmp_path, port=port)
    await client.notify(user_id="123", title="second", message="")
    resumed = await anext(frames)
    assert (resumed["from"], resumed["gap"]) == (1, False)
    assert (await anext(frames))["title"] == "second"
    assert reconnects
    await frames.aclose()


@pytest.mark.gen_test
async def test_the_fields_of_the_inbox_are_sent(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """And refused by a gateway without one."""
    hermes = await started(make_hermes, tmp_path)
    client = HermesClient(hermes.url, api_key=KEY)
    first = await client.notify(user_id="123", title="a", message="", id="a", ttl_s=60, priority=5, require="stored")
    assert first.answer["stored"]
    assert (await client.notify(user_id="123", title="b", message="", replaces="a")).answer["replaced"]
    plain = await make_hermes()
    with pytest.raises(RequestError, match="ttl_s"):
        await HermesClient(plain.url, api_key=KEY).notify(user_id="123", title="a", message="", ttl_s=60)


@pytest.mark.gen_test
async def test_the_command_waits_for_an_acknowledgement(
    make_hermes: MakeHermes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 with one, 1 without."""
    hermes = await started(make_hermes, tmp_path)
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    words = ["notify", "--url", hermes.url, "--api-key-file", str(key_file), "--user", "123", "--title", "t"]
    words += ["--message", "m", "--id", "n", "--wait", "acked", "--timeout"]
    socket = await hermes.open("/ws/notifications", ANA)
    waiting = asyncio.ensure_future(asyncio.to_thread(main, [*words, "60"]))
    assert (await socket.receive())["id"] == "n"
    await socket.send({"action": "ack", "notification_id": "n"})
    assert await waiting == 0
    assert json.loads(capsys.readouterr().out)["acked"] is True
    words[words.index("n")] = "never"
    assert await asyncio.to_thread(main, [*words, "1"]) == 1
    assert json.loads(capsys.readouterr().out)["acked"] is False
