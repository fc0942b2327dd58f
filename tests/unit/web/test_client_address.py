"""The client's address: of the connection, or behind trusted proxies."""

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from hermes.quotas.addresses import client_key
from hermes.settings.fields import networks
from hermes.web.client_address import TrustedProxies

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
        ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),  # nobody believes a stranger
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
