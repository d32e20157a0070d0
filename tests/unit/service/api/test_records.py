from __future__ import annotations

import pytest

from service.api.item_schemas import ItemIn, ItemPatch
from service.api.records import check_attributes, from_body, merge, to_body
from service.errors import CallerError
from tests.support.tiny_world import SCHEMA

FIELDS = SCHEMA.item_fields


def test_an_item_survives_the_way_there_and_back() -> None:
    item = ItemIn(title="A", attributes={"genres": ["drama"], "year": 1990}, available=False, created_at=5)
    assert to_body("a", from_body(item, FIELDS)) == {"item_id": "a", **item.model_dump()}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("year", "1990"),
        ("year", True),
        ("year", [1990]),
        ("genres", [None]),
        ("genres", True and {"a": 1}),
        ("studio", ["north"]),
        ("title", "x"),
        ("available", True),
        ("created_at", 5),
    ],
)
def test_an_attribute_that_does_not_fit_is_named(name: str, value: object) -> None:
    with pytest.raises(CallerError) as refusal:
        check_attributes({name: value}, FIELDS, "items[2].")
    assert refusal.value.path == f"items[2].attributes.{name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("year", 1990),
        ("year", 1990.5),
        ("year", None),
        ("genres", "drama"),
        ("genres", []),
        ("other", [1, "x"]),
    ],
)
def test_an_attribute_that_fits_or_is_not_in_the_schema_passes(name: str, value: object) -> None:
    check_attributes({name: value}, FIELDS)


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    record = {"title": "A", "year": 1990, "studio": "north", "available": True, "created_at": 5}
    patch = ItemPatch(attributes={"year": 1991, "studio": None}, available=False)
    assert merge(record, patch, FIELDS) == {"title": "A", "year": 1991, "available": False, "created_at": 5}
    assert merge(record, ItemPatch(title=None), FIELDS) == {k: v for k, v in record.items() if k != "title"}
