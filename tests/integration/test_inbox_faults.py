"""What breaks beneath the inbox while Hermes runs: in every case notifications still reach open sockets.

The answer says that they are not stored, and why; `/ready`, the log and the metrics say so too; and what can work again
does so without a restart. Every verdict is a state, never a time.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import time
import urllib.error
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hermes.delivery import channels
from hermes.delivery.messages import now_ms
from hermes.ids import UserId
from hermes.metrics import by_label
from hermes.testing import ClientSocket
from tests.integration.test_faults import HOUR_S, close, fetched, next_frame, open_socket, serve, serving
from tests.support.clocks import JumpingClock
from tests.support.disks import Disk, file_disk, hanging_disk, memory_disk
from tests.support.gateways import KEY, TIMEOUT_S, Hermes, MakeHermes, eventually, token
from tests.support.inboxes import HOUR_MS, FakeClock, open_store, submission

DISK_BYTES = 16 * 1_048_576
ANA = token(tenant_id="acme")


class Site:
    """A gateway with an inbox and a socket of the user 123, which resumes."""

    def __init__(self, hermes: Hermes, socket: ClientSocket) -> None:
        self.hermes = hermes
        self.socket = socket
        self.stored: list[str] = []  # the ids that were answered as stored
        self.resumed: list[dict[str, Any]] = []  # further answers to its position

    async def send(self, id: str, **fields: object) -> dict[str, Any]:
        """Send a notification; assert that the socket gets it, with a number if it is stored.

        When a new file has begun, the socket resumes again, and gets once more what that file has.
        """
        answer = await self.hermes.notify({"user_id": "123", "title": "t", "message": "", "id": id, **fields})
        frame = await self.socket.receive()
        while frame.get("action") == "resumed" or (
            self.resumed and frame.get("replayed") and frame["id"] in self.stored
        ):
            if frame.get("action") == "resumed":
                self.resumed.append(frame)
            frame = await self.socket.receive()
        assert answer["sent"] or frame.get("replayed"), answer
        assert (frame["id"], frame.get("seq")) == (id, answer.get("seq"))
        if answer["stored"]:
            self.stored.append(id)
        return answer

    async def until(self, *, stored: bool, **fields: object) -> dict[str, Any]:
        """Send notifications until one is stored, or is not; return its answer."""
        end_s = time.monotonic() + TIMEOUT_S
        for number in range(100_000):
            answer = await self.send(f"{len(self.stored)}-{number}-{stored}", **fields)
            if answer["stored"] == stored:
                return answer
            assert time.monotonic() < end_s, answer
            await asyncio.sleep(0.02)
        raise AssertionError

    async def ready(self) -> tuple[int, str]:
        """Return the status of ``/ready``, and what is missing."""
        response = await self.hermes.request("/ready", headers={"X-API-Key": KEY})
        return response.code, json.dumps(json.loads(response.body).get("missing", []))

    async def until_ready(self) -> None:
        """Wait until nothing is missing; send meanwhile."""
        end_s = time.monotonic() + TIMEOUT_S
        while (await self.ready())[0] != 200:
            assert time.monotonic() < end_s, await self.ready()
            await self.until(stored=True)

    async def kept(self) -> list[str]:
        """Return the ids of all rows that a reader finds now."""
        found: list[str] = []
        position, more = "0", True
        while more:
            response = await self.hermes.request(
                f"/inbox?since={position}&limit=1000", headers={"Authorization": f"Bearer {ANA}"}
            )
            page = json.loads(response.body)
            assert response.code == 200, page
            position, more = f"{page['epoch']}:{page['to']}", page["more"]
            found += [frame["id"] for frame in page["frames"]]
        return found

    def outcomes(self) -> dict[str, float]:
        """Return how often each outcome was counted."""
        counted = by_label(self.hermes.gateway.metrics.inbox_requests)
        return {name: times for name, times in counted.items() if times}


async def frame_of(socket: WebSocketClientConnection) -> dict[str, Any]:
    """Return the next frame of a socket of a program."""
    frame = await next_frame(socket)
    assert frame is not None
    return frame


async def open_resuming(url: str) -> WebSocketClientConnection:
    """Open a socket of a program at the beginning of the inbox."""
    return await websocket_connect(f"{url.replace('http', 'ws', 1)}/ws/notifications?since=0&token={token()}")


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
def make_site(make_hermes: MakeHermes) -> MakeSite:
    """Start a gateway with an inbox in this file."""

    async def start(path: Path) -> Site:
        hermes = await make_hermes(inbox=str(path))
        socket = await hermes.open("/ws/notifications?since=0", ANA)
        assert (await socket.receive())["action"] == "resumed"
        await eventually(lambda: channels.user(UserId("123")) in hermes.gateway.hub.watched)  # it is live
        return Site(hermes, socket)

    return start


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk in memory."""
    with memory_disk(tmp_path / "disk", str(DISK_BYTES)) as mounted:
        yield mounted


@pytest.mark.gen_test
async def test_a_full_disk(disk: Disk, make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that was stored is lost; with room again it stores again."""
    site = await make_site(disk.folder / "inbox.db")
    await site.until(stored=True)
    disk.fill()
    answer = await site.until(stored=False, data={"text": "x" * 8_192})
    assert answer["reason"] == "disk_full"
    status, missing = await site.ready()
    assert (status, "inbox" in missing) == (503, True)
    assert site.outcomes()["disk_full"] >= 1
    response = await site.hermes.post(
        {"user_id": "123", "title": "t", "message": "", "require": "stored"}, {"X-API-Key": KEY}
    )
    assert (response.code, json.loads(response.body)["error"]["code"]) == (503, "not_stored")
    disk.empty()
    await site.until(stored=True)
    await site.until_ready()
    assert await site.kept() == site.stored
    assert any("inbox" in record.message and record.levelname == "ERROR" for record in caplog.records)
    caplog.clear()


@pytest.mark.gen_test
async def test_a_disk_that_becomes_read_only(
    make_site: MakeSite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a disk does after an error; it stores again when it is writable again."""
    with file_disk(tmp_path / "disk", tmp_path / "image", DISK_BYTES) as disk:
        site = await make_site(disk.folder / "inbox.db")
        await site.until(stored=True)
        disk.make_read_only()
        answer = await site.until(stored=False)
        assert answer["reason"] == "disk_full"
        status, missing = await site.ready()
        assert (status, "inbox" in missing) == (503, True)
        await site.hermes.gateway.stop()
    assert any("inbox" in record.message and record.levelname == "ERROR" for record in caplog.records)
    caplog.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 21))])
async def test_pages_that_are_overwritten(
    make_site: MakeSite, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """At random, while Hermes reads and writes; what it sends is never damaged, and in the end it stores again."""
    chance = random.Random(seed)
    path = tmp_path / "inbox.db"
    with open_store(path, FakeClock(now_ms())) as store:  # more than SQLite keeps in memory
        for number in range(500):
            text = "x" * chance.randrange(60_000)
            store.append(submission(f"n{number}", user="ben", at_ms=now_ms(), text=text, ttl_ms=HOUR_MS))
    site = await make_site(path)
    for _ in range(10):
        if not path.exists():  # the damaged one has another name now
            await site.until(stored=True)
        size = path.stat().st_size
        with path.open("r+b") as file:
            for _ in range(20):
                file.seek(4_096 * chance.randrange(max(1, size // 4_096)))
                file.write(chance.randbytes(chance.choice((16, 500, 4_096))))
        for number in range(5):
            await site.send(f"{size}-{number}-{chance.random()}", data={"text": "x" * chance.randrange(9_000)})
        position, code = "0", 200
        while code == 200 and position:
            reader = await site.hermes.request(
                f"/inbox?limit=1000&since={position}", headers={"Authorization": f"Bearer {token('ben', 'ben')}"}
            )
            page, code = json.loads(reader.body), reader.code
            assert code in (200, 503), page
            position = f"{page['epoch']}:{page['to']}" if page.get("more") else ""
    await site.until(stored=True)
    await site.until_ready()
    assert set(site.outcomes()) <= {"stored", "corrupt", "disk_full", "timeout"}
    assert "inbox.db.damaged-1" in caplog.text
    caplog.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize("replace", [False, True], ids=["deleted", "replaced"])
async def test_a_file_that_is_deleted(
    make_site: MakeSite, tmp_path: Path, replace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What was answered as stored afterwards is in a file that a restart finds."""
    path = tmp_path / "inbox.db"
    site = await make_site(path)
    await site.until(stored=True)
    if replace:
        path.with_name("other").write_bytes(b"")
        path.with_name("other").replace(path)
    else:
        path.unlink()
    site.stored.clear()
    for number in range(20):
        await site.send(f"after-{number}")
    await site.until(stored=True)
    await site.until_ready()
    assert "was deleted or replaced" in caplog.text
    assert [frame["gap"] for frame in site.resumed] == [True]
    assert site.hermes.gateway.inbox is not None
    assert site.resumed[0]["epoch"] == site.hermes.gateway.inbox.store.epoch
    await site.hermes.gateway.stop()
    again = await make_site(path)
    await again.socket.close()
    assert await again.kept() == site.stored
    caplog.clear()


@pytest.mark.gen_test
async def test_a_log_that_is_deleted(make_site: MakeSite, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was committed into the write-ahead log is saved, before the next answer."""
    path = tmp_path / "inbox.db"
    site = await make_site(path)
    await site.until(stored=True)
    path.with_name("inbox.db-wal").unlink()
    for number in range(20):
        await site.send(f"after-{number}")
    await site.until_ready()
    assert await site.kept() == site.stored
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)  # without the log
    (rows,) = connection.execute("SELECT count(*) FROM log").fetchone()
    connection.close()
    assert rows >= 2
    assert "its content is saved" in caplog.text
    caplog.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "jump_s", [pytest.param(-HOUR_S, id="back"), pytest.param(HOUR_S, id="forward", marks=pytest.mark.slow)]
)
async def test_a_clock_that_jumps(key_file: Path, tmp_path: Path, jump_s: int) -> None:
    """Order and numbers stay; what was stored for longer than the jump is there."""
    clock = JumpingClock(tmp_path)
    path = tmp_path / "inbox.db"
    with serving("--inbox", str(path), key_file=key_file, **clock.environment) as program:
        socket = await open_resuming(program.url)
        assert (await frame_of(socket))["action"] == "resumed"

        async def send(id: str, **fields: object) -> dict[str, Any]:
            body = {"user_id": "123", "title": "t", "message": "", "id": id, "require": "stored", **fields}
            answer: dict[str, Any] = {}
            while not answer:  # a slow machine may take more than 2 s; then nothing is delivered
                with contextlib.suppress(urllib.error.HTTPError):
                    answer = json.loads(await fetched(f"{program.url}/notify", body=body))
            assert (await frame_of(socket))["id"] == id
            return answer

        assert (await send("long", ttl_s=3 * HOUR_S))["seq"] == 1
        assert (await send("short", ttl_s=HOUR_S // 2))["seq"] == 2
        clock.jump_to(jump_s)
        assert (await send("after"))["seq"] == 3
        repeated = {"user_id": "123", "title": "t", "message": "", "id": "long", "ttl_s": 3 * HOUR_S}
        repeated["require"] = "stored"
        assert json.loads(await fetched(f"{program.url}/notify", body=repeated))["duplicate"]
        await close(socket)
        again = await open_resuming(program.url)
        resumed = await frame_of(again)
        assert not resumed["gap"]
        expected = ["long", "short", "after"] if jump_s < 0 else ["long", "after"]
        assert [(await frame_of(again))["id"] for _ in expected] == expected
        assert "ready" in await fetched(f"{program.url}/ready")
        await close(again)


@pytest.mark.slow
def test_a_file_that_cannot_be_used_ends_hermes_with_words(key_file: Path, tmp_path: Path) -> None:
    """Exit code 2, so that systemd does not try again: a second Hermes on one file, and a newer version."""
    path = tmp_path / "inbox.db"
    with serving("--inbox", str(path), key_file=key_file) as first:
        assert first.url
        second = serve("--inbox", str(path), "--api-key-file", str(key_file))
        second.wait_for(rf"in use by process {first.process.pid}\b")
        assert second.process.wait(TIMEOUT_S) == 2
        second.end()
        assert first.end(signal.SIGTERM) == 0
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    newer = serve("--inbox", str(path), "--api-key-file", str(key_file))
    newer.wait_for("from a newer Hermes")
    assert newer.process.wait(TIMEOUT_S) == 2
    newer.end()


def test_a_read_only_disk_at_the_start_is_named(key_file: Path, disk: Disk) -> None:
    """The error has the file and the reason."""
    os.chmod(disk.folder, 0o700)
    disk.read_only()
    program = serve("--inbox", str(disk.folder / "inbox.db"), "--api-key-file", str(key_file))
    program.wait_for(r"cannot open .*inbox\.db.*Read-only file system")
    assert program.process.wait(TIMEOUT_S) == 1
    program.end()


@pytest.mark.gen_test
@pytest.mark.slow
async def test_a_disk_that_hangs(key_file: Path, tmp_path: Path) -> None:
    """No request waits for it for longer than 2 s, and SIGTERM ends Hermes in a bounded time."""
    hangs = tmp_path / "hangs"
    library = hanging_disk(tmp_path)
    environment = {"LD_PRELOAD": str(library), "HANGS": str(hangs)}
    path = tmp_path / "inbox.db"
    with serving("--inbox", str(path), "--drain-timeout-s", "1", key_file=key_file, **environment) as program:
        socket = await open_socket(program.url, "/ws/notifications", token())

        async def send(id: str) -> dict[str, Any]:
            body = {"user_id": "123", "title": "t", "message": "", "id": id}
            answer: dict[str, Any] = json.loads(await fetched(f"{program.url}/notify", body=body))
            assert (await frame_of(socket))["id"] == id
            return answer

        assert (await send("a"))["stored"]
        hangs.touch()
        answer = await send("b")
        assert (answer["stored"], answer["reason"]) == (False, "timeout")
        with pytest.raises(urllib.error.HTTPError) as failed:
            await fetched(f"{program.url}/ready")
        assert (failed.value.code, b"has not answered" in failed.value.read()) == (503, True)
        program.wait_for("the disk of .* has not answered")
        hangs.unlink()
        while not (answer := await send(f"c-{time.monotonic()}"))["stored"]:
            assert answer["reason"] in ("timeout", "busy")
        assert "ready" in await fetched(f"{program.url}/ready")
        hangs.touch()
        assert not (await send("d"))["stored"]
        program.process.send_signal(signal.SIGTERM)
        program.wait_for("What was answered as stored is on the disk")
        await close(socket)
        assert await asyncio.to_thread(program.process.wait, TIMEOUT_S) == 0
    hangs.unlink()
    with serving("--inbox", str(path), key_file=key_file) as program:
        again = await open_resuming(program.url)
        assert (await frame_of(again))["action"] == "resumed"
        found = [(await frame_of(again))["id"] for _ in range(2)]
        assert found[0] == "a"
        assert found[1].startswith("c-")
        await close(again)
