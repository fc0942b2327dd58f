"""The messages between nodes: a JSON object in one line, then a body.

The object has ``op``, the operation, and ``node``, the name of the sender. A node ignores keys and operations that it
does not know, so that nodes of two versions work together.
"""

from typing import Any

import orjson

from hermes.json_nesting import nested_too_deeply

HEAD_MAX_BYTES = 1_048_576  # a page of revocations has a quarter of it
BODY_MAX_BYTES = 1_048_576  # of one frame; the largest notification has a quarter of it
TEXT_MAX_CHARS = 1_024  # of each text of a head: an id that a request can name has 256, a reason too
NODE_MAX_CHARS = 64
MAX_DEPTH = 20  # of a head: the figures of a node have five levels
PROTOCOL = 1  # announced, and logged where two nodes differ

Head = dict[str, Any]


class BadEnvelope(Exception):
    """A message is not from a node of Hermes."""


def pack(head: Head, body: bytes = b"") -> bytes:
    """Return the bytes of a message; JSON text has no line break.

    A text that is longer than others accept, for example an error, is cut.
    """
    line = orjson.dumps(head)
    if len(line) > TEXT_MAX_CHARS and _has_long_text(head):
        line = orjson.dumps(_cut(head))
    return b"%b\n%b" % (line, body)


def unpack(data: bytes) -> tuple[Head, bytes]:
    """Return head and body.

    Raises `BadEnvelope`, also for one that is larger or deeper than a node sends: this is the one place where that is
    checked.
    """
    line, _, body = data.partition(b"\n")
    if len(line) > HEAD_MAX_BYTES or len(body) > BODY_MAX_BYTES:
        raise BadEnvelope("too large")
    if nested_too_deeply(line, MAX_DEPTH):
        raise BadEnvelope("nested too deeply")
    try:
        head = orjson.loads(line)
    except ValueError:
        raise BadEnvelope("no JSON") from None
    if not isinstance(head, dict) or not isinstance(head.get("op"), str) or not isinstance(head.get("node"), str):
        raise BadEnvelope("no op or no node")
    if not 0 < len(head["node"]) <= NODE_MAX_CHARS:
        raise BadEnvelope("the name of its node is too long, or empty")
    if len(line) > TEXT_MAX_CHARS and _has_long_text(head):  # a shorter line has no longer text
        raise BadEnvelope("a text is too long")
    return head, body


def _cut(value: object) -> object:
    """Return a copy with texts of at most `TEXT_MAX_CHARS`."""
    if isinstance(value, str) and len(value) > TEXT_MAX_CHARS:
        return f"{value[: TEXT_MAX_CHARS - 1]}…"
    if isinstance(value, list | tuple):
        return [_cut(each) for each in value]
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    return value


def _has_long_text(value: object) -> bool:
    waiting: list[object] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if len(each) > TEXT_MAX_CHARS:
                return True
        elif isinstance(each, list | tuple):
            waiting += each
        elif isinstance(each, dict):
            waiting += each
            waiting += each.values()
    return False


def text_of(head: Head, key: str) -> str | None:
    """Return a text of the head; None if it is absent or something else."""
    value = head.get(key)
    return value if isinstance(value, str) else None


def number_of(head: Head, key: str) -> int:
    """Return a number of the head; 0 if it is absent or something else."""
    value = head.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
