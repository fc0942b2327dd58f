"""JSON request bodies as pydantic models, with one error per faulty field."""

from collections.abc import Container
from itertools import islice
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hermes.errors import RequestError

ID_TEXT_MAX_CHARS = 256
UNKNOWN_KEYS_MAX = 20  # that an error names
IdText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=ID_TEXT_MAX_CHARS)]


class RequestModel(BaseModel):
    """A frozen model that rejects unknown keys.

    An optional key with ``null`` is absent: many serialisers write it so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def from_json(cls, value: object, *, expected: str = "a JSON object") -> Self:
        """Return the model of a parsed JSON value.

        Raises `RequestError` 422 ``invalid``: ``expected a JSON object``, or one text per faulty field.
        """
        if not isinstance(value, dict):
            raise RequestError(422, "invalid", f"expected {expected}")
        if None in value.values():
            value = {name: field for name, field in value.items() if field is not None or cls._is_required(name)}
        if len(value) > UNKNOWN_KEYS_MAX:
            value = _with_few_unknown_keys(value, cls.model_fields)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise invalid_fields(_fields(error)) from None

    @classmethod
    def _is_required(cls, name: str) -> bool:
        """Return whether ``null`` is not allowed.

        It is not allowed for an unknown key either, which is rejected by name.
        """
        field = cls.model_fields.get(name)
        return field is None or field.is_required()


def _with_few_unknown_keys(value: dict[str, object], known: Container[str]) -> dict[str, object]:
    """Return an object with the first of its unknown keys: each one costs an error."""
    unknown = set(islice((name for name in value if name not in known), UNKNOWN_KEYS_MAX))
    return {name: field for name, field in value.items() if name in known or name in unknown}


def invalid_fields(fields: dict[str, str]) -> RequestError:
    """Return the error for these fields: 422 ``invalid``; name → what is wrong."""
    return RequestError(422, "invalid", f"invalid fields: {', '.join(fields)}", fields)


def _fields(error: ValidationError) -> dict[str, str]:
    fields: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(problem["loc"][0])
        text = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
        fields[name] = f"{fields[name]}; or {text}" if name in fields else text
    return fields
