"""The embedded broker: started, supervised, and stopped with Hermes however Hermes ends."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import hermes
from hermes.broker import supervisor as brokers
from hermes.broker.supervisor import MosquittoProcess
from hermes.errors import BrokerUnavailable
from hermes.metrics import Metrics
from tests.support.children import child_named
from tests.support.gateways import KEY, SECRET, eventually
from tests.support.processes import open_files
from tests.support.programs import Program, free_port, needs, wait_until

pytestmark = pytest.mark.broker

PACKAGE = Path(hermes.__file__).parent
CHILD_EXEC = PACKAGE / "broker" / "child_exec.py"
ROOT = os.geteuid() == 0

PARENT = """
import asyncio, sys
from hermes.metrics import Metrics
from hermes.broker.supervisor import MosquittoProcess

async def main():
    broker = MosquittoProcess(metrics=Metrics(), port=int(sys.argv[1]))
    await broker.start()
    print(broker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on a loop of its own, on the main thread as Hermes does."""
    asyncio.run(asyncio.wait_for(scenario(), 120))


@contextlib.asynccontextmanager
async def embedded(**options: Any) -> AsyncIterator[MosquittoProcess]:
    """A running embedded broker."""
    needs("mosquitto")
    broker = MosquittoProcess(metrics=Metrics(), **({"port": free_port()} | options))
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def restarted(broker: MosquittoProcess, pid: int, restarts: int) -> bool:
    """Whether another child than this one runs after so many restarts."""
    return broker._metrics.broker_restarts._value.get() >= restarts and broker.pid not in (None, pid)


def user_of(pid: int) -> int:
    """The effective user id of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Uid:")).split()[2])


def program(directory: Path, text: str) -> str:
    """An executable script."""
    path = directory / "mosquitto"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_it_accepts_messages_on_loopback_only() -> None:
    """From mosquitto's own tools, without credentials."""

    async def scenario() -> None:
        async with embedded() as broker:
            assert str(broker.url) == f"mqtt://127.0.0.1:{broker.port}"
            listener = await asyncio.create_subprocess_exec(
                needs("mosquitto_sub"), "-p", str(broker.port), "-t", "a/#", "-C", "1", "-W", "60", stdout=-1
            )
            while listener.returncode is None:
                sender = await asyncio.create_subprocess_exec(
                    needs("mosquitto_pub"), "-p", str(broker.port), "-t", "a/b", "-m", "hello"
                )
                assert await sender.wait() == 0
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(listener.wait(), 0.05)
            assert listener.stdout is not None
            assert await listener.stdout.read() == b"hello\n"
            listening = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
            assert f" 0100007F:{broker.port:04X} 00000000:0000 0A" in listening
            assert f" 00000000:{broker.port:04X} " not in listening

    run(scenario)


def test_stopping_ends_the_child_and_closes_its_files(caplog: pytest.LogCaptureFixture) -> None:
    """A second stop does nothing."""

    async def scenario() -> None:
        async with embedded():  # asyncio's own for watching children stay open from the first on
            pass
        before = open_files(os.getpid())
        async with embedded() as broker:
            pid = broker.pid
            assert pid is not None
            assert alive(pid)
            assert user_of(pid) != 0
        assert not alive(pid)
        assert open_files(os.getpid()) == before
        assert broker.pid is None
        await broker.stop()

    run(scenario)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_default_port_is_1883_or_any_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may use 1883."""
    port = free_port()
    monkeypatch.setattr(brokers, "PLAIN_PORT", port)  # while the tests run, 1883 itself is taken

    async def scenario() -> None:
        async with embedded(port=None) as broker:
            assert broker.port == port
        with socket.create_server(("127.0.0.1", port)):
            async with embedded(port=None) as broker:
                assert broker.port != port

    run(scenario)


def test_a_port_in_use_is_named() -> None:
    """With what to do."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(BrokerUnavailable, match=f"port {port} of 127.0.0.1 is in use; choose another"):
                await MosquittoProcess(metrics=Metrics(), port=port).start()

    needs("mosquitto")
    run(scenario)


def test_a_killed_child_is_restarted_on_the_same_port(caplog: pytest.LogCaptureFixture) -> None:
    """After half a second; it is counted and logged."""

    async def scenario() -> None:
        async with embedded() as broker:
            first, port = broker.pid, broker.port
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: broker.pid not in (None, first) and not brokers._is_free(port))
            assert broker.port == port
            restarts = broker._metrics.registry.get_sample_value("hermes_broker_restarts_total")
            assert restarts == 1

    run(scenario)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "the embedded broker ended with status -9; restarting it in 0.5 s"
    ]


@pytest.mark.slow
def test_a_child_that_ends_again_and_again_is_restarted_more_and_more_slowly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hermes never gives up."""
    monkeypatch.setattr(brokers, "FIRST_RESTART_S", 0.01)
    real = needs("mosquitto")

    async def scenario() -> None:
        async with embedded() as broker:
            broker._path = program(tmp_path, "echo 'Error: made to fail' >&2; exit 3")
            (tmp_path / "mosquitto").parent.chmod(0o755)
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            restarts = broker._metrics.broker_restarts
            await eventually(lambda: restarts._value.get() >= 4)
            broker._path = real
            await eventually(lambda: broker.pid is not None and not brokers._is_free(broker.port))

    run(scenario)
    waits = [record.args[1] for record in caplog.records if "restarting" in record.message and record.args]  # type: ignore[index]
    assert waits[:4] == [0.01, 0.02, 0.04, 0.08]
    failures = [record.message for record in caplog.records if "did not restart" in record.message]
    assert failures


def test_a_child_that_lived_long_is_restarted_quickly_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits begin again at the first."""
    monkeypatch.setattr(brokers, "FIRST_RESTART_S", 0.01)
    monkeypatch.setattr(brokers, "HEALTHY_S", 0.0)

    async def scenario() -> None:
        async with embedded() as broker:
            for restart in (1, 2, 3):
                await eventually(lambda: broker.pid is not None)
                pid = broker.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                await eventually(partial(restarted, broker, pid, restart))
            assert broker._backoff._bound_s == 0.02

    run(scenario)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hermes does not wait for it longer than its limit."""
    monkeypatch.setattr(brokers, "STOP_TIMEOUT_S", 0.2)

    async def scenario() -> None:
        async with embedded() as broker:
            pid = broker.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
        assert not alive(pid)

    run(scenario)


def test_a_child_that_fails_at_once_is_quoted(tmp_path: Path) -> None:
    """Its error line is in the exception, and its files are closed."""
    text = 'if [ "$1" = -h ]; then echo "mosquitto version 2.0.11"; exit; fi; echo "Error: made to fail"; exit 3'
    broker = MosquittoProcess(metrics=Metrics(), port=free_port(), program=program(tmp_path, text))
    _make_readable(tmp_path)

    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match="ended with status 3: Error: made to fail"):
            await broker.start()

    run(scenario)
    assert broker._files == {}


def test_a_child_that_never_accepts_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time limit."""
    monkeypatch.setattr(brokers, "START_TIMEOUT_S", 0.3)
    text = 'if [ "$1" = -h ]; then echo "mosquitto version 2.0.11"; exit; fi; exec sleep 60'
    broker = MosquittoProcess(metrics=Metrics(), port=free_port(), program=program(tmp_path, text))
    _make_readable(tmp_path)

    async def scenario() -> None:
        with pytest.raises(
            BrokerUnavailable, match=f"does not accept connections at mqtt://127.0.0.1:{broker.port or ''}"
        ):
            await broker.start()

    run(scenario)
    assert broker.pid is None


def test_a_very_long_line_is_discarded(tmp_path: Path) -> None:
    """The next line is read."""
    text = (
        'if [ "$1" = -h ]; then echo "mosquitto version 2.0.11"; exit; fi;'
        " head -c 200000 /dev/zero | tr '\\0' x; echo; echo last words; exit 3"
    )
    broker = MosquittoProcess(metrics=Metrics(), port=free_port(), program=program(tmp_path, text))
    _make_readable(tmp_path)

    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match="last words"):
            await broker.start()

    run(scenario)


def test_it_must_be_started_on_the_main_thread() -> None:
    """The kernel kills the child when the thread that started it ends."""

    async def scenario() -> None:
        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="main thread"):
                asyncio.run(MosquittoProcess(metrics=Metrics()).start())

        await asyncio.to_thread(elsewhere)

    run(scenario)


def test_the_broker_ends_when_hermes_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves Hermes no time to stop it; under root the child has changed its user. No file is left."""
    _kill_the_parent([sys.executable, "-c", PARENT], {"PYTHONPATH": str(PACKAGE.parent), "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not ROOT, reason="the test before this one has run as a plain user")
def test_the_broker_ends_when_a_plain_users_hermes_is_killed(tmp_path: Path) -> None:
    """It runs from a copy that the user can read."""
    setpriv = needs("setpriv")
    home = Path("/tmp") / f"hermes-test-{os.getpid()}"
    home.mkdir()
    try:
        shutil.copytree(PACKAGE, home / "hermes", ignore=shutil.ignore_patterns("__pycache__"))
        drop_privileges = [setpriv, "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        python, path = _python_for_everyone(home, drop_privileges)
        _kill_the_parent([*drop_privileges, python, "-c", PARENT], {"PYTHONPATH": path, "HOME": str(home)})
    finally:
        shutil.rmtree(home)


def _python_for_everyone(home: Path, drop_privileges: list[str]) -> tuple[str, str]:
    """An interpreter that the plain user can run, and the path of a copy of Hermes and its libraries."""
    import msgspec
    import prometheus_client

    for library in (msgspec, prometheus_client):
        assert library.__file__ is not None
        shutil.copytree(Path(library.__file__).parent, home / library.__name__)
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", str(home)], check=True)  # whatever the umask
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        program = (
            "import os, sys, msgspec; assert sys.version_info >= (3, 11); os.execv(sys.executable, ['python', '-V'])"
        )
        command, environment = [*drop_privileges, candidate, "-c", program], {"PYTHONPATH": str(home)}
        found = subprocess.run(command, capture_output=True, cwd="/", check=False, env=environment)
        if found.returncode == 0:
            return candidate, str(home)
    pytest.skip("no Python 3.11 that a plain user can run with these libraries")


def _kill_the_parent(command: list[str], environment: dict[str, str]) -> None:
    needs("mosquitto")
    given = {"PATH": os.environ["PATH"]} | environment
    command = [*command, str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=given, cwd="/", text=True) as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline()
        assert line, "the parent did not start its broker"
        pid = int(line)
        try:
            assert alive(pid)
            assert user_of(pid) != 0
            parent.kill()
            parent.wait(60)
            wait_until(lambda: not alive(pid))
        finally:
            parent.kill()


def _make_readable(path: Path) -> None:
    """Open pytest's private directories: under root the child is another user."""
    for directory in (path, *path.parents):
        if directory == Path("/tmp") or directory.stat().st_uid != os.getuid():
            return
        directory.chmod(directory.stat().st_mode | 0o055)


# -- what the child knows of Hermes -------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), pytest.param(("--broker-listen",), marks=pytest.mark.slow)])
def test_the_child_gets_no_secret(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Neither in its environment nor on its command line: it talks to devices, and runs as another user."""
    needs("mosquitto")
    (tmp_path / "keys").write_text(KEY)
    listen = (*flags, f"127.0.0.1:{free_port()}", "--broker-state-dir", str(tmp_path / "state")) if flags else ()
    arguments = ["serve", "--port", "0", "--mqtt-url", "embedded", "--api-key-file", str(tmp_path / "keys"), *listen]
    program = Program(arguments, {"HERMES_JWT_SECRET": SECRET, "HERMES_TOKEN": "also secret", "LD_PRELOAD": ""})
    try:
        program.wait_for("listening on")
        child = child_named(program.process.pid, "mosquitto")
        environment = Path(f"/proc/{child}/environ").read_bytes()
        command = Path(f"/proc/{child}/cmdline").read_bytes()
    finally:
        program.end()
    names = {pair.partition(b"=")[0] for pair in environment.split(b"\0") if pair}
    assert names <= {b"PATH", b"LC_CTYPE"}, "the latter is set by Python (PEP 538)"
    for secret in (SECRET, KEY, "secret"):
        assert secret.encode() not in environment + command
