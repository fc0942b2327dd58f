"""Floor 1: the identifiers that everything else speaks of.

An id is a non-empty string; an integer is accepted at the doors and becomes its decimal string, so that
``123`` in a token and ``"123"`` in a request are the same user.
"""

from typing import NewType

UserId = NewType("UserId", str)
TenantId = NewType("TenantId", str)
DeviceId = NewType("DeviceId", str)


def id_text(value: object) -> str | None:
    """The id that a JSON value stands for, or None where it is not an id.

    Strings and integers are ids; booleans, floats, the empty string and everything else are not.
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
