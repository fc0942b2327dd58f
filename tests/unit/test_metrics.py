"""Metrics: Prometheus text without ``_created`` lines, and the sums that ``/status`` shows."""

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from hermes.metrics import Metrics, by_label, observed, total


def test_the_exposition_has_no_created_lines() -> None:
    """Although prometheus_client writes them for other registries of the process."""
    metrics = Metrics()
    metrics.flushes.inc()
    metrics.published.labels("device").inc()
    metrics.loop_lag_s.observe(0.1)
    text = metrics.exposition().decode()
    assert "_created" not in text
    assert "hermes_flushes_total 1.0" in text.splitlines()
    assert all(family.name.startswith("hermes_") for family in text_string_to_metric_families(text))
    other = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("embedding_program", "A counter", registry=other)
    assert b"embedding_program_created" in prometheus_client.generate_latest(other)


def test_sums_over_labels() -> None:
    """A counter's total, its value for each label, and a histogram's number and sum."""
    metrics = Metrics()
    for kind, count in (("device", 3), ("notification", 2)):
        metrics.published.labels(kind).inc(count)
    assert total(metrics.published) == 5
    assert by_label(metrics.published) == {"device": 3, "notification": 2}
    for seconds in (0.25, 0.5):
        metrics.loop_lag_s.observe(seconds)
    assert observed(metrics.loop_lag_s) == (2, 0.75)
