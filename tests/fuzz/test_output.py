"""What strangers write into the log and to ``hermes listen``: no token, no control character, one line."""

import base64
import json
import logging
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from hermes.cli.listen import one_line
from hermes.log import MaskingFormatter
from tests.support.growth import LINEAR_MAX, growth

SECRET = "a secret of the settings"
CONTROLS = {"Cc", "Cf", "Zl", "Zp"}


def encoded(text: str) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


SPACES = st.text(" \t\r\n", max_size=4)
HEADERS = st.builds(
    lambda before, after, members: before + "{" + after + ",".join(members) + "}",
    SPACES,
    SPACES,
    st.permutations(['"alg":"HS256"', '"typ":"JWT"', '"kid":"a"', '"\\u0061":1']),
)
CLAIMS = st.text(st.characters(max_codepoint=0x7F), min_size=8, max_size=30).map(
    lambda text: json.dumps({"user_id": text})
)
SIGNATURES = st.binary(min_size=32, max_size=32).map(lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode())
AROUND = st.text(max_size=12) | st.text("eyJI0-_.aA/=&?%:@\"' ", max_size=25)


def logged(message: str) -> str:
    """Return the line that the log writes for a message."""
    return MaskingFormatter([SECRET]).format(
        logging.LogRecord("hermes", logging.INFO, __file__, 1, message, None, None)
    )


@given(AROUND, HEADERS, CLAIMS, SIGNATURES, AROUND)
def test_a_token_anywhere_in_a_line_is_masked(
    before: str, header: str, claims: str, signature: str, after: str
) -> None:
    """Neither its claims nor its signature remain, however its header is written and whatever is around it."""
    shown = logged(f"{before}{encoded(header)}.{encoded(claims)}.{signature}{after}")
    assert encoded(claims) not in shown
    assert signature not in shown


@given(AROUND, AROUND)
def test_a_secret_of_the_settings_anywhere_in_a_line_is_masked(before: str, after: str) -> None:
    """And the line is one line without control characters."""
    shown = logged(f"{before}{SECRET}{after}")
    assert SECRET not in shown
    assert_one_line(shown)


def assert_one_line(text: str) -> None:
    """Assert that no character can end the line or control a terminal."""
    assert not {unicodedata.category(character) for character in text} & CONTROLS


@given(st.text("eyJI0-_.aA/=&?%:@\"' \t\u202e", min_size=1, max_size=6) | st.text(min_size=1, max_size=4))
def test_any_line_is_masked_in_linear_time(unit: str) -> None:
    """Whatever is repeated in it."""
    assert growth(lambda size: logged(unit * size), 2_048) < LINEAR_MAX


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(VALUES, st.sampled_from([None, "\n", "\t", " \r\n"]), st.booleans())
def test_every_frame_is_printed_as_one_line_of_the_same_value(
    value: object, indent: str | None, as_ascii: bool
) -> None:
    """Whatever its strings contain and however its tokens are separated."""
    frame = json.dumps(value, indent=indent, ensure_ascii=as_ascii).encode("utf-8", "replace").decode()
    line = one_line(frame)
    assert json.loads(line) == json.loads(frame)
    assert_one_line(line)
