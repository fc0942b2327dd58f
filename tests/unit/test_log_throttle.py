"""How often a line about one repeated event is written."""

import pytest

from hermes import log
from hermes.log import LogThrottle


def test_the_first_line_of_a_key_is_allowed_then_one_per_interval() -> None:
    """A line gives the number of events that it stands for; another key is independent."""
    now_s = 100.0
    throttle = LogThrottle(600.0, clock=lambda: now_s)
    assert throttle.allow("refused") == 1
    for _ in range(9):
        now_s += 60
        assert throttle.allow("refused") == 0
    assert throttle.allow("timed out") == 1
    now_s += 60
    assert throttle.allow("refused") == 10
    assert throttle.allow("timed out") == 0


def test_without_an_interval_only_the_first_line_is_allowed() -> None:
    """However much time passes."""
    now_s = 0.0
    throttle = LogThrottle(clock=lambda: now_s)
    assert throttle.allow(("unmatched", "")) == 1
    now_s = 1e9
    assert throttle.allow(("unmatched", "")) == 0
    assert throttle.allow(("pointer", "")) == 1


def test_after_clear_every_key_is_new() -> None:
    """Suppressed events are not counted any more."""
    throttle = LogThrottle()
    assert [throttle.allow("refused"), throttle.allow("refused")] == [1, 0]
    throttle.clear()
    assert throttle.allow("refused") == 1


def test_the_number_of_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest key is evicted, so that its next line is written again."""
    monkeypatch.setattr(log, "THROTTLE_KEYS_MAX", 3)
    throttle = LogThrottle()
    for key in "abca":
        throttle.allow(key)
    assert throttle.allow("d") == 1
    assert [throttle.allow(key) for key in "bcd"] == [0, 0, 0]
    assert throttle.allow("a") == 1
