"""Which requests are certainly from this machine."""

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from hermes.web.origins.local_caller import reason_to_reject


def request_with(
    headers: dict[str, str], *, address: str = "127.0.0.1", version: str = "HTTP/1.1"
) -> HTTPServerRequest:
    """Return a request with these headers; ``Host`` is a loopback address unless it is given."""
    line = RequestStartLine("POST", "/notify", version)
    request = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "127.0.0.1:8080"} | headers))
    request.remote_ip = address
    return request


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"User-Agent": "curl/8", "Accept": "*/*", "Content-Type": "application/json", "X-API-Key": "x"},
        {"Host": "localhost:8080", "Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"},
        {"Host": "[::1]:8080", "Origin": "http://[::1]:8080"},
        {"Host": "localhost", "Origin": "http://localhost:80"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Upgrade-Insecure-Requests": "1"},
        {"X-Request-Id": "7", "Traceparent": "00-1-2-01", "Cookie": "via=1"},
    ],
)
def test_programs_and_the_console_are_local(headers: dict[str, str]) -> None:
    """Also with the headers that browsers and libraries add."""
    assert reason_to_reject(request_with(headers)) is None


@pytest.mark.parametrize(
    "name",
    [
        *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Anything", "X-Real-IP", "Via", "Cdn-Loop"),
        *("CF-Connecting-IP", "CF-Ray", "True-Client-IP", "Fastly-Client-IP", "X-Client-IP", "X-Cluster-Client-Ip"),
        *("X_Forwarded_For", "x_real_ip", "X-Original-For", "X-Original-Host", "X-Envoy-External-Address"),
        *("X-Amzn-Trace-Id", "X-Ingress-Path", "Client-IP", "Forwarded-For", "X-Forwarded"),
    ],
)
def test_a_header_of_a_proxy_makes_a_request_foreign(name: str) -> None:
    """Whatever its value; the reason names it."""
    for value in ("127.0.0.1", ""):
        reason = reason_to_reject(request_with({name: value}))
        assert reason is not None
        assert name.lower() in reason.lower()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "evil://127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1:8080/"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:8080,http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": ""},
    ],
)
def test_pages_of_other_origins_are_foreign(headers: dict[str, str]) -> None:
    """By their origin, or by what the browser tells of the request."""
    assert "other origins" in str(reason_to_reject(request_with(headers)))


def test_other_machines_other_names_and_old_http_are_foreign() -> None:
    """nginx speaks HTTP/1.0 to Hermes and sends a loopback Host unless it is told otherwise."""
    assert "this machine" in str(reason_to_reject(request_with({}, address="192.0.2.1")))
    assert "loopback" in str(reason_to_reject(request_with({"Host": "127.0.0.1.nip.io:8080"})))
    assert "HTTP/1.0" in str(reason_to_reject(request_with({}, version="HTTP/1.0")))


def test_a_long_header_costs_nothing() -> None:
    """It is not the name of a header that a proxy adds."""
    assert reason_to_reject(request_with({"X-" + "A-" * 30_000: "1"})) is None
