from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import artifacts
from models.export import interest_labels
from models.export.interest_labels import members, typical_items, typical_values, write_interest_labels
from models.schema import Field, FieldKind
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import SCHEMA, TASTES, tiny_world
from tests.support.trained import TrainedWorld

FIELDS = (
    Field("title", FieldKind.TEXT, width=8, hash_size=64),
    Field("genres", FieldKind.SET, vocabulary=("drama", "comedy"), width=3),
    Field("studio", FieldKind.CATEGORY, vocabulary=("north",)),
    Field("year", FieldKind.NUMBER, edges=(1980.0,)),
    Field("price", FieldKind.NUMBER, edges=(10.0, 20.5)),
)


def values(*clusters: list[dict[str, Any]]) -> list[list[str]]:
    records = [record for cluster in clusters for record in cluster]
    bounds = np.cumsum([0, *map(len, clusters)])
    rows = [np.arange(a, b, dtype=np.int32) for a, b in pairwise(bounds)]
    return typical_values(records, FIELDS, rows)


def test_a_value_is_typical_where_it_is_frequent_and_elsewhere_rare() -> None:
    drama, comedy = {"genres": ["drama", "all"]}, {"genres": ["comedy", "all"]}
    assert values([drama] * 8 + [comedy] * 2, [comedy] * 9 + [drama]) == [["drama"], ["comedy"]]


def test_what_a_small_part_has_is_not_typical_however_rare() -> None:
    assert values([{"studio": "north"}] + [{}] * 9, [{}] * 90) == [[], []]


def test_words_come_before_numbers_and_a_number_counts_once() -> None:
    old = [{"year": 1950 + n, "price": 5, "studio": "north"} for n in range(20)]
    new = [{"year": 1999.0, "price": 15}] * 10 + [{"year": 2003, "price": 99.5}] * 10
    first, second = values(old, new)
    assert first == ["north", "price below 10", "1950s"]
    # Both prices and both decades tell the same; of each the first by name is taken.
    assert second == ["price 10 to 20.5", "1990s"]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"year": 1994}, ["1990s"]),
        ({"year": 12}, ["year below 1980"]),
        ({"year": 1994.5}, ["year from 1980"]),
        ({"price": 10}, ["price 10 to 20.5"]),
        ({"price": 20.5}, ["price from 20.5"]),
        ({"price": float("nan")}, []),
        ({"genres": "drama"}, ["drama"]),
        ({"genres": []}, []),
        ({"title": "words", "genres": None}, []),
    ],
)
def test_values_read_like_words(record: dict[str, Any], expected: list[str]) -> None:
    assert values([record], [{"studio": "north"}]) == [expected, ["north"]]


def test_a_large_cluster_is_known_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interest_labels, "SAMPLE", 10)
    large, small = [{"studio": "north"}] * 95, [{"genres": ["drama"]}] * 5
    assert values(large, small) == [["north"], ["drama"]]


def test_an_empty_cluster_has_no_values() -> None:
    assert values([], [{"studio": "north"}] * 3) == [[], []]


def test_the_members_of_each_cluster_ascend_and_are_all_there() -> None:
    found = members(np.array([2, 0, 2, 0, 4], np.int32), 5)
    assert [rows.tolist() for rows in found] == [[1, 3], [], [0, 2], [], [4]]


def test_typical_items_are_popular_and_near() -> None:
    directions = np.array([[1, 0], [0, 1], [0.9, 0.1], [0.8, 0.2]], np.float32)
    rows = np.array([10, 20, 30, 40], np.int32)
    popularity = np.zeros(41, np.float32)
    popularity[[20, 30]] = 100, 5
    found = typical_items(rows, directions, np.array([1, 0], np.float32), popularity)
    assert found.tolist() == [30, 10]


def test_the_file_of_a_small_world_says_what_was_planted(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path)
    listed = json.loads((folder / artifacts.INTEREST_LABELS).read_bytes())["interests"]
    world, assignment = tiny_world(), np.load(folder / artifacts.ASSIGNMENT)
    assert {one["attributes"][0] for one in listed} == set(TASTES)
    for cluster, one in enumerate(listed):
        rows = np.array(one["items"])
        assert (assignment[rows] == cluster).all()
        assert world.available[rows].all()
        assert len(set(one["items"])) == len(rows) == 10
        taste = TASTES.index(one["attributes"][0])
        assert (world.taste[rows] == taste).mean() >= 0.9


def test_hidden_items_are_typical_of_nothing(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path)
    world = tiny_world()
    np.save(folder / artifacts.ITEM_AVAILABLE, world.taste != 2)
    write_interest_labels(folder, world.records, SCHEMA)
    listed = json.loads((folder / artifacts.INTEREST_LABELS).read_bytes())["interests"]
    horror = next(one for one in listed if "horror" in one["attributes"])
    assert all(world.taste[row] != 2 for row in horror["items"])


def test_a_trained_bundle_has_labels_of_every_cluster(trained_world: TrainedWorld) -> None:
    listed = json.loads((trained_world.bundle / artifacts.INTEREST_LABELS).read_bytes())["interests"]
    centroids = np.load(trained_world.bundle / artifacts.CENTROIDS)
    assert len(listed) == len(centroids)
    assert sum(bool(one["items"]) for one in listed) >= len(centroids) - 1
    assert any(one["attributes"] for one in listed)
