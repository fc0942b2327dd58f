"""Whether a device is online, from its status messages and its last will."""

import pytest

from hermes.ingest.payload import decode
from hermes.ingest.presence import is_presence, presence
from hermes.topics.topic_map import parse_template

PLAIN = parse_template("t/{tenant_id}/{device_id}/{series...}")
POINTED = parse_template("t/{tenant_id}/{device_id};online=/_type")
NAMED = parse_template("t/{tenant_id}/{device_id}/{series...};online=availability|$state")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"online", True),
        (b"Offline", False),
        (b"true", True),
        (b"false", False),
        (b'"ONLINE"', True),
        (b"1", True),
        (b"0", False),
        (b"ON\n", True),
        (b"ready", True),
        (b"sleeping", True),
        (b"disconnected", False),
        (b"lost", False),
        (b'{"state":"online"}', True),
        (b'{"status":"offline","reason":"x"}', False),
        (b'{"online":false}', False),
        (b'{"state":{"deep":"online"}}', None),
        (b'{"temperature":21}', None),
        (b"2", None),
        (b"1.0", None),
        (b"null", None),
        (b'["online"]', None),
        (b"perhaps", None),
        (b"\xff\xfe", None),
    ],
)
def test_the_values_of_presence(payload: bytes, expected: bool | None) -> None:
    """In upper and lower case, and in each form; other values are not presence."""
    assert presence(PLAIN, decode(payload)) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b'{"_type":"lwt","tst":1}', False), (b'{"_type":"location"}', True), (b'{"_type":"card"}', None), (b"lwt", None)],
)
def test_a_pointer_into_every_payload(payload: bytes, expected: bool | None) -> None:
    """OwnTracks needs it: its last will has the topic of its locations."""
    assert is_presence(POINTED, "")
    assert presence(POINTED, decode(payload)) is expected


@pytest.mark.parametrize(
    ("series", "expected"),
    [("online", True), ("LWT", True), ("plug/online", True), ("onlineness", False), ("temp", False), ("", False)],
)
def test_the_series_of_presence_if_the_template_names_none(series: str, expected: bool) -> None:
    """The whole series, or its last level."""
    assert is_presence(PLAIN, series) is expected


@pytest.mark.parametrize(("series", "expected"), [("availability", True), ("$state", True), ("online", False)])
def test_the_series_of_presence_that_a_template_names(series: str, expected: bool) -> None:
    """Instead of the default ones."""
    assert is_presence(NAMED, series) is expected
