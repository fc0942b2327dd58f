"""Parsers of the Python client."""

import time

import jwt
import pytest

from hermes.client import claims_of, expiry, retry_hint_s, socket_url

SECRET = "a secret of the tests, longer than thirty-two bytes"


@pytest.mark.parametrize(
    ("url", "target", "expected"),
    [
        ("http://h:1", "notifications", "ws://h:1/ws/notifications"),
        ("https://h", "all", "wss://h/ws"),
        ("https://h", "combined", "wss://h/ws"),
        ("http://h/x/", "tenants", "ws://h/x/ws/tenants"),
        ("http://h/below/", "tenant/acme", "ws://h/below/ws/tenant/acme"),
        ("http://[::1]:1", "device/a/b ä", "ws://[::1]:1/ws/device/a%2Fb%20%C3%A4"),
    ],
)
def test_a_target_has_a_url(url: str, target: str, expected: str) -> None:
    """Below the path of the HTTP URL; ids are percent-encoded."""
    assert socket_url(url, target) == expected


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"is_superuser": True}, "ws://h/ws/tenants"),
        *[({"is_superuser": claim}, "ws://h/ws") for claim in (False, "true", 1, None)],
        ({}, "ws://h/ws"),
    ],
)
def test_all_is_the_route_of_every_tenant_for_a_superuser(claims: dict[str, object], expected: str) -> None:
    """Only JSON true makes one."""
    assert socket_url("http://h", "all", jwt.encode(claims, SECRET)) == expected


@pytest.mark.parametrize("token", ["", "a.b.c", "x", "a.W10.c", "a.!!.c"])
def test_the_claims_of_what_is_no_token_are_empty(token: str) -> None:
    """The server refuses it."""
    assert claims_of(token) == {}
    assert socket_url("http://h", "all", token) == "ws://h/ws"


@pytest.mark.parametrize("target", ["everything", "tenant", "tenant/", "notifications/5", "all/5", ""])
def test_other_targets_are_refused(target: str) -> None:
    """The error lists the targets that exist."""
    with pytest.raises(ValueError, match="use notifications, tenant/ID, device/ID, tenants, combined or all"):
        socket_url("http://h", target)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stopping;retry_ms=1234", 1.234),
        ("server_full;retry_ms=0", 0.0),
        ("slow_consumer;retry_ms=99999999999", 3_600.0),
        ("stopping", None),
        ("stopping;retry_ms=x", None),
        ("", None),
    ],
)
def test_a_close_reason_may_ask_for_a_wait(reason: str, expected: float | None) -> None:
    """In milliseconds, at most an hour."""
    assert retry_hint_s(reason) == expected


def test_the_expiry_of_a_token_is_its_exp_claim() -> None:
    """The signature is not checked."""
    exp = int(time.time()) + 60
    assert expiry(jwt.encode({"exp": exp}, SECRET, "HS256")) == exp
    assert expiry(jwt.encode({"user_id": "1"}, SECRET, "HS256")) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b.c",
        "a.é.c",
        "a.W10.c",
        "a.MQ.c",
        "a.eyJleHAiOiJ4In0.c",
        "a.eyJleHAiOm51bGx9.c",
        "a.eyJleHAiOk5hTn0.c",
    ],
)
def test_what_is_not_a_token_has_no_expiry(token: str) -> None:
    """Whatever it contains."""
    assert expiry(token) is None
