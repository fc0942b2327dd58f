"""The devices: a program that publishes at a steady rate over one MQTT 3.1.1 connection, QoS 0.

``python -m bench.load.publisher PORT TENANT DEVICES RATE_PER_S MESSAGES START_NS`` begins at ``time.monotonic_ns()
== START_NS`` and ends with one line of JSON, a `Published`. It speaks MQTT itself: a library would cost more than
all the rest of it. Message n is of device n modulo DEVICES: ``{"n":n,"t":monotonic ns before it is written}``.
"""

import json
import socket
import sys
import time
from dataclasses import asdict, dataclass

TIMEOUT_S = 10.0

# Packets of MQTT 3.1.1, §3.1, §3.2, §3.3, §3.14
_CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench"  # clean session, no keep-alive
_CONNACK = b"\x20\x02\x00\x00"
_PUBLISH = 0x30
_DISCONNECT = b"\xe0\x00"


@dataclass(frozen=True, slots=True)
class Published:
    """What was done, when (monotonic nanoseconds), and for how many seconds of CPU."""

    messages: int
    began_ns: int
    ended_ns: int
    cpu_s: float


def device_topic(tenant_id: str, device: int) -> str:
    """Device number ``device``'s one series."""
    return f"tenants/{tenant_id}/devices/d{device:02}/t"


def publish_steadily(
    sock: socket.socket, topics: list[bytes], *, rate_per_s: float, messages: int, start_ns: int
) -> Published:
    """Message n is due n / rate after the start; what is late follows at once."""
    period_ns = 1e9 / rate_per_s
    _sleep_until(start_ns)
    began_ns, began_cpu_s = time.monotonic_ns(), time.process_time()
    for number in range(messages):
        _sleep_until(began_ns + int(number * period_ns))
        payload = b'{"n":%d,"t":%d}' % (number, time.monotonic_ns())
        sock.sendall(_packet(topics[number % len(topics)], payload))
    return Published(messages, began_ns, time.monotonic_ns(), time.process_time() - began_cpu_s)


def _packet(topic: bytes, payload: bytes) -> bytes:
    length = 2 + len(topic) + len(payload)
    assert length < 128, "one byte of remaining length"
    return bytes((_PUBLISH, length)) + len(topic).to_bytes(2, "big") + topic + payload


def _sleep_until(monotonic_ns: int) -> None:
    wait_ns = monotonic_ns - time.monotonic_ns()
    if wait_ns > 0:
        time.sleep(wait_ns / 1e9)


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(_CONNECT)
    answer = sock.recv(len(_CONNACK), socket.MSG_WAITALL)
    if answer != _CONNACK:
        raise SystemExit(f"the broker refused: {answer!r}")
    return sock


def main(arguments: list[str]) -> None:
    """Publish, and print what was done."""
    tenant_id = arguments[1]
    port, devices, rate_per_s, messages, start_ns = (int(word) for word in (arguments[0], *arguments[2:]))
    topics = [device_topic(tenant_id, device).encode() for device in range(devices)]
    with _connect(port) as sock:
        done = publish_steadily(sock, topics, rate_per_s=rate_per_s, messages=messages, start_ns=start_ns)
        sock.sendall(_DISCONNECT)
    print(json.dumps(asdict(done)))


if __name__ == "__main__":
    main(sys.argv[1:])
