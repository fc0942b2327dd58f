"""Metrics: Prometheus text without ``_created`` lines, and the sums that ``/status`` shows."""

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hermes.metrics import LONG_WORK_S, WORK_WINDOW_S, Metrics, WorkMeter, by_label, observed, total
from hermes.testing import FakeClock


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


def test_the_longest_piece_of_work_is_shown_for_a_minute_or_two(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By kind; a line in the log says what a very long one was, a few at most."""
    monkeypatch.setattr("hermes.metrics.LONG_WORK_S", LONG_WORK_S)
    clock = FakeClock(0.0)
    metrics = Metrics()
    meter = WorkMeter(metrics._gauge("hermes_test_seconds", "test", "kind"), clock=clock)

    def work(kind: str, seconds: float) -> None:
        with meter[kind] as piece:
            piece.detail = "a frame of user 7"
            clock.now_s += seconds

    work("client_frame", 0.02)
    work("client_frame", 0.01)
    work("flush", 0.03)
    assert meter["client_frame"].longest_s == pytest.approx(0.02)
    assert meter["mqtt"].longest_s == 0.0
    assert caplog.records == []
    for seconds in (0.06, 0.07, 0.08):
        work("client_frame", seconds)
    assert [record.getMessage() for record in caplog.records] == [
        "client_frame held the event loop for 60 ms: a frame of user 7"
    ]
    meter.update()
    clock.now_s += WORK_WINDOW_S
    meter.update()
    work("client_frame", 0.01)
    assert meter["client_frame"].longest_s == pytest.approx(0.08)
    clock.now_s += WORK_WINDOW_S
    meter.update()
    assert meter["client_frame"].longest_s == pytest.approx(0.01)


def test_a_piece_that_fails_is_measured() -> None:
    """And the next one, too."""
    metrics = Metrics()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), metrics.work["flush"]:
            1 / 0  # noqa: B018
    assert metrics.work["flush"].longest_s > 0
    metrics.work.update()
    assert b'hermes_work_seconds{kind="flush"}' in metrics.exposition()
