"""The texts for the ends of a connection."""

import socket
import ssl

import pytest

from hermes.mqtt.failures import ConnectionFailure, RefusedByBroker, check_protocol, reason, reason_code_failure


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, "stopped"),
        (TimeoutError("timed out"), "the broker cannot be reached: timed out"),
        (OSError(24, "Too many open files"), "the broker cannot be reached: Too many open files"),
        (OSError("odd"), "the broker cannot be reached: odd"),
        (ConnectionFailure("the connection was lost"), "the connection was lost"),
        (RuntimeError(), "RuntimeError"),
        (ssl.SSLError(1, "[SSL: ODD] odd"), "the TLS connection failed: [SSL: ODD] odd"),
        (
            ssl.SSLEOFError(8, "EOF"),
            "the broker closed the connection during the TLS handshake: does this port use TLS?",
        ),
        (
            socket.gaierror(-2, "Name or service not known"),
            "the broker's name cannot be resolved: Name or service not known",
        ),
    ],
)
def test_every_end_of_a_connection_has_a_text(error: Exception | None, text: str) -> None:
    """For the console and the log."""
    assert reason(error) == text


def test_a_reason_code_that_the_settings_can_fix_has_advice() -> None:
    """Others are only named."""
    refused = reason_code_failure("the broker refused the connection", 0x87, "Not authorized")
    assert isinstance(refused, RefusedByBroker)
    assert str(refused).startswith("the broker refused the connection: Not authorized; check user and password")
    busy = reason_code_failure("the broker refused the connection", 0x89, "Server busy")
    assert not isinstance(busy, RefusedByBroker)
    assert str(busy) == "the broker refused the connection: Server busy"


@pytest.mark.parametrize(("first_bytes", "scheme"), [(b"\x15\x03\x01", "mqtts://"), (b"HTTP/", "ws://")])
def test_another_protocol_than_mqtt_is_recognised(first_bytes: bytes, scheme: str) -> None:
    """By the first bytes that the server sends."""
    with pytest.raises(RefusedByBroker, match=scheme):
        check_protocol(first_bytes)
    check_protocol(b"\x20\x03\0\0\0")
    check_protocol(b"")
