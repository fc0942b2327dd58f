"""Positions: their text form, and what is not one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.inbox.position import BEGINNING, SEQ_MAX, Position, parse_position


@pytest.mark.parametrize("position", [BEGINNING, Position("a", 0), Position("A-z_9", 17), Position("e" * 32, SEQ_MAX)])
def test_the_text_of_a_position_is_parsed_to_the_same_position(position: Position) -> None:
    """What Hermes hands out comes back."""
    assert parse_position(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "1",
            "00",
            "a",
            "a:",
            ":1",
            "a:-1",
            "a:+1",
            "a:01",
            "a:1 ",
            " a:1",
            "a:1:2",
            "ä:1",
            "a:١",
            "e" * 33 + ":1",
        ],
        *[f"a:{SEQ_MAX + 1}", "a:1e3", "a:1.0", "a\n:1", "a:1\n", "a:" + "9" * 60_000],
    ],
)
def test_any_other_text_is_not_a_position(text: str) -> None:
    """It is told apart, not guessed."""
    assert parse_position(text) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    """Every text is a position or none."""
    found = parse_position(text)
    assert found is None or str(found) == text
