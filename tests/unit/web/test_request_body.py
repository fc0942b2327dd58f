"""Request bodies: bounded, and parsed in one place."""

import pytest

from hermes.errors import RequestError
from hermes.web.request_body import BoundedBody, parse_json


def test_a_body_up_to_the_limit_is_complete() -> None:
    """In the order of its chunks."""
    body = BoundedBody(4)
    for chunk in (b"ab", b"", b"cd"):
        body.add(chunk)
    assert (body.content(), body.too_large) == (b"abcd", False)


def test_a_longer_body_is_discarded() -> None:
    """Also the chunks that follow, so that its memory is bounded."""
    body = BoundedBody(4)
    for chunk in (b"abc", b"de", b"f"):
        body.add(chunk)
    assert (body.content(), body.too_large) == (b"", True)


def test_the_body_of_a_rejected_request_is_discarded() -> None:
    """The chunks before and after."""
    body = BoundedBody(4)
    body.add(b"a")
    body.discard()
    body.add(b"b")
    assert body.content() == b""


def test_a_body_is_parsed() -> None:
    """Any JSON value."""
    assert parse_json(b' {"a":[1,null]}') == {"a": [1, None]}
    assert parse_json(b"1") == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is not JSON: "),
        (b"{", "the body is not JSON: "),
        (b"\xff", "the body is not JSON: "),
        (b"[" * 2_000 + b"]" * 2_000, "the body is nested too deeply: at most 1,024 levels"),
        (b"[" * 60_000, "the body is "),
    ],
)
def test_a_body_that_is_not_json_is_rejected_with_the_reason(body: bytes, reason: str) -> None:
    """400 ``invalid_json``."""
    with pytest.raises(RequestError, match=reason) as error:
        parse_json(body)
    assert (error.value.status, error.value.code) == (400, "invalid_json")
