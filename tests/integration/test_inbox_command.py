"""``hermes inbox``: with a file that is not in use, and with a running Hermes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes.cli.main import main
from hermes.delivery.messages import now_ms
from hermes.ids import UserId
from hermes.inbox.inbox import Reader, StoreLimits
from hermes.inbox.position import Position
from hermes.inbox.sqlite.inbox import SqliteInbox
from hermes.metrics import Metrics
from tests.support.gateways import KEY, Hermes, MakeHermes
from tests.support.inboxes import submission


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the inbox."""
    return tmp_path / "inbox.db"


async def filled(path: Path, number: int = 3) -> str:
    """Store notifications to ana and ben; return the epoch."""
    inbox = SqliteInbox(path, limits=StoreLimits(), now_ms=now_ms, metrics=Metrics())
    await inbox.start()
    for index in range(number):
        for user in ("ana", "ben"):
            await inbox.append(submission(f"n{index}", user=user, at_ms=now_ms()), lambda _stored: None)
    await inbox.stop()
    return inbox.epoch


async def unread(path: Path, user: str, position: Position | None = None) -> tuple[int, bool]:
    """Return how much a user has not read, and whether its position has a gap."""
    inbox = SqliteInbox(path, limits=StoreLimits(), now_ms=now_ms, metrics=Metrics())
    await inbox.start()
    resumed = await inbox.resume(Reader(UserId(user)), position or Position(inbox.epoch, 0))
    await inbox.stop()
    return resumed.unread, resumed.gap


def test_the_file_of_a_hermes_that_does_not_run(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures, a copy, a purge, and back to the copy."""
    epoch = asyncio.run(filled(path))
    flags = ["inbox", "--inbox", str(path)]
    assert main([*flags, "stats"]) == 0
    assert f"epoch       {epoch}" in capsys.readouterr().out
    copy = tmp_path / "copy.db"
    assert main([*flags, "backup", str(copy)]) == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert main([*flags, "backup", str(copy)]) == 1
    assert main([*flags, "purge", "--user", "ana"]) == 0
    assert "removed 3 notifications" in capsys.readouterr().out
    assert asyncio.run(unread(path, "ana")) == (0, True)  # a purge is a loss
    assert asyncio.run(unread(path, "ben")) == (3, False)
    assert main([*flags, "restore", str(copy)]) == 0
    assert asyncio.run(unread(path, "ana", Position(epoch, 6))) == (3, True)
    assert path.with_name("inbox.db.replaced").exists()


@pytest.mark.parametrize("verb", [["stats"], ["purge", "--user", "a"], ["backup", "x"]])
def test_a_file_that_does_not_exist_is_named(path: Path, verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And not created."""
    assert main(["inbox", "--inbox", str(path), *verb]) == 1
    assert f"there is no inbox {path}" in capsys.readouterr().err
    assert not path.exists()


def test_a_damaged_copy_is_not_restored(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The inbox stays as it is."""
    asyncio.run(filled(path))
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"not a database" * 1_000)
    assert main(["inbox", "--inbox", str(path), "restore", str(copy)]) == 1
    assert "copy.db" in capsys.readouterr().err
    assert asyncio.run(unread(path, "ana")) == (3, False)


@pytest.fixture
def command(path: Path, tmp_path: Path) -> Callable[..., "asyncio.Future[int]"]:
    """Run ``hermes inbox`` beside the gateway of the test."""
    keys = tmp_path / "keys-of-the-command"
    keys.write_text(KEY)
    keys.chmod(0o600)

    async def run(hermes: Hermes, *words: str) -> int:
        flags = ["--inbox", str(path), "--url", hermes.url, "--api-key-file", str(keys)]
        return await asyncio.to_thread(main, ["inbox", *flags, *words])

    return run  # type: ignore[return-value]


@pytest.mark.gen_test
async def test_a_running_hermes_is_asked(
    make_hermes: MakeHermes,
    path: Path,
    tmp_path: Path,
    command: Callable[..., "asyncio.Future[int]"],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The copy is a complete inbox; what is sent meanwhile is not disturbed; a restore is refused."""
    await filled(path, 200)
    hermes = await make_hermes(inbox=str(path))
    copy = tmp_path / "copy.db"
    sends = [hermes.notify({"user_id": "cyd", "title": "t", "message": str(number)}) for number in range(20)]
    done, *answers = await asyncio.gather(command(hermes, "backup", str(copy)), *sends)
    assert done == 0
    assert all(answer["stored"] for answer in answers)
    assert (await unread(copy, "ana"))[0] == 200
    assert await command(hermes, "stats") == 0
    assert "rows        420" in capsys.readouterr().out
    assert await command(hermes, "purge", "--user", "ana") == 0
    assert "removed 200 notifications" in capsys.readouterr().out
    assert await command(hermes, "restore", str(copy)) == 2
    assert "in use by process" in capsys.readouterr().err
