"""The address of the listener for devices."""

from pathlib import Path

import pytest

from hermes.settings.broker import BrokerListen, parse_listen


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("0.0.0.0:8883", ("0.0.0.0", 8883)), ("[::]:1", ("::", 1)), ("[::1]:65535", ("::1", 65_535))],
)
def test_an_address_and_a_port(text: str, parsed: tuple[str, int]) -> None:
    """An IPv6 address is written in brackets."""
    assert parse_listen(text) == parsed
    assert str(BrokerListen(*parsed, Path("/"))) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "1883", ":1883", "localhost:1883", "::1:1883", "[127.0.0.1]:1", "[fe80::1%eth0]:1", "[fe80::1%\nx]:1"),
        *("1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:", "1.2.3.4:1e3", "1.2.3.4:9999999999", "1.2.3.4:١", "1.2.3.4\n:1"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """The error names an example."""
    with pytest.raises(ValueError, match=r"write 0\.0\.0\.0:8883"):
        parse_listen(text)
