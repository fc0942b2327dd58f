"""Floor 4: ``hermes check``: looks at what ``hermes serve`` would need, and says what to mend."""

import asyncio
import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from hermes.broker.accounts import FILE_NAME
from hermes.broker.device_listener import DeviceListener
from hermes.broker.mosquitto import find_mosquitto
from hermes.broker.supervisor import CLEAR_TEXT
from hermes.delivery.last_values import LastValues, LastValuesLimits
from hermes.delivery.link_state import LinkState, MqttLinkState
from hermes.errors import BrokerUnavailable, HermesError
from hermes.ingest.drops import DropCounter
from hermes.ingest.ingest import InboundMessage, Ingest
from hermes.metrics import Metrics
from hermes.mqtt.bridge import Bridge
from hermes.mqtt.client import MqttClient
from hermes.mqtt.feed import feed_faults
from hermes.server import listen
from hermes.settings.model import Settings
from hermes.settings.mqtt_url import parse_mqtt_url
from hermes.topics.topic_map import TopicMap

BROKER_TIMEOUT_S = 5.0
PRIVATE_FILES = ("jwt_secret_file", "api_key_file", "mqtt_password_file", "mqtt_key_file", "broker_key_file")


def topic_faults(settings: Settings) -> list[str]:
    """What keeps the topics from being fed: told before anything is started, whatever becomes of the broker."""
    return [] if settings.broker_url == "off" else feed_faults(settings)


async def check(settings: Settings) -> int:
    """Print a line for each thing looked at; 0 when all is well, 1 when something must be mended."""
    print("ok      settings")
    faults = [
        *_topic_faults(settings),
        *_file_faults(settings),
        *_address_faults(settings),
        *await _broker_faults(settings),
    ]
    for fault in faults:
        print(f"mend    {fault}")
    print("ready to serve" if not faults else f"{len(faults)} to mend")
    return 1 if faults else 0


def _topic_faults(settings: Settings) -> list[str]:
    faults = topic_faults(settings)
    if not faults:
        print(f"ok      topics {', '.join(TopicMap(settings.topics).filters)}")
    return faults


def _file_faults(settings: Settings) -> Iterator[str]:
    for name in PRIVATE_FILES:
        path: Path | None = getattr(settings, name)
        if path is None or not path.exists():  # what must be there is told where it is read
            continue
        if _readable_by_others(path):
            yield f"{path} can be read by every user of this machine: chmod 600 {path}"
        else:
            print(f"ok      {path} (--{name.replace('_', '-')}) cannot be read by others")
    if settings.device_listener is not None:
        yield from _folder_faults(settings.device_listener.folder)


def _folder_faults(folder: Path) -> Iterator[str]:
    """Who could read devices' password hashes, or make accounts."""
    passwords = folder / FILE_NAME
    with contextlib.suppress(OSError):  # what cannot be reached is told where the accounts are read
        if folder.stat().st_mode & stat.S_IWOTH:
            yield f"{folder} can be written by every user of this machine: chmod 700 {folder}"
        if _readable_by_others(passwords):
            yield f"{passwords} can be read by every user of this machine: chmod 600 {passwords}"


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH)


def _address_faults(settings: Settings) -> Iterator[str]:
    try:
        for listening in listen(settings.host, settings.port):
            listening.close()
    except HermesError as error:
        yield str(error)
    else:
        print(f"ok      {settings.host} port {settings.port} is free")


async def _broker_faults(settings: Settings) -> list[str]:
    url = settings.broker_url
    if url == "off":
        print("ok      MQTT is off")
        return []
    if url == "embedded":
        return [*_embedded_faults(), *_device_faults(settings)]
    for line in _connection_summary(settings):
        print(f"with    {line}")
    link = await _try_broker(settings)
    if link.state is LinkState.CONNECTING:
        return [f"broker {settings.broker_name}: no answer in {BROKER_TIMEOUT_S:g} s"]
    if not link.ready:
        return [f"broker {settings.broker_name}: {', '.join(link.missing)}"]
    said = "takes every subscription"
    if settings.mqtt_on_demand:
        said = "lets Hermes in; subscriptions are not tried, because --mqtt-on-demand makes them when a socket opens"
    print(f"ok      broker {settings.broker_name} {said}")
    return []


def _connection_summary(settings: Settings) -> Iterator[str]:
    """What the broker is tried with: each MQTT setting, given or not."""
    url, options = parse_mqtt_url(settings.broker_url), settings.mqtt_options
    user = options.username or url.username
    source = settings.mqtt_password_file or ("the URL" if url.password is not None else None)
    yield f"user {user}, {f'the password of {source}' if source else 'no password'}" if user else "no user, no password"
    if url.tls:
        tls = options.tls
        shown = f"showing {tls.cert_file} with key {tls.key_file}" if tls.cert_file else "showing no certificate"
        alpn = f", asking for {', '.join(tls.alpn)}" if tls.alpn else ""
        yield f"TLS, trusting {tls.ca_file or 'what the system trusts'}, {shown}{alpn}"
    yield f"keepalive {options.keepalive_s} s, QoS {options.qos}, receive maximum {options.receive_maximum or 65_535}"
    trial = options.for_a_trial().client_id
    kept = "" if options.clean_start else f"; the session kept for {options.client_id} is left alone"
    yield f"client id {trial or 'made anew'}, clean start{kept}"


def _embedded_faults() -> list[str]:
    try:
        found = find_mosquitto()
    except BrokerUnavailable as error:
        return [str(error)]
    print(f"ok      mosquitto {found.version} at {found.path}")
    return []


def _device_faults(settings: Settings) -> Iterator[str]:
    """What keeps devices out that are to be let in; passwords in clear text are no fault, but not well either."""
    listener = settings.device_listener
    if listener is None:
        return
    try:
        accounts = DeviceListener(listener, topics=settings.topics, metrics=Metrics()).check()
    except BrokerUnavailable as error:
        yield str(error)
    else:
        print(f"ok      {accounts} device accounts in {listener.folder}; devices connect to {listener}")
    if listener.reveals_passwords:
        print(f"warn    {CLEAR_TEXT % listener}")


class DiscardingIngest(Ingest):
    """For a trial: what arrives is nobody's business."""

    def handle(self, arrival: InboundMessage) -> None:
        """Let it go."""


async def _try_broker(settings: Settings) -> MqttLinkState:
    """Connect and subscribe as the server would, for a few seconds at most."""
    metrics = Metrics()
    link = MqttLinkState()
    topics = TopicMap(settings.topics)
    intake = DiscardingIngest(
        topics=topics,
        snapshot=LastValues(limits=LastValuesLimits(), metrics=metrics),
        publish=lambda message: None,
        losses=DropCounter(metrics),
    )
    bridge = Bridge(intake=intake, flush=lambda: None, link=link, metrics=metrics, loop=asyncio.get_running_loop())
    client = MqttClient(
        url=parse_mqtt_url(settings.broker_url),
        options=settings.mqtt_options.for_a_trial(),
        bridge=bridge,
        topics=None if settings.mqtt_on_demand else topics,
        metrics=metrics,
    )
    client.start()
    deadline_s = asyncio.get_running_loop().time() + BROKER_TIMEOUT_S
    while not link.ready and asyncio.get_running_loop().time() < deadline_s:
        await asyncio.sleep(0.05)
    await asyncio.get_running_loop().run_in_executor(None, client.stop)
    return link
