"""What trusted proxies tell: address of the client, host, scheme and prefix."""

import logging

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from hermes.quotas.addresses import client_key
from hermes.settings.fields import networks
from hermes.web.origins.trusted_proxies import TrustedProxies

TRUSTED = TrustedProxies(networks(("127.0.0.0/8", "::1/128", "10.0.0.0/24")))


def request_from(address: str, *forwarded: str) -> HTTPServerRequest:
    """Return a request of this connection, with a header ``X-Forwarded-For`` for each text."""
    headers = HTTPHeaders({"Host": "hermes"})
    for text in forwarded:
        headers.add("X-Forwarded-For", text)
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers)
    request.remote_ip = address
    return request


@pytest.mark.parametrize(
    ("connection", "forwarded", "client"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),  # what an untrusted client says does not count
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("127.0.0.1", ("203.0.113.9, 198.51.100.7",), "198.51.100.7"),  # what the client itself sent stands left
        ("127.0.0.1", ("203.0.113.9, 198.51.100.7, 10.0.0.3",), "198.51.100.7"),
        ("127.0.0.1", ("203.0.113.9", "198.51.100.7"), "198.51.100.7"),
        ("10.0.0.3", ("10.0.0.4",), "10.0.0.4"),  # a chain of proxies without a client
        ("10.0.0.3", ("198.51.100.7, nonsense",), "10.0.0.3"),
        ("10.0.0.3", ("198.51.100.7,",), "10.0.0.3"),
        ("10.0.0.3", ("unknown",), "10.0.0.3"),
        ("10.0.1.3", ("198.51.100.7",), "10.0.1.3"),  # beside the network
        ("::1", ("2001:db8::7",), "2001:db8::7"),
        ("::1", ("[2001:db8::7]",), "2001:db8::7"),
        ("::ffff:127.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("127.0.0.1", ("::ffff:198.51.100.7",), "198.51.100.7"),
        ("127.0.0.1", ("198.51.100.7:4711",), "198.51.100.7"),  # with its port, as some proxies write it
        ("127.0.0.1", ("[2001:db8::7]:4711, 10.0.0.3:80",), "2001:db8::7"),
        ("127.0.0.1", ("198.51.100.7:",), "127.0.0.1"),
        ("", ("198.51.100.7",), ""),  # a Unix socket
    ],
)
def test_only_trusted_proxies_are_believed(connection: str, forwarded: tuple[str, ...], client: str) -> None:
    """From the right, the first address that is not trusted."""
    assert TRUSTED.client(request_from(connection, *forwarded)) == client


def test_a_long_header_is_not_read_to_its_end() -> None:
    """The 32 entries at the right are enough for any chain."""
    assert TRUSTED.client(request_from("127.0.0.1", "198.51.100.7" + ", 10.0.0.3" * 5_000)) == "10.0.0.3"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_site_is_one_client(address: str, key: str) -> None:
    """Its whole /64 network."""
    assert client_key(address) == key


def test_a_trusted_proxy_is_an_address_or_a_network() -> None:
    """Nonsense is refused with what to write."""
    assert [str(network) for network in networks(("10.0.0.7", "10.1.2.3/8"))] == ["10.0.0.7/32", "10.0.0.0/8"]
    with pytest.raises(ValueError, match="write an address or a network"):
        networks(("proxy.example.org",))


def request_with(address: str, **headers: str) -> HTTPServerRequest:
    """Return a request of this connection with these headers; ``Host`` is gw:8080 unless it is given."""
    given = {"Host": "gw:8080"} | {name.replace("_", "-"): text for name, text in headers.items()}
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=HTTPHeaders(given))
    request.remote_ip = address
    return request


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({}, ("gw:8080", "Host")),
        ({"X_Forwarded_Host": "gw.example"}, ("gw.example", "X-Forwarded-Host")),
        ({"X_Forwarded_Host": "inner, gw.example:8443"}, ("gw.example:8443", "X-Forwarded-Host")),  # the nearest proxy
        ({"X_Forwarded_Host": ""}, ("gw:8080", "Host")),
        ({"X_Forwarded_Host": "a,"}, ("gw:8080", "Host")),
    ],
)
def test_the_host_is_that_of_the_nearest_trusted_proxy(headers: dict[str, str], host: tuple[str, str]) -> None:
    """From any other address it is Host."""
    assert TRUSTED.host(request_with("10.0.0.3", **headers)) == host
    assert TRUSTED.host(request_with("10.0.1.3", **headers)) == ("gw:8080", "Host")


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        ("https", "https"),
        ("HTTP", "http"),
        ("wss", "https"),
        ("ws", "http"),
        ("http, https", "https"),
        ("https, http", "http"),
        ("ftp", None),
        ("", None),
        (None, None),
    ],
)
def test_the_scheme_is_known_only_from_a_trusted_proxy(value: str | None, scheme: str | None) -> None:
    """Or from TLS of Hermes' own."""
    headers = {} if value is None else {"X_Forwarded_Proto": value}
    assert TRUSTED.scheme(request_with("10.0.0.3", **headers)) == scheme
    assert TRUSTED.scheme(request_with("10.0.1.3", **headers)) is None
    encrypted = request_with("10.0.1.3", **headers)
    encrypted.protocol = "https"
    assert TRUSTED.scheme(encrypted) == "https"


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/hermes", "/hermes"),
        ("/api/hassio_ingress/u9_Xy-0.~", "/api/hassio_ingress/u9_Xy-0.~"),
        ("/1/2/3/4/5/6/7/8", "/1/2/3/4/5/6/7/8"),
        ("/1/2/3/4/5/6/7/8/9", ""),
        ("/hermes/", ""),
        ("/", ""),
        ("", ""),
        ("hermes", ""),
        ("//evil.example", ""),
        ("/hermes//x", ""),
        ("/hermes, /other", ""),
        ("/her%6des", ""),
        ('/x"><script>', ""),
        ("/h\u00fc", ""),
        ("/" + "a" * 65_536, ""),
        ("/a" * 30_000, ""),
    ],
)
@pytest.mark.parametrize("name", ["X_Forwarded_Prefix", "X_Ingress_Path"])
def test_a_prefix_has_an_exact_form(name: str, value: str, prefix: str) -> None:
    """Anything else is ignored, and so is any prefix of another address."""
    assert TRUSTED.prefix(request_with("10.0.0.3", **{name: value})) == prefix
    assert TRUSTED.prefix(request_with("10.0.1.3", **{name: value})) == ""
    assert TRUSTED.is_ingress(request_with("10.0.0.3", **{name: value})) is (name == "X_Ingress_Path" and prefix != "")


@pytest.mark.parametrize(
    "name", ["X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "X_Forwarded_Prefix", "X_Ingress_Path"]
)
def test_an_untrusted_address_that_sends_them_gets_one_log_line(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not one for each request; the line names the flag."""
    caplog.set_level(logging.INFO)
    proxies = TrustedProxies(networks(("10.0.0.0/24",)))
    for address in ("10.0.0.3", "10.0.1.3", "10.0.1.3", "10.0.1.4", "10.0.1.3"):
        proxies.note(request_with(address, **{name: "x"}))
        proxies.note(request_with(address))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[2] for line in lines] == ["10.0.1.3:", "10.0.1.4:"]
    assert all(name.replace("_", "-") in line and "--trusted-proxy 10.0.1." in line for line in lines)


def test_other_networks_can_be_trusted_at_run_time() -> None:
    """What was looked up before is forgotten."""
    proxies = TrustedProxies(networks(("10.0.0.0/24",)))
    request = request_from("10.0.1.3", "198.51.100.7")
    assert proxies.client(request) == "10.0.1.3"
    proxies.replace(networks(("10.0.1.0/24",)))
    assert proxies.client(request) == "198.51.100.7"
