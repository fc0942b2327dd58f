"""Attackers, each a process of its own: ``python -m bench.load.attacker KIND PORT TOKEN SECONDS``.

They end by themselves after SECONDS, send to 127.0.0.1 only, and never wait for the server's consent: a connection that
is closed is opened again.
"""

import base64
import contextlib
import json
import os
import secrets
import selectors
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable

ADDRESS = "127.0.0.66"  # of all attackers, another one than the good client's
SOCKETS = 500  # of one process of idle sockets; ten processes make five thousand
PAUSE_S = 0.005  # between the steps of a loop, so that one attacker does not take a whole core for itself


def _frame(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    head = bytes((0x80 | length,)) if length < 126 else bytes((0x80 | 126,)) + length.to_bytes(2, "big")
    return bytes((opcode,)) + head + bytes(4) + payload  # masked with zeros


def _deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _request(port: int, path: str, *, deflate: bool = False) -> bytes:
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    ).encode()


def _open(port: int, path: str, *, deflate: bool = False) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(ADDRESS, 0))
    # End with a reset: thousands of ports in TIME_WAIT would make the kernel search for a free one, at everyone's cost.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.sendall(_request(port, path, deflate=deflate))
    return sock


def _again(attack: Callable[[], None], until_s: float) -> None:
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            attack()
        time.sleep(PAUSE_S)


def idle(port: int, token: str, until_s: float) -> None:
    """Sockets without a token that ignore the close and are opened again when they are cut."""
    with selectors.DefaultSelector() as selector:
        for _ in range(SOCKETS):
            selector.register(_open(port, "/ws"), selectors.EVENT_READ)
        while time.monotonic() < until_s:
            for key, _ in selector.select(0.1):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = b""
                with contextlib.suppress(OSError):
                    data = sock.recv(4_096)
                if not data:
                    selector.unregister(sock)
                    sock.close()
                    with contextlib.suppress(OSError):
                        selector.register(_open(port, "/ws"), selectors.EVENT_READ)
            time.sleep(PAUSE_S)


def bomber(port: int, token: str, until_s: float) -> None:
    """Small frames that inflate to 64 KiB, with and without a token, also after the close."""
    bomb = _frame(0xC1, _deflated(b'{"action":"ping","x":"' + b"x" * 60_000 + b'"}')) * 10

    def attack(path: str) -> None:
        with _open(port, path, deflate=True) as sock:
            sock.settimeout(0.5)
            for _ in range(100):
                sock.sendall(bomb)
                time.sleep(PAUSE_S)

    _again(lambda: attack(f"/ws?token={token}"), (time.monotonic() + until_s) / 2)
    _again(lambda: attack("/ws"), until_s)


def toggler(port: int, token: str, until_s: float) -> None:
    """``subscribe`` and ``unsubscribe`` in turns, without reading."""
    toggle = _frame(0x81, b'{"action":"subscribe","device":"zz"}')
    toggle += _frame(0x81, b'{"action":"unsubscribe","device":"zz"}')

    def attack() -> None:
        with _open(port, f"/ws?token={token}") as sock:
            while time.monotonic() < until_s:
                sock.sendall(toggle * 10)
                time.sleep(PAUSE_S)

    _again(attack, until_s)


def guesser(port: int, token: str, until_s: float) -> None:
    """A new wrong token for each socket."""
    head = token.partition(".")[0]

    def attack() -> None:
        claims = base64.urlsafe_b64encode(json.dumps({"user_id": secrets.token_hex(8), "username": "x"}).encode())
        guess = f"{head}.{claims.rstrip(b'=').decode()}.{secrets.token_urlsafe(32)}"
        with _open(port, f"/ws?token={guess}") as sock:
            sock.recv(4_096)

    _again(attack, until_s)


def device(port: int, token: str, until_s: float) -> None:
    """A device that publishes new series and deep payloads as fast as the broker takes them (MQTT 3.1.1)."""
    body = b"\0\4MQTT\4\2\0\0\0\4evil"
    payload = b"[" + b",".join([b"[[]]"] * 2_000) + b"]"
    number = 0

    def attack() -> None:
        nonlocal number
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(bytes((0x10, len(body))) + body)
            sock.recv(4)
            while time.monotonic() < until_s:
                number += 1
                topic = f"tenants/evil/devices/flood/series-{number}".encode()
                content = len(topic).to_bytes(2, "big") + topic + payload
                size = len(content)
                sock.sendall(bytes((0x30, size & 127 | 128, size >> 7)) + content)
                time.sleep(PAUSE_S / 5)

    _again(attack, until_s)


ATTACKS = {"idle": idle, "bomber": bomber, "toggler": toggler, "guesser": guesser, "device": device}


def dummy() -> None:
    """A listener that accepts, answers 101 and reads: what the attackers alone cost the machine. Prints its port."""
    with selectors.DefaultSelector() as selector, socket.create_server(("127.0.0.1", 0), backlog=4_096) as listener:
        print(listener.getsockname()[1], flush=True)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ, [False])
                    continue
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = b""
                with contextlib.suppress(OSError):
                    data = sock.recv(65_536)
                    if data and not key.data[0]:
                        key.data[0] = True
                        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
                if not data:
                    selector.unregister(sock)
                    sock.close()


def main() -> None:
    """Run one attacker, or the dummy listener."""
    if sys.argv[1] == "dummy":
        dummy()
        return
    kind, port, token, seconds = sys.argv[1:]
    os.nice(5)
    ATTACKS[kind](int(port), token, time.monotonic() + float(seconds))


if __name__ == "__main__":
    main()
