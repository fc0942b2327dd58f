"""The types of identifiers.

An id is a non-empty text. Tokens, requests and payloads may also contain an integer, which becomes its decimal text:
``123`` in a token and ``"123"`` in a request are the same user.
"""

from typing import NewType

UserId = NewType("UserId", str)
TenantId = NewType("TenantId", str)
DeviceId = NewType("DeviceId", str)


def id_text(value: object) -> str | None:
    """Return the id of a JSON value, or None if it is not an id.

    Text and integers are ids; booleans, floats, the empty text and all other values are not.
    """
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
