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
        pack(HEAD | {"to": LONG}),
        pack(HEAD | {"entries": [["user_id", LONG, None, 5]]}),
        pack(HEAD | {"figures": {LONG: 1}}),
        pack(HEAD | {"op": LONG}),
        pack(HEAD | {"node": "b" * (NODE_MAX_CHARS + 1)}),
        pack(HEAD | {"node": ""}),
        pack(HEAD | {"figures": nested(MAX_DEPTH)}),
        b'{"op":"x","node":"b","y":' + b"[" * 500_000 + b"]" * 500_000 + b"}\n",
        pack(HEAD | {"entries": ["x" * 1_000] * 1_100}),
        pack(HEAD, bytes(BODY_MAX_BYTES + 1)),
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
