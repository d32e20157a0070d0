"""What the fields of a body may hold, whatever the body is about."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from service.offers import CURRENCY_CODE

NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
LAST_MS = 253_402_300_799_999
"""The end of the year 9999 in milliseconds."""
_DEPTH = 32
_TEXT = 10_000


def _shallow(value: Any) -> Any:
    """Refuse JSON that is nested so deeply that code which recurses over it could fail."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEPTH:
            raise PydanticCustomError("too_deep", "Nested too deeply")
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return value


def _attribute(value: Any) -> Any:
    """An attribute is a string, a number, a boolean, null, or a list of strings or numbers."""
    many = value if isinstance(value, list) else [value]
    if len(many) > 1000:
        raise PydanticCustomError("too_long", "List should have at most 1000 items")
    if any(isinstance(one, dict | list) for one in many):
        raise PydanticCustomError("attribute", "An attribute is a scalar or a list of scalars")
    if any(isinstance(one, str) and len(one) > _TEXT for one in many):
        raise PydanticCustomError("string_too_long", f"String should have at most {_TEXT} characters")
    return value


Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=NO_CONTROL)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NO_CONTROL)]
Moment = Annotated[int, Field(ge=0, le=LAST_MS, description="Milliseconds since 1970, UTC.")]
Json = Annotated[dict[str, Any], AfterValidator(_shallow)]
Attributes = Annotated[dict[Name, Annotated[Any, AfterValidator(_attribute)]], Field(max_length=256)]
Count = Annotated[int, Field(ge=1, le=200)]
Currency = Annotated[str, StringConstraints(pattern=CURRENCY_CODE)]


class Body(BaseModel):
    """Unknown fields, loose types, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
