"""No token and no key is ever logged."""

import logging
import sys

import pytest

from hermes import log
from tests.conftest import token

JWT = token()


@pytest.mark.parametrize(
    "text",
    [
        f"GET /ws?token={JWT} from 127.0.0.1",
        f"GET /ws?a=1&token={JWT}&b=2",
        f"Authorization: Bearer {JWT}",
        f"Sec-WebSocket-Protocol: hermes.v1, {JWT}",
        "GET /ws?token=not-even-a-jwt",
        "mqtt://user:secret-pass@broker:1883 lost",
        "the key is known-secret",
    ],
)
def test_secrets_are_masked_wherever_they_stand(text: str) -> None:
    """The rest of the line stays."""
    shown = log.masked(text, ["known-secret"])
    assert log.MASK in shown
    assert not any(secret in shown for secret in (JWT, "not-even-a-jwt", "secret-pass", "known-secret"))


def test_ordinary_lines_stay_as_they_are() -> None:
    """Names with dots are no tokens."""
    for text in ("hermes.mqtt.client: up", "mqtt://broker:1883", "a@b", "http://127.0.0.1:8080/ws/tenant/acme"):
        assert log.masked(text) == text


def test_tracebacks_are_masked_too() -> None:
    """A secret in an exception's text."""
    formatter = log.MaskingFormatter(["", "known-secret"])
    try:
        raise ValueError(f"bad known-secret {JWT}")
    except ValueError:
        record = logging.LogRecord("hermes", logging.ERROR, __file__, 1, "failed %s", (JWT,), sys.exc_info())
    shown = formatter.format(record)
    assert "ValueError" in shown
    assert JWT not in shown
    assert "known-secret" not in shown


def test_set_up_logs_to_standard_error_at_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    """And replaces what was there."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        log.set_up("info", ["known-secret"])
        logging.getLogger("hermes.test").info("opened with known-secret")
        logging.getLogger("hermes.test").debug("not shown")
    finally:
        root.handlers[:], root.level = before
    shown = capsys.readouterr().err
    assert "opened with ***" in shown
    assert "not shown" not in shown
