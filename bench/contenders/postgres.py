"""A PostgreSQL server of its own, as a user that is not root, with its files in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.processes import BenchError, cpu_ns_of, free_port

# Debian keeps the programs of each version in a folder of its own
BINARIES = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
RUN_AS = ("postgres", "nobody")  # PostgreSQL refuses to run as root
CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 40
shared_buffers = 16MB
logging_collector = off
"""
ACCESS = """
local all all trust
host replication all 127.0.0.1/32 trust
host all locked 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
TIMEOUT_S = 300.0  # reached only in a test that fails


def programs() -> str:
    """Return the folder of its programs; empty if it is not installed."""
    found = shutil.which("postgres", path=":".join([os.environ["PATH"], *BINARIES]))
    return str(Path(found).resolve().parent) if found else ""


class PostgresServer:
    """A server with its data in ``folder``, which belongs to the user that runs it."""

    def __init__(self, folder: Path, port: int, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = port
        self._binaries = programs()
        if not self._binaries:
            raise BenchError("PostgreSQL is not installed: apt-get install postgresql")
        self._user = next(pwd.getpwnam(name) for name in RUN_AS if _exists(name)) if os.geteuid() == 0 else None
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make its files."""
        self.give(self.folder)
        data = self.folder / "data"
        self._run(
            "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", str(data)
        )
        self._configure()
        (data / "pg_hba.conf").write_text(ACCESS)

    def create_standby(self, primary: "PostgresServer") -> None:
        """Make its files: a copy of a running server, which it follows until `promote`."""
        self.give(self.folder)
        options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync", f"--dbname={primary.tcp_url('')}")
        self._run("pg_basebackup", f"--pgdata={self.folder / 'data'}", *options)
        self._configure()  # the later one of two lines counts

    def promote(self) -> None:
        """Let a standby become a primary; returns when it is one."""
        self._run("pg_ctl", "promote", "--wait", f"--pgdata={self.folder / 'data'}")

    def _configure(self) -> None:
        lines = CONFIGURATION.format(port=self.port, folder=self.folder) + "\n".join(self._settings)
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(lines)

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [f"{self._binaries}/postgres", "-D", str(self.folder / "data")],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._identity,
            )
        until = time.monotonic() + TIMEOUT_S
        while not self._answers():
            if time.monotonic() > until:
                raise BenchError("PostgreSQL does not answer")
            time.sleep(0.02)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise BenchError(f"PostgreSQL has ended:\n{(self.folder / 'log').read_text()}")
        import psycopg  # an extra

        with contextlib.suppress(psycopg.Error), psycopg.connect(self.url("postgres"), connect_timeout=2):
            return True
        return False

    def stop(self) -> None:
        """End it, with its open connections; harmless if it has ended."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGINT)  # "fast shutdown"
            self._process.wait(TIMEOUT_S)
            self._process = None

    @property
    def cpu_ns(self) -> int:
        """The CPU nanoseconds of its living processes."""
        assert self._process is not None
        return cpu_ns_of(self._process.pid)

    def restart_if_ended(self) -> None:
        """Start it again if it has ended, or ends within 3 s: it does when its log cannot be written."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        if self._process.poll() is not None:
            self.start()

    def give(self, folder: Path) -> None:
        """Make a folder the property of the user that runs it."""
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def kill(self) -> None:
        """Kill all its processes with SIGKILL."""
        assert self._process is not None
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(TIMEOUT_S)
        self._process = None

    def serve_tls(self, certificate: Path, key: Path) -> None:
        """Let it accept TLS with copies of these files; returns when new connections can use it."""
        for path, name in ((certificate, "server.crt"), (key, "server.key")):
            copy = self.folder / "data" / name
            shutil.copy(path, copy)
            copy.chmod(0o600)
            self.give(copy)
        self._switch_tls("on")

    def end_tls(self) -> None:
        """Let it accept no TLS."""
        self._switch_tls("off")

    def _switch_tls(self, state: str) -> None:
        self.execute(f"ALTER SYSTEM SET ssl = {state}")
        self.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + TIMEOUT_S
        while self.execute("SELECT current_setting('ssl')") != [(state,)]:
            if time.monotonic() > until:
                raise BenchError(f"PostgreSQL does not switch TLS {state}")
            time.sleep(0.02)

    def freeze(self) -> None:
        """Stop all its processes with SIGSTOP; its sockets stay open."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue them with SIGCONT."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def url(self, name: str, *, user: str = "postgres") -> str:
        """Return the URL of a database, by its Unix socket."""
        return f"postgresql://{user}@/{name}?host={self.folder}&port={self.port}"

    def tcp_url(self, name: str, *, user: str = "postgres", password: str = "") -> str:
        """Return the URL of a database, by TCP."""
        given = f":{password}" if password else ""
        return f"postgresql://{user}{given}@127.0.0.1:{self.port}/{name}"

    def execute(self, sql: str, *, name: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, outside of a transaction; return its rows."""
        import psycopg  # an extra

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            found = connection.execute(sql)
            return list(found.fetchall()) if found.description is not None else []

    def pids(self) -> list[int]:
        """Return its process, and one for each connection and task."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [f"{self._binaries}/{program}", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=TIMEOUT_S,
            **self._identity,
        )
        if done.returncode:
            raise BenchError(done.stderr)

    @property
    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def _exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name) is not None
    return False


@contextlib.contextmanager
def postgres_server(port: int, settings: Sequence[str] = (), *, folder: Path | None = None) -> Iterator[PostgresServer]:
    """Run a server in a new folder, or in this empty one."""
    made = folder or Path(tempfile.mkdtemp(prefix="hermes-postgres-"))
    server = PostgresServer(made, port, settings)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(made / "data", ignore_errors=True)
        if folder is None:
            shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def postgres_standby(primary: PostgresServer, port: int, settings: Sequence[str] = ()) -> Iterator[PostgresServer]:
    """Run a standby of a server in a new folder."""
    server = PostgresServer(Path(tempfile.mkdtemp(prefix="hermes-postgres-")), port, settings)
    try:
        server.create_standby(primary)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


INBOX = "hermes"  # the name of the database


@contextlib.contextmanager
def inbox_server() -> Iterator[PostgresServer]:
    """Run a server with its default settings, and a database `INBOX` with the tables of an inbox."""
    from hermes.inbox.postgres.database import migrate  # they import an extra
    from hermes.inbox.postgres.session import parameters_of

    with postgres_server(free_port()) as server:
        server.execute(f"CREATE DATABASE {INBOX}")
        migrate(parameters_of(server.url(INBOX), lambda: None))
        yield server
