"""An inbox in PostgreSQL from outside: the command, the start, a full disk."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.contenders.postgres import postgres_server
from hermes.cli.main import main
from hermes.ids import UserId
from hermes.inbox.inbox import Reader
from hermes.inbox.position import BEGINNING
from tests.support.disks import Disk, database_disk
from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes, eventually, token
from tests.support.inboxes import inbox_at
from tests.support.postgres import Databases, needs_postgres
from tests.support.programs import free_port
from tests.support.programs import hermes as hermes_program

pytest.importorskip("psycopg")

from hermes.inbox.postgres import writer

pytestmark = pytest.mark.postgres
ANA = token(tenant_id="acme")


def test_the_command_creates_the_tables_shows_figures_and_purges(
    postgres: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a Hermes that runs; copies are for the tools of PostgreSQL."""
    url = postgres.server.url(postgres.new())
    flags = ["inbox", "--inbox", url]
    assert main([*flags, "stats"]) == 2
    assert "hermes inbox migrate" in capsys.readouterr().err
    assert main([*flags, "migrate", "--grant", "unknown-role"]) == 2
    assert "unknown-role" in capsys.readouterr().err
    for words in ("version 0 → 1", "the tables have version 1"):
        assert main([*flags, "migrate"]) == 0
        assert words in capsys.readouterr().out
    asyncio.run(filled(url, 3))
    assert main([*flags, "stats"]) == 0
    assert "rows        3" in capsys.readouterr().out
    assert main([*flags, "purge", "--user", "ana"]) == 0
    assert "removed 3 notifications" in capsys.readouterr().out
    assert asyncio.run(unread(url)) == (0, True)
    for verb, tool in (("backup", "pg_dump"), ("restore", "pg_restore")):
        assert main([*flags, verb, "file"]) == 1
        assert tool in capsys.readouterr().err


async def filled(url: str, number: int) -> None:
    """Store notifications to ana."""
    from tests.support.inboxes import submission

    inbox = inbox_at(url)
    await inbox.start()
    for index in range(number):
        at_ms = time.time_ns() // 1_000_000
        await inbox.append(submission(f"n{index}", user="ana", at_ms=at_ms), lambda _stored: None)
    await inbox.stop()


async def unread(url: str) -> tuple[int, bool]:
    """Return how much ana has not read, and whether something is lost."""
    inbox = inbox_at(url)
    await inbox.start()
    resumed = await inbox.resume(Reader(UserId("ana")), BEGINNING)
    await inbox.stop()
    return resumed.unread, resumed.gap


def test_check_looks_at_the_tables(postgres: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    """A database that Hermes can use, and one that it cannot, with what to do."""
    flags = ["check", "--port", "0", "--mqtt-url", "off", "--inbox"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_JWT_SECRET", SECRET)
        assert main([*flags, postgres.empty()]) == 0
        assert "has the tables of this version" in capsys.readouterr().out
        assert main([*flags, postgres.server.url(postgres.new())]) == 1
        assert "hermes inbox migrate" in capsys.readouterr().out


def test_migrate_is_for_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file needs none."""
    assert main(["inbox", "--inbox", str(tmp_path / "inbox.db"), "migrate"]) == 1
    assert "postgresql://" in capsys.readouterr().err


@pytest.mark.slow
def test_hermes_does_not_start_without_the_tables(postgres: Databases, key_file: Path) -> None:
    """Exit code 2 and one line, with nothing of a traceback."""
    url = postgres.server.url(postgres.new())
    flags = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file), "--inbox", url)
    with hermes_program(*flags, HERMES_JWT_SECRET=SECRET) as program:
        program.wait_for("hermes inbox migrate")
        assert program.process.wait(60) == 2
        assert "Traceback" not in "".join(program.errors)


@pytest.mark.gen_test
async def test_a_backup_over_http_is_refused(make_hermes: MakeHermes, postgres: Databases) -> None:
    """It would be no file."""
    hermes = await make_hermes(inbox=postgres.empty())
    response = await hermes.request("/inbox/backup", method="POST", body="", headers={"X-API-Key": KEY})
    assert (response.code, json.loads(response.body)["error"]["code"]) == (409, "not_a_file")


@pytest.mark.gen_test
async def test_two_gateways_share_one_inbox(make_hermes: MakeHermes, postgres: Databases) -> None:
    """A socket at one gets what was sent at the other, without a bus: in order, once, and its acknowledgements."""
    url = postgres.empty()
    one, two = await make_hermes(inbox=url), await make_hermes(inbox=url)
    at_one, at_two = [await each.open("/ws/notifications?since=0", ANA) for each in (one, two)]
    for socket in (at_one, at_two):
        assert (await socket.receive())["action"] == "resumed"
    for number in range(6):
        sender = (one, two)[number % 2]
        body = {"user_id": "123", "title": "t", "message": "", "id": f"n{number}"}
        answer = await sender.notify(body)
        assert (answer["stored"], answer["seq"]) == (True, number + 1)
    for socket in (at_one, at_two):
        assert [(await socket.receive())["seq"] for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    await at_one.send({"action": "ack", "notification_id": "n0"})
    for socket in (at_one, at_two):
        assert (await socket.receive())["notification_id"] == "n0"
    waiting = asyncio.ensure_future(two.request("/inbox?since=0&limit=1", headers={"Authorization": f"Bearer {ANA}"}))
    assert "acked_at" in json.loads((await waiting).body)["frames"][0]
    repeated = await two.notify({"user_id": "123", "title": "t", "message": "", "id": "n0"})
    assert repeated == {"status": "success", "sent": True, "id": "n0", "stored": True, "seq": 1, "duplicate": True}


@pytest.mark.gen_test
async def test_open_sockets_learn_of_another_database_after_an_outage(
    make_hermes: MakeHermes,
    postgres: Databases,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They get another answer, however long it lasted; one that asks meanwhile is closed, unless it had no answer."""
    monkeypatch.setattr(writer, "GRACE_S", 0.0)
    hermes = await make_hermes(inbox=postgres.empty())
    assert hermes.gateway.inbox is not None
    store = hermes.gateway.inbox.store
    sockets = [await hermes.open("/ws/notifications?since=0", ANA) for _ in range(4)]
    for socket in sockets:
        assert (await socket.receive())["action"] == "resumed"
    *waiting, asking = sockets
    other = await hermes.open("/ws/notifications", ANA)
    await hermes.notify({"user_id": "123", "title": "t", "message": "", "id": "n0"})
    for socket in (*sockets, other):
        assert (await socket.receive())["id"] == "n0"
    old = store.epoch
    postgres.replace()
    with postgres.outage():
        await eventually(lambda: store._writer._is_down)  # type: ignore[attr-defined]
        for socket in (asking, other):
            await socket.send({"action": "resume", "since": f"{old}:1"})
        assert await asking.wait_closed() == (1011, "internal_error")
        answer = await hermes.notify({"user_id": "123", "title": "t", "message": "", "id": "n1"})
        assert (answer["sent"], answer["stored"]) == (True, False)
        for socket in (*waiting, other):
            assert (await socket.receive())["id"] == "n1"
    for socket in waiting:
        frame = await socket.receive()
        assert (frame["action"], frame["gap"], frame["epoch"] == old) == ("resumed", True, False)
        assert (await socket.receive())["id"] == "n0"
    assert "open sockets" in caplog.text
    caplog.clear()


@pytest.fixture
def small_disk() -> Iterator[Disk]:
    """A disk of 160 MB, with a folder for a server."""
    needs_postgres()
    with database_disk("160m") as disk:
        (disk.folder / "server").mkdir(mode=0o755)
        yield disk


@pytest.mark.slow
@pytest.mark.gen_test(timeout=300)
async def test_a_full_disk_of_the_database_does_not_stop_delivery(
    make_hermes: MakeHermes, small_disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """``stored: false`` with ``disk_full``, and ``/ready`` says so; with room again, it stores without a restart."""
    settings = ("max_wal_size = 64MB", "wal_keep_size = 0")
    with postgres_server(free_port(), settings, folder=small_disk.folder / "server") as server:
        server.execute("CREATE DATABASE hermes")
        url = server.url("hermes")
        assert main(["inbox", "--inbox", url, "migrate"]) == 0
        hermes = await make_hermes(inbox=url)
        socket = await hermes.open("/ws/notifications", ANA)
        assert (await hermes.notify(note(0)))["stored"]
        await socket.receive()
        small_disk.leave(1_048_576)
        number, answer = 0, dict[str, Any](stored=True)
        while answer["stored"]:
            number += 1
            answer = await hermes.notify(note(number))
            assert answer["sent"]
            assert (await socket.receive())["id"] == f"n{number}"
        assert answer["reason"] in ("disk_full", "timeout")  # the server may stop when its log cannot be written
        await eventually(lambda: hermes.gateway.inbox is not None and hermes.gateway.inbox.store.problem is not None)
        response = await hermes.request("/ready")
        assert response.code == 503
        assert b"inbox" in response.body
        small_disk.empty()
        await asyncio.to_thread(server.restart_if_ended)
        await eventually_stored(hermes)
    caplog.clear()


def note(number: int) -> dict[str, object]:
    """Return a notification with a text that cannot be compressed to nothing."""
    text = "".join(chr(33 + (number * 7 + index * index) % 90) for index in range(8_000))
    return {"user_id": "123", "title": "t", "message": text, "id": f"n{number}"}


async def eventually_stored(hermes: Hermes) -> None:
    """Wait until a notification is stored."""
    for number in range(10_000, 10_600):
        if (await hermes.notify(note(number)))["stored"]:
            return
        await asyncio.sleep(0.1)
    pytest.fail("nothing is stored")
