"""The bytes of a NATS server become operations, however they are divided."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.cluster.nats.protocol import SKIPPED_MAX_BYTES, NatsMessage, NatsProtocolError, Parser


class Recorder:
    """Keep every operation."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_info(self, info: dict[str, Any]) -> None:
        self.seen.append(info)

    def on_message(self, message: NatsMessage) -> None:
        self.seen.append(message)

    def on_ping(self) -> None:
        self.seen.append("ping")

    def on_pong(self) -> None:
        self.seen.append("pong")

    def on_error(self, text: str) -> None:
        self.seen.append(("error", text))


STREAM = (
    b'INFO {"version":"2.9.10","max_payload":1048576}\r\n'
    b"+OK\r\n"
    b"MSG hermes.user.a 7 5\r\nhello\r\n"
    b"MSG hermes.user.a 7 hermes.reply.x.1 0\r\n\r\n"
    b"PING\r\n"
    b"HMSG hermes.reply.x.2 3 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    b"HMSG a.b 4 c.d 12 17\r\nNATS/1.0\r\n\r\na\r\nbc\r\n"
    b"PONG\r\n"
    b"-ERR 'Authorization Violation'\r\n"
)
OPERATIONS = [
    {"version": "2.9.10", "max_payload": 1_048_576},
    NatsMessage("hermes.user.a", 7, "", 0, b"hello"),
    NatsMessage("hermes.user.a", 7, "hermes.reply.x.1", 0, b""),
    "ping",
    NatsMessage("hermes.reply.x.2", 3, "", 503, b""),
    NatsMessage("a.b", 4, "c.d", 0, b"a\r\nbc"),
    "pong",
    ("error", "Authorization Violation"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_operations_do_not_depend_on_how_the_bytes_arrive(cuts: list[int]) -> None:
    """The same operations, in order, for every division."""
    recorder = Recorder()
    parser = Parser(recorder)
    ends = sorted({*cuts, len(STREAM)})
    for start, end in zip([0, *ends], ends, strict=False):
        parser.feed(STREAM[start:end])
    assert recorder.seen == OPERATIONS


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"MSG a\r\n",
        b"MSG a b 3\r\nabc\r\n",
        b"MSG a 1 -3\r\n",
        b"MSG a 1 b c 3\r\n",
        b"MSG \xff 1 0\r\n\r\n",
        b"HMSG a 1 9 3\r\nabc\r\n",
        b"MSG a 1 %d\r\n" % (SKIPPED_MAX_BYTES + 1),
        b"INFO []\r\n",
        b"INFO {\r\n",
        b"x" * 70_000,
    ],
)
def test_bytes_that_are_not_of_nats_end_the_connection(data: bytes) -> None:
    """Nothing of a stranger fills the memory or is taken for a message."""
    with pytest.raises(NatsProtocolError):
        Parser(Recorder()).feed(data)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    """The parser accepts or refuses them."""
    with contextlib.suppress(NatsProtocolError):
        Parser(Recorder()).feed(data)


def test_a_status_that_is_not_one_is_none() -> None:
    """A peer chooses the headers of its messages: no number of theirs ends the connection."""
    recorder = Recorder()
    headers = b"NATS/1.0 " + b"5" * 5_000 + b"\r\n\r\n"
    Parser(recorder).feed(b"HMSG a 1 %d %d\r\n%b\r\n" % (len(headers), len(headers), headers))
    assert recorder.seen == [NatsMessage("a", 1, "", 0, b"")]
