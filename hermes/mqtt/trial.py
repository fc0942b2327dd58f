"""One connection to a broker that tests the settings, for ``hermes check``."""

import asyncio
import secrets
import threading
import time
from collections import deque

from hermes.mqtt import failures
from hermes.mqtt.connection import Connection
from hermes.mqtt.failures import NoConnack, WrongVersion
from hermes.mqtt.net.waker import Waker
from hermes.mqtt.reconnect import MqttVersion, VersionNegotiator
from hermes.settings.mqtt import MqttOptions
from hermes.settings.mqtt_url import MqttUrl
from hermes.topics.topic_map import TopicMap


async def try_connection(
    url: MqttUrl, *, options: MqttOptions, topics: TopicMap | None, timeout_s: float
) -> str | None:
    """Connect and subscribe as `MqttClient` does, then disconnect.

    Returns why that failed; None if the broker granted every subscription within ``timeout_s`` seconds. Without
    ``topics`` it only connects. Messages that arrive are discarded. A running Hermes with these options is not
    disturbed.
    """
    trial = _Trial(url, options=options.for_a_trial(), topics=topics)
    timer = asyncio.get_running_loop().call_later(timeout_s, trial.stop)
    failure = await asyncio.to_thread(trial.run)
    timer.cancel()
    if trial.granted:
        return None
    return f"no answer in {timeout_s:g} s" if trial.stopped else failures.reason(failure)


class _Trial:
    """Attempts with MQTT 5, then with 3.1.1 if the broker does not support 5.

    `run` blocks: it is for a thread.
    """

    def __init__(self, url: MqttUrl, *, options: MqttOptions, topics: TopicMap | None) -> None:
        self.granted = False
        self._url = url
        self._options = options
        self._topics = topics
        self._client_id = options.client_id or f"hermescheck{secrets.token_hex(6)}"  # 23 characters: MQTT 5 §3.1.3.1
        self._stopping = threading.Event()
        self._waker = Waker()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Interrupt `run`; from any thread."""
        self._stopping.set()
        self._waker.wake()

    def run(self) -> Exception | None:
        """Return why the last attempt failed; None if it did not, or was stopped."""
        versions = VersionNegotiator()
        try:
            while True:
                version = versions.current
                failure = self._attempt(version)
                if version is MqttVersion.V311 or not isinstance(failure, WrongVersion | NoConnack):
                    return failure
                versions.record(failure, connected=False)
        finally:
            self._waker.close()

    def _attempt(self, version: MqttVersion) -> Exception | None:
        connection = Connection(
            self._url,
            options=self._options,
            version=version,
            client_id=self._client_id,
            topics=self._topics,
            bridge=None,
            outbox=deque(),
            on_demand_filters=frozenset,
            waker=self._waker,
            stopping=self._stopping,
            clock=time.monotonic,
        )
        try:
            connection.open()
            connection.serve(on_ready=self._end)
        except (OSError, ValueError, failures.ConnectionFailure) as error:  # ValueError: a file of TLS cannot be used
            return error
        finally:
            connection.close()
        return None

    def _end(self) -> None:
        self.granted = True
        self._stopping.set()
