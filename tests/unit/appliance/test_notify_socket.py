"""Messages to the service manager."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.appliance.notify_socket import NotifySocket


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(60)
        yield sock


def test_each_message_is_one_datagram(manager: socket.socket) -> None:
    """A line break in a status cannot add a field."""
    notify = NotifySocket(manager.getsockname())
    notify.ready("http://127.0.0.1:8080; MQTT up")
    assert manager.recv(4_096) == b"READY=1\nSTATUS=http://127.0.0.1:8080; MQTT up"
    notify.status("MQTT down; refused\nWATCHDOG=trigger")
    assert manager.recv(4_096) == b"STATUS=MQTT down; refused WATCHDOG=trigger"
    notify.reloading()
    state, since = manager.recv(4_096).split(b"\n")
    assert state == b"RELOADING=1"
    assert int(since.removeprefix(b"MONOTONIC_USEC=")) > 0
    notify.feed_watchdog()
    assert manager.recv(4_096) == b"WATCHDOG=1"
    notify.stopping()
    assert manager.recv(4_096).startswith(b"STOPPING=1\n")
    notify.close()


def test_an_abstract_socket_is_reached() -> None:
    """Its name begins with @ in the variable."""
    name = f"hermes-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(60)
        notify = NotifySocket(f"@{name}")
        notify.feed_watchdog()
        assert manager.recv(4_096) == b"WATCHDOG=1"
        notify.close()


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    """The service goes on if the manager's socket is gone or full."""
    notify = NotifySocket(str(tmp_path / "none"))
    for _ in range(3):
        notify.feed_watchdog()
    notify.close()


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"NOTIFY_SOCKET": "/run/x"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}, 30.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}, 30.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "4000000"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_environment_names_socket_and_time(environment: dict[str, str], watchdog_s: float | None) -> None:
    """The variables are not inherited by the programs that Hermes starts."""
    given = environment | {"PATH": "/bin"}
    notify = NotifySocket.from_environment(given)
    assert notify is not None
    assert notify.watchdog_s == watchdog_s
    assert given == {"PATH": "/bin"}
    notify.close()


@pytest.mark.parametrize("path", [None, "", "vsock:2:1234", "relative"])
def test_without_a_usable_socket_there_is_none(path: str | None) -> None:
    """As in a terminal."""
    assert NotifySocket.from_environment({} if path is None else {"NOTIFY_SOCKET": path}) is None
