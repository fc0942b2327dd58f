"""What peers send is bounded at one place."""

import pytest

from hermes.cluster.envelope import (
    BODY_MAX_BYTES,
    HEAD_MAX_BYTES,
    MAX_DEPTH,
    NODE_MAX_CHARS,
    TEXT_MAX_CHARS,
    BadEnvelope,
    pack,
    unpack,
)
from tests.support.nats import unchecked

HEAD = {"op": "deliver", "node": "b"}
LONG = "x" * (TEXT_MAX_CHARS + 1)


def nested(levels: int) -> object:
    """Return an array in arrays."""
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    [
        unchecked(HEAD | {"to": LONG}),
        unchecked(HEAD | {"entries": [["user_id", LONG, None, 5]]}),
        unchecked(HEAD | {"figures": {LONG: 1}}),
        unchecked(HEAD | {"op": LONG}),
        unchecked(HEAD | {"node": "b" * (NODE_MAX_CHARS + 1)}),
        unchecked(HEAD | {"node": ""}),
        unchecked(HEAD | {"figures": nested(MAX_DEPTH)}),
        b'{"op":"x","node":"b","y":' + b"[" * 500_000 + b"]" * 500_000 + b"}\n",
        unchecked(HEAD | {"entries": ["x" * 1_000] * 1_100}),
        unchecked(HEAD, bytes(BODY_MAX_BYTES + 1)),
        b"[]\n",
        b"",
    ],
    ids=lambda data: str(len(data)),
)
def test_what_no_node_sends_is_refused(data: bytes) -> None:
    """Long texts at every level, deep and large heads, and large bodies."""
    with pytest.raises(BadEnvelope):
        unpack(data)


def test_what_a_node_sends_is_accepted() -> None:
    """The longest texts, a full page, and the largest frame."""
    text = "€" * TEXT_MAX_CHARS
    head = HEAD | {"to": text, "entries": [["user_id", "€" * 256, None, 5]] * 1_000, "figures": nested(MAX_DEPTH - 1)}
    body = bytes(BODY_MAX_BYTES)
    assert len(pack(head)) < HEAD_MAX_BYTES
    assert unpack(pack(head, body)) == (head, body)


def test_a_text_that_is_too_long_is_cut_by_its_sender() -> None:
    """So that the error of a node does not hide its answer."""
    head, body = unpack(pack(HEAD | {"figures": {"inbox": {"problem": LONG}, "list": [LONG, 1]}}, b"frame"))
    cut = "x" * (TEXT_MAX_CHARS - 1) + "…"
    assert head == HEAD | {"figures": {"inbox": {"problem": cut}, "list": [cut, 1]}}
    assert body == b"frame"
