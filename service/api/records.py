"""Items between the API, where attributes stand apart, and the store, where a record is one flat mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.schema import Field, FieldKind
from service.api.schemas import ItemIn, ItemPatch
from service.errors import CallerError

RESERVED = ("title", "available", "created_at")


def from_body(item: ItemIn, fields: Sequence[Field], path: str = "") -> dict[str, Any]:
    """The record of a whole item.

    Raises:
        CallerError: an attribute has a reserved name, or does not fit the schema.
    """
    check_attributes(item.attributes, fields, path)
    return _without_nulls(
        {
            **item.attributes,
            "title": item.title,
            "available": item.available,
            "created_at": item.created_at,
        }
    )


def merge(record: Mapping[str, Any], patch: ItemPatch, fields: Sequence[Field]) -> dict[str, Any]:
    """The record with the patch's fields replaced; what the patch says is null is gone.

    Raises:
        CallerError: as `from_body`.
    """
    check_attributes(patch.attributes, fields)
    own = patch.model_dump(exclude_unset=True, exclude={"attributes"})
    return _without_nulls({**record, **patch.attributes, **own})


def to_body(item_id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `service.api.schemas.ItemRecordOut`."""
    return {
        "item_id": item_id,
        "title": record.get("title"),
        "attributes": {name: value for name, value in record.items() if name not in RESERVED},
        "available": record.get("available", True),
        "created_at": record.get("created_at"),
    }


def check_attributes(attributes: Mapping[str, Any], fields: Sequence[Field], path: str = "") -> None:
    """Compare attributes with the schema; those that it does not know may hold anything.

    Raises:
        CallerError: names the attribute.
    """
    known = {field.name: field for field in fields}
    for name, value in attributes.items():
        where = f"{path}attributes.{name}"
        if name in RESERVED:
            raise CallerError(where, "is a field of its own and not an attribute")
        if name in known and value is not None and not _FITS[known[name].kind](value):
            raise CallerError(where, f"does not fit the {known[name].kind} {name!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_label(value: Any) -> bool:
    return isinstance(value, str | int | float)


_FITS: Mapping[FieldKind, Callable[[Any], bool]] = {
    FieldKind.NUMBER: _is_number,
    FieldKind.CATEGORY: _is_label,
    FieldKind.TEXT: lambda value: isinstance(value, str),
    FieldKind.SET: lambda value: all(map(_is_label, value if isinstance(value, list) else [value])),
}


def _without_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}
