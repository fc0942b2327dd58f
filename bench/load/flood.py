"""MQTT broker that sends the same messages to each subscriber as fast as it reads.

    python -m bench.load.flood PORT MESSAGES

It speaks as much of MQTT 5 as that needs, and is a process of its own, so that it takes no turn of the interpreter
from those it floods. mosquitto would be the narrow place.
"""

import socket
import sys

CONNACK = b"\x20\x03\0\0\0"
SUBACK_HEAD = b"\x90\x04"
TOPIC = b"tenants/acme/devices/climate-01/temp"
PAYLOAD = (
    b'{"value":21.437,"unit":"C","battery":87,"ok":true,"at":"2026-01-01T12:00:00Z","station":"cold room 4, door"}'
)
CHUNK_MESSAGES = 500


def message() -> bytes:
    """One PUBLISH of QoS 0 without properties; with its topic about 160 bytes."""
    body = len(TOPIC).to_bytes(2, "big") + TOPIC + b"\0" + PAYLOAD
    return bytes((0x30, len(body) & 127 | 128, len(body) >> 7)) + body


def flood(connection: socket.socket, messages: int) -> None:
    """Serve one subscriber until it leaves."""
    connection.recv(4_096)  # CONNECT
    connection.sendall(CONNACK)
    subscribe = connection.recv(4_096)
    connection.sendall(SUBACK_HEAD + subscribe[2:4] + b"\0\0")
    chunk = message() * CHUNK_MESSAGES
    for _ in range(messages // CHUNK_MESSAGES):
        connection.sendall(chunk)
    while connection.recv(4_096):
        pass


def main() -> None:
    """Serve one after the other until ended."""
    port, messages = int(sys.argv[1]), int(sys.argv[2])
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    flood(connection, messages)
                except ConnectionError:
                    continue


if __name__ == "__main__":
    main()
