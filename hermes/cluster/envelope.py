"""The messages between nodes: a JSON object in one line, then a body.

The object has ``op``, the operation, and ``node``, the name of the sender. A node ignores keys and operations that it
does not know, so that nodes of two versions work together.
"""

from typing import Any

import orjson

PROTOCOL = 1  # announced, and logged where two nodes differ

Head = dict[str, Any]


class BadEnvelope(Exception):
    """A message is not from a node of Hermes."""


def pack(head: Head, body: bytes = b"") -> bytes:
    """Return the bytes of a message; JSON text has no line break."""
    return b"%b\n%b" % (orjson.dumps(head), body)


def unpack(data: bytes) -> tuple[Head, bytes]:
    """Return head and body. Raises `BadEnvelope`."""
    line, _, body = data.partition(b"\n")
    try:
        head = orjson.loads(line)
    except ValueError:
        raise BadEnvelope("no JSON") from None
    if not isinstance(head, dict) or not isinstance(head.get("op"), str) or not isinstance(head.get("node"), str):
        raise BadEnvelope("no op or no node")
    return head, body


def text_of(head: Head, key: str) -> str | None:
    """Return a text of the head; None if it is absent or something else."""
    value = head.get(key)
    return value if isinstance(value, str) else None


def number_of(head: Head, key: str) -> int:
    """Return a number of the head; 0 if it is absent or something else."""
    value = head.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
