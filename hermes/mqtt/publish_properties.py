"""Read the properties of an MQTT 5 PUBLISH in linear time.

paho copies the rest of the block for each property: 400,000 empty ones, which a device may send in a packet of 2 MB and
which brokers pass on, blocked its thread for minutes. Hermes needs only the subscription identifiers.
"""

BLOCK_MAX_BYTES = 65_536  # larger blocks are skipped: no known device sends so many properties

_ONE_BYTE, _TWO_BYTES, _FOUR_BYTES, _TEXT, _TWO_TEXTS, _VARIABLE = range(6)
# MQTT 5 §3.3.2.3: the properties that a PUBLISH may have
_KINDS = {
    0x01: _ONE_BYTE,  # payload format
    0x02: _FOUR_BYTES,  # message expiry
    0x03: _TEXT,  # content type
    0x08: _TEXT,  # response topic
    0x09: _TEXT,  # correlation data
    0x0B: _VARIABLE,  # subscription identifier
    0x23: _TWO_BYTES,  # topic alias
    0x26: _TWO_TEXTS,  # user property
}
_SIZES = {_ONE_BYTE: 1, _TWO_BYTES: 2, _FOUR_BYTES: 4}


def variable_byte_integer(packet: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return the integer at this index and the index after it.

    The encoding is a variable byte integer (MQTT 5 §1.5.5). Raises ValueError if it is malformed.
    """
    value = 0
    for index, byte in enumerate(packet[at : at + 4]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, at + index + 1
    raise ValueError("a variable byte integer does not end")


def encoded(value: int) -> bytes:
    """Return the integer as a variable byte integer (MQTT 5 §1.5.5)."""
    found = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        found.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(found)


def subscription_ids(block: bytes | bytearray) -> tuple[int, ...]:
    """Return the subscription identifiers in a block of properties.

    Raises ValueError if the block is malformed.
    """
    found: list[int] = []
    at = 0
    while at < len(block):
        kind = _KINDS.get(block[at])
        at += 1
        if kind is None:
            raise ValueError(f"property {block[at - 1]:#x} in a PUBLISH")
        if kind == _VARIABLE:
            identifier, at = variable_byte_integer(block, at)
            found.append(identifier)
        elif kind in (_TEXT, _TWO_TEXTS):
            for _ in range(kind - _TEXT + 1):
                at += 2 + int.from_bytes(block[at : at + 2], "big")
        else:
            at += _SIZES[kind]
    if at != len(block):
        raise ValueError("a property is truncated")
    return tuple(found)
