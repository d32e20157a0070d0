"""Items between the API, where attributes stand apart, and the store, where a record is one flat mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from models.schema import Field, FieldKind
from service.api.errors import path_of
from service.api.item_schemas import ItemIn, ItemPatch, ItemWithId
from service.cascade.query import ItemId
from service.errors import CallerError
from service.offers import ADVERTISER, BID, CURRENCY, OFFER
from service.schedule import FROM, UNTIL

RESERVED = ("title", "available", FROM, UNTIL, "created_at", *OFFER)


def from_body(item: ItemIn, fields: Sequence[Field], path: str = "") -> dict[str, Any]:
    """The record of a whole item.

    Raises:
        CallerError: an attribute has a reserved name or does not fit the schema, the item ends before it
            begins, or a bid lacks its currency or advertiser.
    """
    check_attributes(item.attributes, fields, path)
    own = item.model_dump(exclude={"attributes", "item_id"})
    return _checked(_without_nulls({**item.attributes, **own}), path)


def read_batch(
    items: Sequence[Any], fields: Sequence[Field]
) -> tuple[dict[int, tuple[ItemId, dict[str, Any]]], list[dict[str, Any]]]:
    """Ids and records by place in the batch, and what is wrong with the others: `RefusedItemOut` bodies."""
    good: dict[int, tuple[ItemId, dict[str, Any]]] = {}
    refused = []
    for index, raw in enumerate(items):
        try:
            item = ItemWithId.model_validate(raw)
            good[index] = ItemId(item.item_id), from_body(item, fields, f"items[{index}].")
        except ValidationError as error:
            found = [(path_of(("items", index, *one["loc"])), one["msg"]) for one in error.errors()]
            refused.append(refusal(index, _id_of(raw), found))
        except CallerError as error:
            refused.append(refusal(index, _id_of(raw), [(error.path, error.message)]))
    return good, refused


def refusal(index: int, item_id: str | None, errors: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The body of `service.api.item_schemas.RefusedItemOut`."""
    listed = [{"path": path, "message": message} for path, message in errors]
    return {"index": index, "item_id": item_id, "errors": listed}


def merge(record: Mapping[str, Any], patch: ItemPatch, fields: Sequence[Field]) -> dict[str, Any]:
    """The record with the patch's fields replaced; what the patch says is null is gone.

    Raises:
        CallerError: as `from_body`.
    """
    check_attributes(patch.attributes, fields)
    own = patch.model_dump(exclude_unset=True, exclude={"attributes"})
    return _checked(_without_nulls({**record, **patch.attributes, **own}))


def to_body(item_id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `service.api.item_schemas.ItemRecordOut`."""
    return {
        "item_id": item_id,
        "title": record.get("title"),
        "attributes": {name: value for name, value in record.items() if name not in RESERVED},
        "available": record.get("available", True),
        FROM: record.get(FROM),
        UNTIL: record.get(UNTIL),
        "created_at": record.get("created_at"),
        **{name: record.get(name) for name in OFFER},
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


def _checked(record: dict[str, Any], path: str = "") -> dict[str, Any]:
    if FROM in record and UNTIL in record and record[FROM] >= record[UNTIL]:
        raise CallerError(f"{path}{UNTIL}", f"must be later than {FROM}")
    if BID in record:
        for name in (CURRENCY, ADVERTISER):
            if name not in record:
                raise CallerError(f"{path}{name}", f"is missing: a {BID} needs {CURRENCY} and {ADVERTISER}")
    return record


def _id_of(raw: Any) -> str | None:
    item_id = raw.get("item_id") if isinstance(raw, Mapping) else None
    return item_id if isinstance(item_id, str) else None


def _without_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}
