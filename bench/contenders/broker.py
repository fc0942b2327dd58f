"""The broker between publisher and contender: a mosquitto with the configuration of Hermes' embedded one.

It is a separate process so that its CPU is measured separately, and so that every contender gets the same broker.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Child, NotInstalledError, accepts, free_port, running
from hermes.broker.mosquitto import child_user, configuration, find_mosquitto
from hermes.errors import BrokerUnavailable


@dataclass(frozen=True, slots=True)
class Broker:
    """A mosquitto that listens."""

    child: Child
    port: int
    websockets_port: int = 0  # 0: none

    @property
    def url(self) -> str:
        """As ``--mqtt-url`` takes it."""
        return f"mqtt://127.0.0.1:{self.port}"


@contextlib.contextmanager
def broker(*, websockets: bool = False, port: int = 0) -> Iterator[Broker]:
    """Start it, wait until it accepts, stop it at the end. Raises `NotInstalledError` if there is no mosquitto.

    With ``websockets`` it has a second listener, for MQTT in WebSockets. ``port`` 0 is a free one.
    """
    try:
        program, user = find_mosquitto().path, child_user()
    except BrokerUnavailable as error:
        raise NotInstalledError(str(error)) from None
    port, websockets_port = port or free_port(), free_port() if websockets else 0
    with tempfile.TemporaryDirectory(prefix="hermes-bench-broker-") as folder:
        path = Path(folder, "mosquitto.conf")
        lines = configuration(port=port, user=user and user.pw_name)
        if websockets:
            lines += f"listener {websockets_port} 127.0.0.1\nprotocol websockets\n"
        path.write_text(lines)
        if user is not None:
            for owned in (folder, path):  # whatever the umask: it reads the file as this user
                os.chown(owned, user.pw_uid, user.pw_gid)
        command = [program, "-c", str(path)]
        with running(command, output=Path(folder, "output"), user=user.pw_name if user else "") as child:
            ports = [port, *([websockets_port] if websockets else [])]
            child.wait_until(lambda: all(map(accepts, ports)), "mosquitto does not listen")
            yield Broker(child, port, websockets_port)
