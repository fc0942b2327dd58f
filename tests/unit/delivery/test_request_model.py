"""Request bodies: validated once, with a text for each faulty field."""

import pytest
from pydantic import StrictInt

from hermes.delivery.request_model import ID_TEXT_MAX_CHARS, IdText, RequestModel, invalid_fields
from hermes.errors import RequestError


class Order(RequestModel):
    """A body with an id and a number."""

    user_id: IdText | StrictInt
    seconds: float = 1.0


def rejected(value: object) -> RequestError:
    """Return the error for this value."""
    with pytest.raises(RequestError) as error:
        Order.from_json(value)
    assert (error.value.status, error.value.code) == (422, "invalid")
    return error.value


@pytest.mark.parametrize("user_id", ["7", 7, "x" * ID_TEXT_MAX_CHARS])
def test_an_id_is_text_or_an_integer(user_id: object) -> None:
    """It stays what it was."""
    assert Order.from_json({"user_id": user_id}).user_id == user_id


@pytest.mark.parametrize("user_id", ["", "x" * (ID_TEXT_MAX_CHARS + 1), True, 1.5, None, [], {}])
def test_anything_else_is_not_an_id(user_id: object) -> None:
    """The error names the field, with a text for each type that it could be."""
    error = rejected({"user_id": user_id})
    assert error.message == "invalid fields: user_id"
    assert "; or " in error.fields["user_id"]


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_a_body_is_an_object(value: object) -> None:
    """The error has no fields."""
    error = rejected(value)
    assert (error.message, error.fields) == ("expected a JSON object", {})


def test_every_faulty_field_is_named() -> None:
    """Also those that are missing or unknown."""
    error = rejected({"seconds": "soon", "colour": "red"})
    assert error.message == "invalid fields: user_id, seconds, colour"
    assert error.fields["colour"] == "unknown key"


def test_an_optional_key_with_null_is_absent() -> None:
    """Every one; a required key must not be null, and an unknown one is still named."""
    assert Order.from_json({"user_id": "1", "seconds": None}) == Order.from_json({"user_id": "1"})
    with pytest.raises(RequestError) as caught:
        Order.from_json({"user_id": None, "unknown": None})
    assert set(caught.value.fields) == {"user_id", "unknown"}


def test_other_checks_have_the_same_form() -> None:
    """A text for each field."""
    error = invalid_fields({"a": "too long", "b": "missing"})
    assert (error.status, error.message, set(error.fields)) == (422, "invalid fields: a, b", {"a", "b"})
