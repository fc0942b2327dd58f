"""One connection to a broker that tests the settings, for ``hermes check``."""

import asyncio
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence

from hermes.mqtt import failures
from hermes.mqtt.connection import Connection, Publication
from hermes.mqtt.failures import NoConnack, WrongVersion
from hermes.mqtt.net.waker import Waker
from hermes.mqtt.reconnect import MqttVersion, VersionNegotiator
from hermes.settings.mqtt import MqttOptions
from hermes.settings.urls.mqtt import MqttUrl
from hermes.topics.topic_map import TopicMap

TEST_NAME = "hermes-check"


async def try_connection(
    url: MqttUrl, *, options: MqttOptions, topics: TopicMap | None, timeout_s: float, publish: bool = False
) -> str | frozenset[str]:
    """Connect and subscribe as `MqttClient` does, then disconnect.

    Returns why that failed, or, if the broker granted every subscription within ``timeout_s`` seconds, the filters of
    which it delivered a test message. Such messages are published only with ``publish``. Without ``topics`` it only
    connects. Other messages that arrive are discarded. A running Hermes with these options is not disturbed.
    """
    trial = _Trial(url, options=options.for_a_trial(), topics=topics, publish=publish)
    timer = asyncio.get_running_loop().call_later(timeout_s, trial.stop)
    failure = await asyncio.to_thread(trial.run)
    timer.cancel()
    if trial.granted:
        return frozenset(trial.delivered)
    return f"no answer in {timeout_s:g} s" if trial.stopped else failures.reason(failure)


class _Trial:
    """Attempts with MQTT 5, then with 3.1.1 if the broker does not support 5.

    `run` blocks: it is for a thread.
    """

    def __init__(self, url: MqttUrl, *, options: MqttOptions, topics: TopicMap | None, publish: bool) -> None:
        self.granted = False
        self.delivered: set[str] = set()  # filters
        self._publish = publish and topics is not None
        self._outbox: deque[Publication] = deque()
        self._mark = secrets.token_hex(8).encode()
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
            bridge=self,
            outbox=self._outbox,
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
        if not self._publish or self._topics is None:
            self._stopping.set()
            return
        payload = b'{"hermes check":"%s"}' % self._mark
        self._outbox.extend(Publication(test_topic(each), payload, False) for each in self._tested)
        if not self._tested:
            self._stopping.set()

    @property
    def _tested(self) -> list[str]:
        return [each for each in self._topics.filters if is_testable(each)] if self._topics is not None else []

    # -- as a `MessageSink` -------------------------------------------------------------------------------------------

    def put(self, topic: str, payload: bytes, *, retained: bool, subscription_ids: Sequence[int]) -> None:
        """Record a test message; end when all have come back."""
        if self._topics is not None and self._mark in payload:
            self.delivered |= {each for each in self._topics.filters if test_topic(each) == topic}
            if len(self.delivered) == len(self._tested):
                self._stopping.set()

    def put_bad_topic(self, topic: bytes) -> None:
        """Discard it."""

    def wake(self) -> None:
        """Do nothing: messages are handled one by one."""


def is_testable(topic_filter: str) -> bool:
    """Return whether a filter also matches a topic of no real device."""
    return "+" in topic_filter or "#" in topic_filter


def test_topic(topic_filter: str) -> str:
    """Return a topic that a filter matches, of no device of the site."""
    return "/".join(TEST_NAME if level in ("+", "#") else level for level in topic_filter.split("/"))
