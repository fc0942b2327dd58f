"""The URL of a NATS server."""

import pytest

from hermes.settings.urls.nats import NatsUrl, parse_nats_url, secrets_of


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("nats://h", NatsUrl("h"), "nats://h:4222"),
        ("tls://h:4443/", NatsUrl("h", 4443, tls=True), "tls://h:4443"),
        ("nats://[::1]", NatsUrl("::1"), "nats://[::1]:4222"),
        ("nats://ana:p%2Fw@h", NatsUrl("h", username="ana", password="p/w"), "nats://ana@h:4222"),
        ("nats://s3cret@h", NatsUrl("h", token="s3cret"), "nats://h:4222"),
    ],
)
def test_a_url_is_parsed(text: str, url: NatsUrl, shown: str) -> None:
    """Neither str nor repr contains password or token."""
    assert parse_nats_url(text) == url
    assert str(url) == shown
    assert "p/w" not in repr(url)
    assert "s3cret" not in repr(url)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with"),
        ("h:4222", "does not begin with"),
        ("http://h", "does not begin with"),
        ("nats:h", "does not begin with"),
        ("nats://", "no host"),
        ("nats://a b", "no host"),
        ("nats://h:0", "port is 0"),
        ("nats://h:x", "cannot be read"),
        ("nats://h/path", "after host and port"),
        ("nats://h?a=b", "after host and port"),
        ("nats://:p4ss@h", "empty user"),
        ("nats://" + "a" * 64, "over 63 characters"),
    ],
)
def test_a_wrong_url_is_explained(text: str, words: str) -> None:
    """The text says what to write, and repeats no password."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_nats_url(text)
    assert "p4ss" not in str(caught.value)


def test_the_secrets_of_urls() -> None:
    """Passwords and tokens, as they are written and decoded, for the log to mask."""
    assert secrets_of(["nats://ana:p%2Fw@h", "nats://t0ken@h", "nats://h"]) == ["p%2Fw", "p/w", "t0ken", "t0ken"]
