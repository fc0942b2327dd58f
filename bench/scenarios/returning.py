"""How long after a restart all clients are back, if each waits as long as its close asks it to."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from bench.contenders.hermes import hermes
from bench.figures import Figure, Mark
from bench.load.returning import ReturningClients
from bench.processes import allow_open_files, free_port

FILES_RESERVED = 256
PATIENCE_S = 60.0
SECRET = "the secret of both starts, so that tokens stay valid"


@dataclass(frozen=True, slots=True)
class Return:
    """``sockets`` of as many users from ``addresses`` are closed with 1001 by a restart of Hermes."""

    summary: ClassVar[str] = "10,000 clients return after a restart, each after its retry_ms"
    sockets: int = 10_000
    addresses: int = 10

    def run(self) -> list[Figure]:
        """Seconds from the first close until the last client is back; how many were refused."""
        allow_open_files(self.sockets + FILES_RESERVED)
        port = free_port()
        with ExitStack() as site:
            site.enter_context(before := ExitStack())
            server = before.enter_context(hermes(port=port, secret=SECRET))
            paths = [server.user_socket(f"user-{number}") for number in range(self.sockets)]
            clients = ReturningClients(port, paths, self.addresses)
            site.callback(clients.close)
            clients.open()
            with ThreadPoolExecutor(1) as beside:  # a server ends with the thread that started it: that is this one
                waiting = beside.submit(clients.wait_until_back, PATIENCE_S)
                before.close()
                site.enter_context(hermes(port=port, secret=SECRET))
                waiting.result()
        return [
            Figure(
                "Hermes",
                "all are back after",
                max(clients.returned_s.values()) - clients.closed_s,
                "s",
                Mark(at_most=8),
            ),
            Figure(
                "Hermes",
                "half are back after",
                sorted(clients.returned_s.values())[self.sockets // 2] - clients.closed_s,
                "s",
            ),
            Figure("Hermes", "clients refused", clients.refused, "", Mark(exactly=0)),
        ]
