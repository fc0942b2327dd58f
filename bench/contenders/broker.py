"""The broker between publisher and contender: a mosquitto with the configuration of Hermes' embedded one.

It is a process of its own so that its CPU can be told apart, and so that every contender gets the same.
"""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, Child, running
from hermes.errors import BrokerUnavailable
from hermes.mqtt.mosquitto import child_user, configuration, find_mosquitto


@dataclass(frozen=True, slots=True)
class Broker:
    """A mosquitto that listens."""

    child: Child
    port: int

    @property
    def url(self) -> str:
        """As ``--mqtt-url`` takes it."""
        return f"mqtt://127.0.0.1:{self.port}"


@contextlib.contextmanager
def broker() -> Iterator[Broker]:
    """Start it, wait until it accepts, stop it at the end. Raises `BenchError` where there is no mosquitto."""
    try:
        program, user = find_mosquitto().path, child_user()
    except BrokerUnavailable as error:
        raise BenchError(str(error)) from None
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-broker-") as folder:
        path = Path(folder, "mosquitto.conf")
        path.write_text(configuration(port=port, user=user and user.pw_name))
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        command = [program, "-c", str(path)]
        with running(command, output=Path(folder, "output"), user=user.pw_name if user else "") as child:
            child.wait_until(lambda: _accepts(port), "mosquitto does not listen")
            yield Broker(child, port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
