from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data.columns import Dataset
from models.data.dataset import load_dataset, write_dataset
from models.data.live import fold
from models.data.problems import DataError
from tests.support.tiny_dataset import write_tiny_dataset
from tests.support.tiny_world import ITEMS, NOW_MS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(write_tiny_dataset(tmp_path_factory.mktemp("data") / "tiny"))


def test_new_items_come_last_and_survive_the_disk(dataset: Dataset, tmp_path: Path) -> None:
    record = {"title": "Ä 🎬", "genres": ["drama", "drama"], "year": 1999, "created_at": 7, "studio": None}
    folded = fold(dataset, {"a/b": (5, record), "bare": (9, {})}, NOW_MS)
    assert (folded.added, folded.changed, folded.deleted, folded.left_out) == (2, 0, 0, {})
    write_dataset(tmp_path / "folded", folded.dataset)
    again = load_dataset(tmp_path / "folded")
    assert again.fingerprint == folded.dataset.fingerprint != dataset.fingerprint
    assert again.item_ids == [*dataset.item_ids, "a/b", "bare"]
    assert again.item_records[-2:] == [{"title": "Ä 🎬", "genres": ["drama"], "year": 1999.0}, {}]
    assert again.item_created_ms[-2:].tolist() == [7, 9]
    assert again.item_available[-2:].all()
    np.testing.assert_array_equal(again.event_item, dataset.event_item)


def test_a_changed_item_keeps_its_place_and_its_creation(dataset: Dataset) -> None:
    folded = fold(dataset, {"item-3": (5, {"year": 2024, "available": False})}, NOW_MS)
    assert (folded.added, folded.changed) == (0, 1)
    assert folded.dataset.item_records[3] == {"year": 2024.0}
    assert folded.dataset.item_created_ms[3] == dataset.item_created_ms[3]
    assert not folded.dataset.item_available[3]
    assert folded.dataset.items == ITEMS


def test_a_deleted_item_stays_only_where_something_refers_to_it(dataset: Dataset) -> None:
    used = int(dataset.event_item[0])
    unused = next(row for row in range(ITEMS) if row not in set(dataset.event_item.tolist()))
    names = [f"item-{used}", f"item-{unused}", "never here"]
    folded = fold(dataset, dict.fromkeys(names, (5, None)), NOW_MS)
    assert folded.deleted == 2
    assert folded.dataset.items == ITEMS - 1
    assert f"item-{unused}" not in folded.dataset.item_ids
    assert not folded.dataset.item_available[folded.dataset.item_row[f"item-{used}"]]
    before = [dataset.item_ids[row] for row in dataset.event_item]
    assert [folded.dataset.item_ids[row] for row in folded.dataset.event_item] == before


@pytest.mark.parametrize(
    ("window", "available"),
    [
        ({"available_from": NOW_MS}, True),
        ({"available_from": NOW_MS + 1}, False),
        ({"available_until": NOW_MS}, False),
        ({"available_until": NOW_MS + 1}, True),
        ({"available_from": 1, "available_until": NOW_MS + 1, "available": False}, False),
    ],
)
def test_a_window_counts_at_the_moment_of_folding(dataset: Dataset, window: dict, available: bool) -> None:
    assert fold(dataset, {"item-3": (5, window)}, NOW_MS).dataset.item_available[3] == available


def test_what_has_no_place_is_counted_by_attribute(dataset: Dataset) -> None:
    changes = {
        "a": (5, {"colour": "red", "year": "soon", "genres": "drama", "title": ["x"]}),
        "b": (5, {"colour": 3, "year": True, "studio": 7}),
    }
    folded = fold(dataset, changes, NOW_MS)
    assert folded.left_out == {"colour": 2, "year": 2, "title": 1}
    assert folded.dataset.item_records[-2:] == [{"genres": ["drama"]}, {"studio": "7"}]


def test_offers_come_change_and_survive_the_disk(dataset: Dataset, tmp_path: Path) -> None:
    offer = {"bid_micros": 700, "currency": "EUR", "advertiser_id": "acme"}
    folded = fold(dataset, {"item-3": (5, {"year": 2024, **offer}), "new": (6, offer)}, NOW_MS)
    assert folded.left_out == {}
    write_dataset(tmp_path / "offers", folded.dataset)
    again = load_dataset(tmp_path / "offers")
    assert again.fingerprint == folded.dataset.fingerprint
    assert [again.offer(row) for row in (2, 3, again.items - 1)] == [{}, offer, offer]
    assert again.item_records[3] == {"year": 2024.0}
    gone = fold(again, {"item-3": (7, {"year": 2024, "currency": "EUR"})}, NOW_MS).dataset
    assert (gone.offer(3), gone.item_currency[3]) == ({}, "EUR")
    assert not dataset.item_currency


def test_a_currency_that_is_none_is_a_bad_row(dataset: Dataset, tmp_path: Path) -> None:
    odd = fold(dataset, {"item-3": (5, {"currency": "euro", "advertiser_id": "acme"})}, NOW_MS).dataset
    write_dataset(tmp_path / "odd", odd)
    with pytest.raises(DataError, match="currency"):
        load_dataset(tmp_path / "odd")
