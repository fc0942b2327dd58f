"""Devices that publish in turn at a steady rate, from a thread of this process."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

BURST_S = 0.02
TENTHS = 400  # of a degree, up and down, so that lines have a shape


@contextlib.contextmanager
def publishing(port: int, topics: Sequence[str], *, rate_per_s: float) -> Iterator[None]:
    """While the block runs, these topics get a number each in turn."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    ended = threading.Event()

    def publish() -> None:
        began_s, sent = time.monotonic(), 0
        while not ended.wait(BURST_S):
            due = int((time.monotonic() - began_s) * rate_per_s)
            for number in range(sent, due):
                value = abs(number // len(topics) % (2 * TENTHS) - TENTHS) / 10
                client.publish(topics[number % len(topics)], f'{{"value":{value},"unit":"C"}}')
            sent = due

    thread = threading.Thread(target=publish, name="bench-devices")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        client.disconnect()
        client.loop_stop()
