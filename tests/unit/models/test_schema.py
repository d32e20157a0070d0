from __future__ import annotations

import json
from dataclasses import replace

import pytest

from models.schema import Field, FieldKind, Schema

SCHEMA = Schema(
    item_fields=(
        Field("title", FieldKind.TEXT, width=6, hash_size=50),
        Field("genres", FieldKind.SET, vocabulary=("a", "b", "c"), width=2),
        Field("year", FieldKind.NUMBER, edges=(1990.0, 2000.0)),
    ),
    user_fields=(Field("town", FieldKind.CATEGORY, vocabulary=("x", "y")),),
    event_kinds=("view", "buy"),
)


def test_the_hash_never_changes():
    """Golden value: another hash would refuse every bundle that is out there."""
    assert SCHEMA.hash == "1ae97037f009336118374eec9c33e7b2e4ba241924785fdb9502535f02c0d1c2"


def test_json_and_back_is_the_same_schema():
    again = Schema.from_json(json.loads(json.dumps(SCHEMA.to_json())))
    assert again == SCHEMA
    assert again.hash == SCHEMA.hash


@pytest.mark.parametrize(
    "other",
    [
        replace(SCHEMA, history_length=51),
        replace(SCHEMA, session_gap_ms=1),
        replace(SCHEMA, event_kinds=("buy", "view")),
        replace(SCHEMA, placements=("default", "home")),
        replace(SCHEMA, item_fields=SCHEMA.item_fields[::-1]),
        replace(SCHEMA, user_fields=()),
        replace(SCHEMA, item_fields=(replace(SCHEMA.item_fields[0], hash_size=51), *SCHEMA.item_fields[1:])),
    ],
)
def test_whatever_models_read_is_in_the_hash(other):
    assert other.hash != SCHEMA.hash


@pytest.mark.parametrize("change", [{"event_kinds": None}, {"item_fields": [{"name": "x"}]}])
def test_what_is_no_schema_is_refused(change):
    with pytest.raises((KeyError, TypeError)):
        Schema.from_json({**SCHEMA.to_json(), **change})


def test_sizes_count_the_unknown_token():
    assert [field.size for field in SCHEMA.item_fields] == [51, 4, 4]
    assert SCHEMA.user_fields[0].token_of == {"x": 1, "y": 2}


def test_a_field_is_found_by_its_name():
    assert SCHEMA.item_field("year") is SCHEMA.item_fields[2]
    assert SCHEMA.item_field("town") is None
