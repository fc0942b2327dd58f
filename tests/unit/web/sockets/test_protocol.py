"""The frames of one client, without a socket."""

from types import SimpleNamespace
from typing import Any

from hermes.web.sockets.protocol import ServerProtocol, SocketParameters
from tests.support.growth import LINEAR_MAX, growth

CONTINUATION, TEXT = 0x0, 0x1


def test_the_cost_of_fragments_is_linear() -> None:
    """A message may come in fragments of any size: none is copied again for each later one."""
    received: list[int] = []
    handler: Any = SimpleNamespace(on_message=lambda message: received.append(len(message)))
    parameters = SocketParameters(64 * 8 * 2_048, None)

    def read(fragments: int) -> None:
        protocol = ServerProtocol(handler, parameters)
        for number in range(fragments):
            protocol._handle_data(CONTINUATION if number else TEXT, number == fragments - 1, False, b"x" * 64)

    assert growth(read, 2_048) < LINEAR_MAX
    assert set(received) == {64 * 2_048, 64 * 8 * 2_048}
