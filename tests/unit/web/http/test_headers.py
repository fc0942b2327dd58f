"""`RequestHeaders` behaves as Tornado's `HTTPHeaders`."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from hermes.web.http.headers import RequestHeaders

NAMES = st.sampled_from(
    ["A", "a", "B", "Content-Type", "content-type", "CONTENT-TYPE", "x--y", "-", "X-1a", "!#$%&'*+.^_`|~"]
)
VALUES = st.sampled_from(["", "b", "b,c", "b, c", "\xe9", "b c", "1"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "set", "delete", "pop", "setdefault", "copy"]), NAMES, VALUES), max_size=20
)


def apply(headers: HTTPHeaders, step: str, name: str, value: str) -> tuple[HTTPHeaders, Any]:
    """Do one thing; return the headers to go on with, and the outcome."""
    try:
        match step:
            case "add":
                headers.add(name, value)
            case "set":
                headers[name] = value
            case "delete":
                del headers[name]
            case "pop":
                return headers, headers.pop(name, "none")
            case "setdefault":
                return headers, headers.setdefault(name, value)
            case "copy":
                return headers.copy(), None
    except KeyError:
        return headers, KeyError
    return headers, None


def seen(headers: HTTPHeaders, name: str) -> tuple[Any, ...]:
    """Return what can be read of the headers."""
    try:
        item: object = headers[name]
    except KeyError:
        item = KeyError
    return (
        item,
        headers.get(name),
        headers.get(name, "default"),
        list(headers.get_list(name)),
        name in headers,
        list(headers),
        list(headers.keys()),
        list(headers.values()),
        list(headers.items()),
        list(headers.get_all()),
        len(headers),
        bool(headers),
        dict(headers),
        str(headers),
    )


@given(STEPS)
def test_it_behaves_as_the_class_of_tornado(steps: list[tuple[str, str, str]]) -> None:
    """After any changes."""
    ours: HTTPHeaders = RequestHeaders()
    theirs = HTTPHeaders()
    for step, name, value in steps:
        ours, our_answer = apply(ours, step, name, value)
        theirs, their_answer = apply(theirs, step, name, value)
        assert our_answer == their_answer
        assert seen(ours, name) == seen(theirs, name)
        assert ours == theirs


@given(st.lists(st.tuples(NAMES, VALUES, st.sampled_from(["", " ", "\t "]))))
def test_what_the_parser_found_is_what_tornado_would_read(pairs: list[tuple[str, str, str]]) -> None:
    """Without white space around values; a header that came twice has both."""
    ours = RequestHeaders([(name.encode(), f"{space}{value}{space}".encode("latin-1")) for name, value, space in pairs])
    theirs = HTTPHeaders()
    for name, value, _ in pairs:
        theirs.add(name, value)
    for name, _, _ in [*pairs, ("Absent", "", "")]:
        assert seen(ours, name) == seen(theirs, name)


@pytest.mark.parametrize("copied", [HTTPHeaders.copy, copy.copy])
def test_a_copy_is_independent(copied: Any) -> None:
    """Also of a header that came twice."""
    first = RequestHeaders([(b"A", b"1"), (b"A", b"2")])
    second = RequestHeaders.copy(first) if copied is HTTPHeaders.copy else copied(first)
    second.add("A", "3")
    second["B"] = "4"
    assert first.get_list("A") == ["1", "2"]
    assert second.get_list("a") == ["1", "2", "3"]
    assert "B" not in first


def test_a_name_of_another_type_is_not_there() -> None:
    """As in a dict."""
    name: object = 1
    assert name not in RequestHeaders([(b"1", b"")])
