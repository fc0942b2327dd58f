"""Parts of a network that fail in the middle: a TLS handshake, a resolver."""

import asyncio
import socket
import struct
import threading

import pytest

INTERNAL_ERROR_ALERT = b"\x15\x03\x03\x00\x02\x02\x50"  # RFC 8446 §6
HALF_A_RECORD = b"\x16\x03\x03\x00\x7a\x02\x00"


def end_handshake(writer: asyncio.StreamWriter, ending: str) -> None:
    """Do what a server does that ends in the middle; the caller closes."""
    match ending:
        case "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        case "cut":
            writer.write(HALF_A_RECORD)
        case "alert":
            writer.write(INTERNAL_ERROR_ALERT)


def hanging_resolver(monkeypatch: pytest.MonkeyPatch, tail: str = ".test") -> tuple[threading.Event, list[str]]:
    """Let no question for a name with this tail be answered until an event is set; return it, and the names."""
    may_answer, asked = threading.Event(), list[str]()
    resolve = socket.getaddrinfo

    def hang(host: object, *args: object, **named: object) -> object:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name.endswith(tail):
            asked.append(name)
            may_answer.wait()
            if name.endswith(".test"):
                raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return resolve(host, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    return may_answer, asked
