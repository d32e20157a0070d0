from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import overlay
from service.bundle import Bundle
from service.cascade.query import ItemId
from service.catalogue import Catalogue
from service.errors import OperatorError
from service.features.store import ItemChange
from service.identifiers import hash_ids
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS, TASTES

HORROR = {"title": "A new fright", "genres": ["horror"], "studio": "south", "year": 2024}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue.of(Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles"))))


def change(item: str, record: dict[str, Any] | None, cursor: str = "1") -> ItemChange:
    return ItemChange(cursor, ItemId(item), record)


def row(catalogue: Catalogue, item: str) -> int:
    return int(catalogue.rows_of([ItemId(item)])[0])


def matching(catalogue: Catalogue, field: str, op: str, value: Any) -> set[str]:
    mask = catalogue.rules.mask({"field": field, "op": op, "value": value})
    return set(catalogue.ids_of(np.flatnonzero(mask).astype(np.int32)))


def test_the_exported_items_are_there(catalogue: Catalogue) -> None:
    assert len(catalogue) == ITEMS
    assert catalogue.ids_of(np.array([3, 0], np.int32)) == ["item-3", "item-0"]
    assert row(catalogue, "item-3") == 3
    assert row(catalogue, "nobody") == -1
    assert catalogue.record_of(3) == {
        "title": "The western number 3",
        "genres": ["western"],
        "studio": None,
        "year": 1971,
    }
    assert not catalogue.available[7]
    assert catalogue.newest[:3].tolist() == [0, 1, 2]


def test_a_new_item_is_everywhere(catalogue: Catalogue) -> None:
    after = catalogue.apply([change("new", HORROR)], NOW_MS)

    assert row(after, "new") == ITEMS
    assert after.ids_of(np.array([ITEMS, 1], np.int32)) == ["new", "item-1"]
    assert after.available[ITEMS]
    assert after.newest[0] == ITEMS
    assert after.record_of(ITEMS) == HORROR
    assert after.words.search("frights and a fright")[0].tolist() == [ITEMS]
    assert after.words.search("2024")[0].tolist() == [ITEMS]
    assert matching(after, "year", ">=", 2020) == {"new"}
    assert "new" in matching(after, "genres", "has", "horror")
    assert after.popularity(0, np.array([0, ITEMS], np.int32))[1] == 0
    assert after.rows_of_hashes(hash_ids(["new", "item-4"])).tolist() == [4, ITEMS]


def test_a_new_items_vector_comes_from_its_attributes(catalogue: Catalogue) -> None:
    after = catalogue.apply([change("new", HORROR)], NOW_MS)

    for table in (after.items, after.prerank, after.rank):
        vector = table.take(np.array([ITEMS]))[0]
        assert np.argmax(vector) == TASTES.index("horror")
        assert vector[TASTES.index("horror")] > 0.99


def test_a_new_item_that_changes_moves(catalogue: Catalogue) -> None:
    after = catalogue.apply([change("new", HORROR), change("other", HORROR)], NOW_MS)
    moved = after.apply([change("new", {**HORROR, "genres": ["drama"]})], NOW_MS)

    assert len(moved) == ITEMS + 2
    assert np.argmax(moved.items.take(np.array([ITEMS]))[0]) == TASTES.index("drama")
    assert np.argmax(moved.items.take(np.array([ITEMS + 1]))[0]) == TASTES.index("horror")
    assert "new" not in matching(moved, "genres", "has", "horror")


def test_a_patch_replaces_the_record_and_keeps_the_vectors(catalogue: Catalogue) -> None:
    after = catalogue.apply([change("item-3", {"genres": ["drama"], "available": False})], NOW_MS)

    assert len(after) == ITEMS
    assert not after.available[3]
    assert "item-3" in matching(after, "genres", "has", "drama")
    assert "item-3" not in matching(after, "genres", "has", "western")
    assert "item-3" not in matching(after, "year", "exists", True)
    assert np.array_equal(after.items.take(np.array([3])), catalogue.items.take(np.array([3])))


def test_a_deleted_item_is_gone_and_may_come_back(catalogue: Catalogue) -> None:
    gone = catalogue.apply([change("item-3", None), change("new", HORROR)], NOW_MS).apply(
        [change("new", None)], NOW_MS
    )
    assert gone.is_deleted(3)
    assert gone.record_of(3) is None
    assert not gone.available[[3, ITEMS]].any()
    assert "item-3" not in matching(gone, "genres", "has", "western")
    assert not set(gone.newest.tolist()) & {3, ITEMS}

    back = gone.apply([change("item-3", {"genres": ["drama"]}), change("new", HORROR)], NOW_MS)
    assert back.available[[3, ITEMS]].all()
    assert len(back) == ITEMS + 1


def test_of_several_changes_the_last_counts(catalogue: Catalogue) -> None:
    after = catalogue.apply([change("item-7", None), change("item-7", {"available": True})], NOW_MS)

    assert after.available[7]


def test_an_earlier_snapshot_stays_as_it_was(catalogue: Catalogue) -> None:
    before = matching(catalogue, "genres", "has", "horror")
    catalogue.apply([change("item-3", None), change("new", HORROR)], NOW_MS)

    assert len(catalogue) == ITEMS
    assert catalogue.available[3]
    assert row(catalogue, "new") == -1
    assert matching(catalogue, "genres", "has", "horror") == before


def test_deleting_what_never_was_changes_nothing(catalogue: Catalogue) -> None:
    assert len(catalogue.apply([change("nobody", None)], NOW_MS)) == ITEMS


def test_creation_comes_from_the_record_else_from_the_clock(catalogue: Catalogue) -> None:
    after = catalogue.apply(
        [change("old", {"created_at": 5}), change("new", {}), change("odd", {"created_at": "soon"})], NOW_MS
    )
    assert after.created[ITEMS:].tolist() == [5, NOW_MS, NOW_MS]
    assert matching(after, "created_at", "<", 10) == {"old"}
    assert after.words.search("5")[0].tolist() == []


def test_an_item_of_unknown_age_is_not_new(catalogue: Catalogue) -> None:
    created = catalogue.created.copy()
    created[0] = 0

    assert replace(catalogue, created=created).newest[:2].tolist() == [1, 2]


@pytest.mark.parametrize(
    "record",
    [
        {"year": "nineteen ninety"},
        {"genres": 5},
        {"genres": [None, {"a": 1}]},
        {"title": ["a", "list"]},
        {"title": None, "extra": {"deep": []}},
        {"available": None, "year": [1]},
    ],
)
def test_a_record_with_odd_values_is_taken(catalogue: Catalogue, record: dict[str, Any]) -> None:
    after = catalogue.apply([change("odd", record)], NOW_MS)

    assert row(after, "odd") == ITEMS
    assert np.isfinite(after.items.take(np.array([ITEMS]))).all()
    assert matching(after, "year", "exists", False) == {"odd"}


def test_too_many_changes_are_refused_with_advice(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "CAPACITY", 2)
    full = catalogue.apply([change("a", {}), change("b", {})], NOW_MS)

    with pytest.raises(OperatorError, match="export"):
        full.apply([change("c", {})], NOW_MS)
    assert len(full.apply([change("a", None)], NOW_MS)) == ITEMS + 2


def test_a_trail_grows_by_what_was_shown(catalogue: Catalogue) -> None:
    trail = catalogue.extend_trail(np.zeros(0, np.uint32), np.array([5, 6], np.int32))

    assert sorted(catalogue.rows_of_hashes(trail).tolist()) == [5, 6]


def test_tables_gather_from_both_parts(catalogue: Catalogue) -> None:
    extra = np.full((2, catalogue.items.base.shape[1]), 7.0, np.float32)
    table = replace(catalogue.items, extra=extra)
    taken = table.take(np.array([[0, ITEMS + 1], [ITEMS, 1]]))

    assert taken.shape == (2, 2, extra.shape[1])
    assert np.array_equal(taken[0, 0], catalogue.items.base[0])
    assert (taken[0, 1] == 7).all()
    assert (taken[1, 0] == 7).all()


def test_the_bundle_stays_untouched(tmp_path: Path) -> None:
    bundle = Bundle.open(write_tiny_bundle(tmp_path))
    after = Catalogue.of(bundle).apply([change("item-3", None)], NOW_MS)

    assert not after.available[3]
    assert bundle.available[3]
