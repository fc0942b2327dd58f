"""The state from one connection attempt to the next."""

from hermes.metrics import Metrics
from hermes.mqtt.failures import NoConnack, RefusedByBroker, WrongVersion
from hermes.mqtt.reconnect import Downtime, MqttVersion, VersionNegotiator


def test_an_accepted_version_is_tried_again() -> None:
    """Until the broker refuses it; a broker that restarts only closes connections."""
    versions = VersionNegotiator()
    versions.record(None, connected=True)
    for _ in range(5):
        versions.record(NoConnack("closed"), connected=False)
    versions.record(ConnectionRefusedError(), connected=False)
    versions.record(RefusedByBroker("credentials"), connected=False)
    seen = [(versions.current, versions.retry_at_once)]
    for _ in range(2):
        versions.record(WrongVersion("no"), connected=False)
        seen.append((versions.current, versions.retry_at_once))
    assert seen == [(MqttVersion.V5, False), (MqttVersion.V311, True), (MqttVersion.V5, False)]


def test_an_outage_is_counted_from_the_brokers_last_bytes() -> None:
    """While it lasts, and no longer; its length is returned at its end."""
    now_s = 100.0
    metrics = Metrics()
    downtime = Downtime(metrics, lambda: now_s)

    def counted() -> tuple[float | None, float | None]:
        get = metrics.registry.get_sample_value
        return get("hermes_mqtt_outages_total"), get("hermes_mqtt_outage_seconds_total")

    downtime.update()
    assert downtime.end() is None
    assert counted() == (0, 0)
    downtime.start(since_s=98.0)
    assert counted() == (1, 2)
    now_s = 105.0
    downtime.update()
    assert counted() == (1, 7)
    now_s = 106.5
    assert downtime.end() == 8.5
    now_s = 200.0
    downtime.update()
    assert counted() == (1, 8.5)
