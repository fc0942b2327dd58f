"""Frames of a socket that resumes.

The answer to its position, the entries that it missed, and their end.
"""

from collections.abc import Sequence

import orjson

from hermes.delivery.frames import Frame, change_fields, reply
from hermes.inbox.inbox import Entry, Page, Resumed, Row


def resumed_frame(resumed: Resumed) -> Frame:
    """Return ``{"action":"resumed",…}``, the first frame after a position."""
    return reply(
        {
            "action": "resumed",
            "epoch": resumed.epoch,
            "from": resumed.from_seq,
            "to": resumed.to_seq,
            "gap": resumed.gap,
            "unread": resumed.unread,
        }
    )


def replay_end_frame(seq: int) -> Frame:
    """Return ``{"action":"replay_end",…}``: every entry up to ``seq`` has been sent."""
    return reply({"action": "replay_end", "seq": seq})


def entry_text(entry: Entry) -> bytes:
    """Return the JSON text of the frame of an entry, marked with ``"replayed":true``."""
    return entry.text if isinstance(entry, Row) else orjson.dumps(change_fields(entry) | {"replayed": True})


def page_of(entries: Sequence[Entry], *, is_last: bool) -> Page:
    """Return a page with these entries."""
    last_seq = entries[-1].seq if entries else 0
    return Page([*map(entry_text, entries)], last_seq, is_last, lambda: entries)
