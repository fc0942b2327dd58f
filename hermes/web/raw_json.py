"""Split the text of a JSON value, so that ``data`` is passed on unchanged.

Parsing and printing again would change ``1.0e2`` to ``100.0`` and lose digits of large numbers. Both functions need
bytes that `hermes.json_nesting.check_json` accepts, of at most `CHECK_MAX_DEPTH` levels. What they return has a bounded
number of objects, so that a megabyte takes a few milliseconds.
"""

from collections.abc import Iterable

import msgspec

ELEMENTS_MAX = 1_000
ANY_NAMES_MAX_BYTES = 65_536  # of an object; a larger one may have a hundred thousand names

_ABSENT = msgspec.Raw()
_all_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# msgspec skips the elements that follow the last field of an array-like struct
_elements = msgspec.json.Decoder(
    msgspec.defstruct(
        "Elements", [(f"element_{n}", msgspec.Raw, _ABSENT) for n in range(ELEMENTS_MAX + 1)], array_like=True
    )
).decode


def elements(text: bytes) -> list[bytes]:
    """Return the texts of an array's elements: of the first 1,001 if it has more."""
    return _present(msgspec.structs.astuple(_elements(text)))


class MemberSplitter:
    """Split the texts of objects that have members with these names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        fields = [(name, msgspec.Raw, _ABSENT) for name in self._names]
        self._members = msgspec.json.Decoder(msgspec.defstruct("Members", fields, forbid_unknown_fields=True)).decode

    def members(self, text: bytes) -> dict[str, bytes]:
        """Return the text of each of an object's values by name.

        Of a repeated name, the last counts, as in parsers. Raises `ValueError` with one other name if an object of more
        than `ANY_NAMES_MAX_BYTES` has any.
        """
        if len(text) <= ANY_NAMES_MAX_BYTES:
            return {name: bytes(value) for name, value in _all_members(text).items()}
        try:
            values = msgspec.structs.astuple(self._members(text))
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        texts = map(bytes, values)
        return {name: value for name, value in zip(self._names, texts, strict=True) if value}


def _present(values: Iterable[msgspec.Raw]) -> list[bytes]:
    return [text for text in map(bytes, values) if text]
