from __future__ import annotations

from typing import Any

import pytest

from models.schema import Field, FieldKind
from service.attributes import Attributes
from service.errors import CallerError
from service.rules import CREATED_AT, MAX_DEPTH, MAX_LEAVES, Rules

FIELDS = (
    Field("genres", FieldKind.SET),
    Field("studio", FieldKind.CATEGORY),
    Field("year", FieldKind.NUMBER),
    Field("title", FieldKind.TEXT),
)
RECORDS: list[dict[str, Any]] = [
    {"genres": ["Drama"], "studio": "A", "year": 1990, "title": "Zero", "created_at": 10},
    {"genres": ["Drama", "Comedy"], "studio": "B", "year": 2000, "title": "One"},
    {"genres": [], "year": 2010, "title": "Two", "created_at": 30},
    {"genres": "Horror", "studio": "A", "year": "not a number", "title": "Three"},
    {},
]


def rules(records: list[dict[str, Any]] = RECORDS) -> Rules:
    table = Attributes((*FIELDS, CREATED_AT), records)
    return Rules(FIELDS, lambda matcher: matcher(table))


def leaf(field: str, op: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


DRAMA = leaf("genres", "has", "Drama")
LATE = leaf("year", ">=", 2000)


@pytest.mark.parametrize(
    ("tree", "rows"),
    [
        (DRAMA, [0, 1]),
        (leaf("genres", "has", "Unheard of"), []),
        (leaf("genres", "has_any", ["Comedy", "Horror"]), [1, 3]),
        (leaf("genres", "exists", True), [0, 1, 3]),
        ({"field": "genres", "op": "exists"}, [0, 1, 3]),
        (leaf("genres", "exists", False), [2, 4]),
        (leaf("studio", "==", "A"), [0, 3]),
        (leaf("studio", "!=", "A"), [1, 2, 4]),
        (leaf("studio", "in", ["A", "B"]), [0, 1, 3]),
        (leaf("year", "==", 1990), [0]),
        (leaf("year", "!=", 1990), [1, 2, 3, 4]),
        (leaf("year", "in", [1990, 2010.0]), [0, 2]),
        (leaf("year", ">", 2000), [2]),
        (LATE, [1, 2]),
        (leaf("year", "<", 2000), [0]),
        (leaf("year", "<=", 2000), [0, 1]),
        (leaf("year", "exists", True), [0, 1, 2]),
        (leaf("created_at", ">", 10), [2]),
        ({"all": [DRAMA, LATE]}, [1]),
        ({"any": [DRAMA, LATE]}, [0, 1, 2]),
        ({"not": DRAMA}, [2, 3, 4]),
        ({"all": [{"not": {"any": [DRAMA, LATE]}}, leaf("studio", "exists", True)]}, [3]),
    ],
)
def test_a_filter_lets_through_what_it_says(tree: dict[str, Any], rows: list[int]) -> None:
    assert rules().mask(tree).nonzero()[0].tolist() == rows


def nested(depth: int) -> dict[str, Any]:
    tree = DRAMA
    for _ in range(depth - 1):
        tree = {"not": tree}
    return tree


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        (leaf("genre", "has", "Drama"), "filter.field"),
        ({"all": [DRAMA, leaf("year", ">=", "1990")]}, "filter.all[1].value"),
        ({"any": [{"not": leaf("year", "has", 1)}]}, "filter.any[0].not.op"),
        (leaf("genres", "==", "Drama"), "filter.op"),
        (leaf("title", "==", "Zero"), "filter.op"),
        (leaf("genres", "has", 5), "filter.value"),
        (leaf("genres", "has_any", "Drama"), "filter.value"),
        (leaf("genres", "has_any", ["Drama", 1]), "filter.value[1]"),
        (leaf("studio", "in", []), "filter.value"),
        (leaf("year", ">", True), "filter.value"),
        (leaf("year", ">", float("nan")), "filter.value"),
        (leaf("year", "exists", "yes"), "filter.value"),
        ({"field": "year", "op": ">"}, "filter.value"),
        ({"field": "year"}, "filter.op"),
        ({"field": ["year"], "op": ">", "value": 1}, "filter.field"),
        ({"field": "year", "op": ["<"], "value": 1}, "filter.op"),
        ({**DRAMA, "weight": 2}, "filter.weight"),
        ({"all": []}, "filter.all"),
        ({"all": DRAMA}, "filter.all"),
        ({"all": [DRAMA], "any": [DRAMA]}, "filter"),
        ({"none": [DRAMA]}, "filter"),
        ({}, "filter"),
        ({"not": "Drama"}, "filter.not"),
        (nested(MAX_DEPTH + 1), "filter"),
        ({"any": [DRAMA] * (MAX_LEAVES + 1)}, "filter"),
        (leaf("year", "==", [[[1]]]), "filter"),
        (nested(100_000), "filter"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_with_its_path(tree: dict[str, Any], path: str) -> None:
    with pytest.raises(CallerError) as refused:
        rules().mask(tree)
    assert refused.value.path == path


def test_the_largest_filters_are_taken() -> None:
    assert rules().mask(nested(MAX_DEPTH)).sum() in (2, 3)
    assert rules().mask({"any": [DRAMA] * MAX_LEAVES}).sum() == 2


def test_an_equal_filter_is_compiled_once_and_cannot_be_changed() -> None:
    one = rules()
    mask = one.mask({"all": [DRAMA, LATE]})

    assert one.mask({"all": [dict(reversed(DRAMA.items())), LATE]}) is mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = True


def test_boosts_multiply() -> None:
    factors = rules().factors([{"filter": DRAMA, "factor": 2.0}, {"filter": LATE, "factor": 0.5}])

    assert factors.tolist() == [2.0, 1.0, 0.5, 1.0, 1.0]


def test_equal_boosts_are_multiplied_once_and_cannot_be_changed() -> None:
    one = rules()
    factors = one.factors([{"filter": DRAMA, "factor": 2.0}])

    assert one.factors([{"factor": 2.0, "filter": dict(reversed(DRAMA.items()))}]) is factors
    assert one.factors([{"filter": DRAMA, "factor": 3.0}]).tolist() == [3.0, 3.0, 1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        factors[0] = 1.0


def test_a_boost_whose_filter_is_nested_too_deeply_is_refused_before_it_is_read() -> None:
    with pytest.raises(CallerError) as refused:
        rules().factors([{"filter": nested(100_000), "factor": 2.0}])
    assert refused.value.path == "boost[0].filter"


@pytest.mark.parametrize(
    ("boost", "path"),
    [
        ([{"filter": DRAMA, "factor": 0}], "boost[0].factor"),
        ([{"filter": DRAMA, "factor": 101}], "boost[0].factor"),
        ([{"filter": DRAMA, "factor": "2"}], "boost[0].factor"),
        ([{"filter": DRAMA}], "boost[0]"),
        (
            [{"filter": DRAMA, "factor": 2}, {"filter": {"not": leaf("x", "has")}, "factor": 2}],
            "boost[1].filter.not.field",
        ),
        ([{"filter": DRAMA, "factor": 2}] * 17, "boost"),
    ],
)
def test_a_boost_that_cannot_be_is_refused_with_its_path(boost: list[dict[str, Any]], path: str) -> None:
    with pytest.raises(CallerError) as refused:
        rules().factors(boost)
    assert refused.value.path == path


def test_an_empty_catalogue_has_an_empty_mask() -> None:
    assert rules([]).mask({"all": [DRAMA, LATE]}).tolist() == []
