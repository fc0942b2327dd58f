"""Requests that two servers could divide differently, each with a hidden one.

A server that takes the hidden one for a request of its own can be used to smuggle requests past a proxy (RFC 9112
§11.2).
"""

import json

from tests.support.gateways import KEY

MARKER = "hidden"
_NOTIFICATION = json.dumps({"user_id": "123", "title": MARKER, "message": MARKER, "id": MARKER}).encode()
HIDDEN = (
    b"POST /notify HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: %b\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % (KEY.encode(), len(_NOTIFICATION))
) + _NOTIFICATION
_HEAD = b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_LENGTH = b"Content-Length: %d\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_SIZE = b"%x\r\n" % len(HIDDEN)
_IN_CHUNK = _SIZE + HIDDEN + b"\r\n0\r\n\r\n"
_BODY = _LENGTH % len(HIDDEN) + b"\r\n" + HIDDEN
_AFTER_CHUNKS = b"0\r\n\r\n" + HIDDEN

# A coding in a form that some servers read and others do not; the hidden request is what a server that reads it finds
# behind an empty body, and the body for one that believes the length.
_CODINGS = {
    "the exact coding": _CHUNKED,
    "in capitals": b"TRANSFER-ENCODING: CHUNKED\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "a tab before the colon": b"Transfer-Encoding\t: chunked\r\n",
    "NUL before the colon": b"Transfer-Encoding\0: chunked\r\n",
    "VT after the colon": b"Transfer-Encoding:\x0bchunked\r\n",
    "FF after the colon": b"Transfer-Encoding:\x0cchunked\r\n",
    "NUL after the colon": b"Transfer-Encoding:\0chunked\r\n",
    "NUL at the end": b"Transfer-Encoding: chunked\0\r\n",
    "NBSP at the end": b"Transfer-Encoding: chunked\xa0\r\n",
    "a tab at the end": b"Transfer-Encoding: chunked\t\r\n",
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "folded into another": b"X: y\r\n Transfer-Encoding: chunked\r\n",
    "after a bare LF": b"X: y\nTransfer-Encoding: chunked\r\n",
    "after a bare CR": b"X: y\rTransfer-Encoding: chunked\r\n",
    "before a bare LF": b"Transfer-Encoding: chunked\nX: y\r\n",
    "an underscore": b"Transfer_Encoding: chunked\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n",
    "in quotes": b'Transfer-Encoding: "chunked"\r\n',
    "with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "identity, chunked": b"Transfer-Encoding: identity, chunked\r\n",
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked, then identity": _CHUNKED + b"Transfer-Encoding: identity\r\n",
    "identity, then chunked": b"Transfer-Encoding: identity\r\n" + _CHUNKED,
    "chunked twice": _CHUNKED * 2,
    "an empty coding": b"Transfer-Encoding:\r\n",
    "a trailing comma": b"Transfer-Encoding: chunked,\r\n",
    "a leading comma": b"Transfer-Encoding: ,chunked\r\n",
}
_LENGTHS = {
    "a smaller one first": _LENGTH % 0 + _LENGTH % len(HIDDEN),
    "a smaller one second": _LENGTH % len(HIDDEN) + _LENGTH % 0,
    "a list": b"Content-Length: %d, 0\r\n" % len(HIDDEN),
    "a list, zero first": b"Content-Length: 0, %d\r\n" % len(HIDDEN),
    "a plus": b"Content-Length: +%d\r\n" % len(HIDDEN),
    "a space before the colon": b"Content-Length : %d\r\n" % len(HIDDEN),
    "VT after the colon": b"Content-Length:\x0b%d\r\n" % len(HIDDEN),
    "NUL after the colon": b"Content-Length:\0%d\r\n" % len(HIDDEN),
    "NUL at the end": b"Content-Length: %d\0\r\n" % len(HIDDEN),
    "folded": b"Content-Length:\r\n %d\r\n" % len(HIDDEN),
    "folded into another": b"X: y\r\n Content-Length: %d\r\n" % len(HIDDEN),
    "in hex": b"Content-Length: 0x%x\r\n" % len(HIDDEN),
    "with a point": b"Content-Length: %d.0\r\n" % len(HIDDEN),
    "with an exponent": b"Content-Length: %de0\r\n" % len(HIDDEN),
    "an underscore": b"Content-Length: %d_%d\r\n" % divmod(len(HIDDEN), 10),
    "of 65 bits": b"Content-Length: %d\r\n" % (2**64 + len(HIDDEN)),
    "after a bare CR": b"X: y\rContent-Length: %d\r\n" % len(HIDDEN),
    "negative": b"Content-Length: -%d\r\n" % len(HIDDEN),
}
_CHUNKS = {
    "a size in C": b"0x" + _IN_CHUNK,
    "a size with a plus": b"+" + _IN_CHUNK,
    "a space before a size": b" " + _IN_CHUNK,
    "a size of 65 bits": b"1%016x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n",
    "an underscore in a size": b"0_" + _IN_CHUNK,
    "a bare LF in an extension": b"2;\nxx\r\n" + _IN_CHUNK,
    "a bare CR in an extension": b"2;\rxx\r\n" + _IN_CHUNK,
    "a bare LF after a size": b"2\nxx\r\n" + _IN_CHUNK,
    "a bare LF after a chunk": b"2\r\nxx\n" + _IN_CHUNK,
    "a bare CR after a chunk": b"2\r\nxx\r" + _IN_CHUNK,
    "no line end after a chunk": b"2\r\nxx" + _IN_CHUNK,
    "other bytes after a chunk": b"2\r\nxxYY" + _IN_CHUNK,
    "a line end as a size": b"2\r\nxx\r\n\r\n" + _IN_CHUNK,
}
AMBIGUOUS: dict[str, bytes] = {
    **{
        f"coding {name}, length of all": _HEAD + _LENGTH % len(_AFTER_CHUNKS) + coding + b"\r\n" + _AFTER_CHUNKS
        for name, coding in _CODINGS.items()
    },
    **{
        f"length of all, coding {name}": _HEAD + coding + _LENGTH % len(_AFTER_CHUNKS) + b"\r\n" + _AFTER_CHUNKS
        for name, coding in _CODINGS.items()
    },
    "a chunk, length of its size": _HEAD + _LENGTH % len(_SIZE) + _CHUNKED + b"\r\n" + _IN_CHUNK,
    "length of a size, a chunk": _HEAD + _CHUNKED + _LENGTH % len(_SIZE) + b"\r\n" + _IN_CHUNK,
    "a chunk in HTTP/1.0": _HEAD.replace(b"1.1", b"1.0") + _CHUNKED + b"\r\n" + _IN_CHUNK,
    "a coding in HTTP/1.0, length of all": (
        _HEAD.replace(b"1.1", b"1.0") + _CHUNKED + _LENGTH % len(_AFTER_CHUNKS) + b"\r\n" + _AFTER_CHUNKS
    ),
    "length, but among the trailers": (
        _HEAD + _CHUNKED + b"\r\n0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
    ),
    **{f"length {name}": _HEAD + lengths + b"\r\n" + HIDDEN for name, lengths in _LENGTHS.items()},
    **{f"chunks with {name}": _HEAD + _CHUNKED + b"\r\n" + chunks for name, chunks in _CHUNKS.items()},
    "the body of a GET": _HEAD.replace(b"POST", b"GET") + _BODY,
    "the chunks of a GET": _HEAD.replace(b"POST", b"GET") + _CHUNKED + b"\r\n" + _IN_CHUNK,
    "the body of a HEAD": _HEAD.replace(b"POST", b"HEAD") + _BODY,
    "the body of an upgrade to h2c": (
        _HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + _BODY
    ),
    "the chunks of an upgrade to h2c": (
        _HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + _CHUNKED + b"\r\n" + _IN_CHUNK
    ),
    "the body of a handshake": (
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    ) + _BODY,
    "a body that the client must wait with": _HEAD + b"Expect: 100-continue\r\n" + _BODY,
    "a length that Connection names": _HEAD + b"Connection: Content-Length\r\n" + _BODY,
    "a coding that Connection names": _HEAD + b"Connection: Transfer-Encoding\r\n" + _CHUNKED + b"\r\n" + _IN_CHUNK,
}  # fmt: skip
