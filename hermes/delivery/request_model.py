"""JSON request bodies as pydantic models, with one error per faulty field."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hermes.errors import RequestError

ID_TEXT_MAX_CHARS = 256
IdText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=ID_TEXT_MAX_CHARS)]


class RequestModel(BaseModel):
    """A frozen model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def from_json(cls, value: object, *, expected: str = "a JSON object") -> Self:
        """Return the model of a parsed JSON value.

        Raises `RequestError` 422 ``invalid``: ``expected a JSON object``, or one text per faulty field.
        """
        if not isinstance(value, dict):
            raise RequestError(422, "invalid", f"expected {expected}")
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise invalid_fields(_fields(error)) from None


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
