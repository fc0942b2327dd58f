"""Configured origins: normalised as browsers write them, or refused; and which pages they allow."""

import re

import pytest

from hermes.auth.origins import AllowedOrigins, configured_origin, parse_authority, parse_origin


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        (" https://app.example.com ", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://app.example.com:0443", "https://app.example.com"),
        ("https://app.example.com:", "https://app.example.com"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("https://app.example.com.", "https://app.example.com."),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example:443", "https://xn--bcher-kva.example"),
        ("https://*.bücher.example", "https://*.xn--bcher-kva.example"),
        ("https://日本語。example", "https://xn--wgv71a119e.example"),
        ("http://my_host", "http://my_host"),
        ("http://192.168.1.5:8080", "http://192.168.1.5:8080"),
        ("http://192.168.1.5.", "http://192.168.1.5"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[2001:DB8:0:0:0:0:0:1]:8080", "http://[2001:db8::1]:8080"),
        ("http://[::ffff:192.168.1.5]", "http://[::ffff:c0a8:105]"),
        ("https://*.example.org", "https://*.example.org"),
        ("https://*.Example.org:443", "https://*.example.org"),
        ("https://*.example.org:8443", "https://*.example.org:8443"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("ionic://localhost", "ionic://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("safari-web-extension://E5A1-0F", "safari-web-extension://e5a1-0f"),
        ("capacitor://localhost:80", "capacitor://localhost:80"),  # no default port is known
        ("*", "*"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(value: str, origin: str) -> None:
    """Lower case, no default port, names in punycode, addresses in their shortest form."""
    assert configured_origin(value) == origin
    assert configured_origin(origin) == origin


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("app.example.com", "write scheme and host, as in https://app.example.com"),
        ("*.example.com", "write scheme and host"),
        ("//app.example.com", "write scheme and host"),
        ("https:app.example.com", "write scheme and host"),
        ("1http://app.example.com", "write scheme and host"),
        ("", "write scheme and host"),
        ("null", "sandboxed frame"),
        ("NULL", "sandboxed frame"),
        ("file://", "have no origin of their own"),
        ("file:///srv/app.html", "have no origin of their own"),
        ("data://x", "have no origin of their own"),
        ("wss://app.example.com", "no page has the scheme wss; write https://app.example.com"),
        ("ws://app.example.com:8080", "write http://app.example.com:8080"),
        ("https://app.example.com/", "it has a path; write https://app.example.com"),
        ("https://app.example.com/page", "it has a path; write https://app.example.com"),
        ("https://app.example.com?x", "it has a path; write https://app.example.com"),
        ("https://app.example.com#x", "it has a path; write https://app.example.com"),
        ("https://app.example.com\\x", "it has a path"),
        ("https://ana@app.example.com", "it has a user; write https://app.example.com"),
        ("https://", "it has no host"),
        ("https://:443", "it has no host"),
        ("https://*.", "it has no host"),
        ("https://*", "* stands only for the first labels"),
        ("https://app.*.example.com", "* stands only for the first labels"),
        ("https://*app.example.com", "* stands only for the first labels"),
        ("https://*.*.example.com", "* stands only for the first labels"),
        ("https://app.example.com:*", "the port is not a number"),
        ("https://app.example.com:x", "the port is not a number"),
        ("https://app.example.com:٤٤٣", "the port is not a number"),
        ("https://app.example.com:1:2", "the port is not a number"),
        ("https://[::1]8080", "stands in brackets"),
        ("https://[::1]x:80", "stands in brackets"),
        ("https://app.example.com:0", "from 1 to 65535"),
        ("https://app.example.com:65536", "from 1 to 65535"),
        ("https://app.example.com:" + "9" * 5_000, "from 1 to 65535"),
        ("https://*.192.168.1.5", "which an address does not have"),
        ("https://*.[::1]", "which an address does not have"),
        ("http://127.1", "as browsers write it"),
        ("http://2130706433", "as browsers write it"),
        ("http://0x7f.0.0.1", "as browsers write it"),
        ("http://192.168.001.005", "as browsers write it"),
        ("http://1.2.3.4.5", "as browsers write it"),
        ("http://app.0x10", "as browsers write it"),
        ("http://[::1", "stands in brackets"),
        ("http://[fe80::1%25eth0]", "not an IPv6 address"),
        ("http://::1", "the port is not a number"),
        ("https://app..example.com", "not the name of a host"),
        ("https://app example.com", "not the name of a host"),
        ("https://app%2eexample.com", "not the name of a host"),
        ("https://" + "a" * 64 + ".example", "not the name of a host"),
        ("https://" + "a." * 130 + "example", "not the name of a host"),
        ("https://straße.example", "write the name in punycode"),  # IDNA 2003 and browsers differ
        ("https://βόλος.example", "write the name in punycode"),
        ("https://a\u200db.example", "write the name in punycode"),
        ("https://" + "ü" * 64 + ".example", "write the name in punycode"),
    ],
)
def test_an_origin_that_no_page_can_have_is_refused(value: str, words: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match=re.escape(words)):
        configured_origin(value)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("HTTPS://APP.EXAMPLE.COM:443", True),
        ("http://app.example.com", False),
        ("https://app.example.com:8443", False),
        ("https://app.example.com.evil.example", False),
        ("https://one.example.org", True),
        ("https://two.one.example.org", True),
        ("https://example.org", False),
        ("https://.example.org", False),
        ("https://evilexample.org", False),
        ("https://one.example.org.evil.example", False),
        ("https://one.example.org:8443", False),
        ("http://one.example.org", False),
        ("https://one.example.net:8443", True),
        ("https://one.example.net", False),
        ("capacitor://localhost", True),
        ("capacitor://localhost:80", False),
        ("ionic://localhost", False),
        ("http://localhost", False),
        ("http://[2001:db8::1]", True),
        ("null", False),
        ("", False),
        ("https://*.example.org", False),
    ],
)
def test_only_configured_origins_are_allowed(origin: str, allowed: bool) -> None:
    """By scheme, host and port; ``*.`` stands for one or more labels."""
    configured = (
        "https://app.example.com",
        "https://*.example.org",
        "https://*.example.net:8443",
        "capacitor://localhost",
        "http://[2001:db8::1]",
    )
    assert AllowedOrigins(map(configured_origin, configured)).allow(parse_origin(origin)) is allowed


def test_a_star_allows_everything() -> None:
    """Also text that is not an origin; without any entry nothing is allowed."""
    for text in ("https://app.example.com", "null", "file://", "rubbish", ""):
        assert AllowedOrigins("*").allow(parse_origin(text))
        assert not AllowedOrigins().allow(parse_origin(text))


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "https://app.example.com/",
        "https://ana@app.example.com",
        "https://app.example.com,https://app.example.com",
        "https://bücher.example",
        "https://app.example.com:123456",
        "https://app.example.com\t",
        "://app.example.com",
        "app.example.com",
        "https://" + "a" * 65_536,
    ],
)
def test_other_text_is_not_an_origin(text: str) -> None:
    """Browsers send scheme, host and port in ASCII, nothing else."""
    assert parse_origin(text) is None


def test_a_host_is_compared_without_the_default_port_of_the_scheme() -> None:
    """The scheme is that of the page."""
    assert parse_authority("GW:443", "https") == parse_origin("https://gw")
    assert parse_authority("gw:443", "http") != parse_origin("http://gw")
    assert parse_authority("gw", "https") == parse_origin("https://gw:443")
    assert parse_authority("[::1]:80", "http") == parse_origin("http://[::1]")
    assert parse_authority("gw/x", "http") is None
    assert parse_authority("g" * 65_536, "http") is None
