from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from service.bundle import Bundle
from service.cascade.query import ItemId
from service.catalogue import Catalogue
from service.features.store import ItemChange
from service.identifiers import hash_ids
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS, TASTES

HORROR = {"title": "A new fright", "genres": ["horror"], "studio": "south", "year": 2024}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))


@pytest.fixture(scope="module")
def catalogue(bundle: Bundle) -> Catalogue:
    return Catalogue.of(bundle)


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


def test_a_new_item_is_everywhere(catalogue: Catalogue, bundle: Bundle) -> None:
    after = catalogue.apply([change("new", HORROR)], NOW_MS)

    assert row(after, "new") == ITEMS
    assert after.ids_of(np.array([ITEMS, 1], np.int32)) == ["new", "item-1"]
    assert after.available[ITEMS]
    assert after.newest[0] == ITEMS
    assert after.record_of(ITEMS) == HORROR
    assert after.words.search("frights and a fright", bundle.lexical)[0].tolist() == [ITEMS]
    assert after.words.search("2024", bundle.lexical)[0].tolist() == [ITEMS]
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


def test_creation_comes_from_the_record_else_from_the_clock(catalogue: Catalogue, bundle: Bundle) -> None:
    after = catalogue.apply(
        [change("old", {"created_at": 5}), change("new", {}), change("odd", {"created_at": "soon"})], NOW_MS
    )
    assert after.created[ITEMS:].tolist() == [5, NOW_MS, NOW_MS]
    assert matching(after, "created_at", "<", 10) == {"old"}
    assert after.words.search("5", bundle.lexical)[0].tolist() == []


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


def test_a_full_catalogue_takes_no_more_but_hides_and_deletes(bundle: Bundle) -> None:
    full = Catalogue.of(bundle, 2).apply([change("a", {}), change("item-3", {"year": 2024})], NOW_MS)
    assert (full.overlay.room, full.refused) == (0, 0)

    after = full.apply(
        [
            change("b", {}),
            change("item-4", {"available": False}),
            change("item-5", None),
            change("a", HORROR),
        ],
        NOW_MS,
    )
    assert after.refused == 2
    assert row(after, "b") == -1
    assert not after.available[[4, 5]].any()
    assert after.is_deleted(5)
    assert after.record_of(row(after, "a")) == HORROR
    assert after.apply([change("item-4", dict(after.record_of(4) or {}))], NOW_MS).available[4]

    room = after.apply([change("a", None)], NOW_MS).apply([change("b", {})], NOW_MS)
    assert row(room, "b") >= 0


def test_what_the_bundle_has_already_is_not_laid_over_it(catalogue: Catalogue) -> None:
    same = {key: value for key, value in (catalogue.record_of(3) or {}).items() if value is not None}
    created = int(catalogue.created[3])
    after = catalogue.apply([change("item-3", {**same, "created_at": created, "available": True})], NOW_MS)
    assert after.overlay.live == 0
    assert catalogue.apply([change("item-3", {**same, "year": 1})], NOW_MS).overlay.live == 1
    assert catalogue.apply([change("item-3", {**same, "created_at": 1})], NOW_MS).overlay.live == 1
    assert catalogue.apply([change("item-7", {**same, "available": True})], NOW_MS).available[7]


def test_an_item_is_available_within_its_window_only(catalogue: Catalogue) -> None:
    window = {"available_from": NOW_MS + 10, "available_until": NOW_MS + 20}
    early = catalogue.apply([change("item-3", window), change("new", {**HORROR, **window})], NOW_MS)
    rows = [3, ITEMS]
    assert not early.available[rows].any()
    assert early.at(NOW_MS + 9) is early
    assert early.schedule.next_after(NOW_MS) == NOW_MS + 10
    opened = early.at(NOW_MS + 10)
    assert opened.available[rows].all()
    assert not early.available[rows].any()
    assert opened.delta.rows.tolist() == [ITEMS]
    assert opened.schedule.next_after(NOW_MS + 10) == NOW_MS + 20
    closed = opened.at(NOW_MS + 20)
    assert not closed.available[rows].any()
    assert closed.schedule.next_after(NOW_MS + 20) is None
    assert closed.apply([change("new", HORROR)], NOW_MS + 30).available[ITEMS]


def test_a_hidden_or_deleted_item_does_not_open(catalogue: Catalogue) -> None:
    opens = {"available_from": NOW_MS + 10}
    later = catalogue.apply([change("item-3", opens), change("item-4", opens)], NOW_MS).apply(
        [change("item-3", {**opens, "available": False}), change("item-4", None)], NOW_MS
    )
    assert not later.at(NOW_MS + 10).available[[3, 4]].any()


def test_new_items_are_found_by_their_vectors_beside_the_bundles_index(catalogue: Catalogue) -> None:
    many = [change(f"new-{n}", {**HORROR, "genres": [TASTES[n % 4]]}) for n in range(40)]
    after = catalogue.apply(many, NOW_MS).apply([change("new-0", None)], NOW_MS)
    query = np.zeros((1, after.items.extra.shape[1]), np.float32)
    query[0, 0] = 1.0
    scores, rows = after.delta.search(query, 9)
    assert set(after.ids_of(rows[0])) == {f"new-{n}" for n in range(4, 40, 4)}
    assert (np.diff(scores[0]) <= 0).all()


def test_compaction_gives_up_deleted_items_and_changes_nothing_else(
    catalogue: Catalogue, bundle: Bundle
) -> None:
    many = [change(f"new-{n}", {**HORROR, "year": 3000 + n, "title": f"Word{n}"}) for n in range(30)]
    before = catalogue.apply([*many, change("item-3", {"year": 1})], NOW_MS).apply(
        [change(f"new-{n}", None) for n in range(0, 30, 3)], NOW_MS
    )
    after = before.compacted()
    assert (len(before), len(after)) == (ITEMS + 30, ITEMS + 20)
    assert row(after, "new-0") == -1
    for n in (1, 2, 29):
        old, new = row(before, f"new-{n}"), row(after, f"new-{n}")
        assert after.ids_of(np.array([new], np.int32)) == [f"new-{n}"]
        assert after.record_of(new) == before.record_of(old)
        assert np.array_equal(after.items.take(np.array([new])), before.items.take(np.array([old])))
        assert after.rows_of_hashes(hash_ids([f"new-{n}"])).tolist() == [new]
        assert matching(after, "year", "==", 3000 + n) == {f"new-{n}"}
        assert after.ids_of(after.words.search(f"word{n}", bundle.lexical)[0]) == [f"new-{n}"]
    assert matching(after, "year", ">=", 3000) == matching(before, "year", ">=", 3000)
    assert matching(after, "year", "==", 1) == {"item-3"}
    assert len(after.delta.rows) == 20
    again = after.apply([change("new-0", HORROR), change("new-1", {"year": 7})], NOW_MS)
    assert matching(again, "year", "==", 7) == {"new-1"}
    assert row(again, "new-0") == ITEMS + 20


def test_settling_keeps_what_changed_meanwhile(catalogue: Catalogue) -> None:
    earlier = catalogue.apply([change(f"new-{n}", {"year": 3000 + n}) for n in range(20)], NOW_MS)
    whole = earlier.layers.settle()
    later = earlier.apply([change("new-3", {"year": 3103}), change("late", {"year": 3104})], NOW_MS)
    after = later.settled_as(whole, earlier.layers)
    for one in (later, after):
        assert matching(one, "year", ">=", 3100) == {"new-3", "late"}
        assert matching(one, "year", "==", 3003) == set()
        assert {"new-0", "new-1", "new-2"} < matching(one, "year", ">=", 3000)
    assert (len(after.layers.settled), sum(map(len, after.layers.recent))) == (20, 2)


def test_many_small_changes_make_few_layers(catalogue: Catalogue) -> None:
    after = catalogue
    for n in range(300):
        after = after.apply([change(f"new-{n % 200}", {"year": 3000 + n})], NOW_MS)
    assert len(after.layers.recent) <= 10
    assert len(matching(after, "year", ">=", 3100)) == 200
    assert matching(after, "year", "==", 3299) == {"new-99"}
    assert matching(after, "year", "==", 3099) == set()


def test_what_was_shown_is_found_by_its_hashes(catalogue: Catalogue) -> None:
    trail = hash_ids(catalogue.ids_of(np.array([5, 6], np.int32)))

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


OFFER = {"bid_micros": 500, "currency": "EUR", "advertiser_id": "acme"}


def offers(catalogue: Catalogue) -> dict[str, tuple[int, str]]:
    ads = catalogue.ads
    owners = [ads.advertisers[code] for code in ads.advertiser.tolist()]
    return dict(zip(catalogue.ids_of(ads.rows), zip(ads.bids.tolist(), owners, strict=True), strict=True))


def test_offers_come_change_and_go_with_the_records(catalogue: Catalogue) -> None:
    assert offers(catalogue) == {}
    exported = catalogue.record_of(3)
    assert exported is not None
    after = catalogue.apply(
        [change("new", {**HORROR, **OFFER}), change("item-3", {**exported, **OFFER, "bid_micros": 9})], NOW_MS
    )
    assert offers(after) == {"item-3": (9, "acme"), "new": (500, "acme")}
    assert after.ad_vectors.shape == (2, after.items.take(after.ads.rows).shape[1])
    back = after.apply([change("item-3", exported), change("new", None)], NOW_MS)
    assert offers(back) == {}
    assert offers(after) == {"item-3": (9, "acme"), "new": (500, "acme")}


def test_an_offer_that_cannot_be_is_sold_nowhere_and_counted(catalogue: Catalogue) -> None:
    wrong = [
        {"bid_micros": 500, "advertiser_id": "acme"},
        {**OFFER, "bid_micros": -5},
        {**OFFER, "bid_micros": "much"},
        {**OFFER, "currency": "eu"},
    ]
    changes = [change(f"wrong-{i}", {**HORROR, **one}) for i, one in enumerate(wrong)]
    after = catalogue.apply(changes, NOW_MS)
    assert offers(after) == {}
    assert len(after.offers.faulty) == len(wrong)
    mended = after.apply([change("wrong-0", {**HORROR, **OFFER}), change("wrong-1", None)], NOW_MS)
    assert list(offers(mended)) == ["wrong-0"]
    assert len(mended.offers.faulty) == len(wrong) - 2


def test_offers_keep_their_items_when_rows_move_up(catalogue: Catalogue) -> None:
    after = catalogue.apply(
        [change("first", {**HORROR, **OFFER}), change("second", {**HORROR, **OFFER, "bid_micros": 7})], NOW_MS
    )
    compacted = after.apply([change("first", None)], NOW_MS).compacted()
    assert offers(compacted) == {"second": (7, "acme")}


class _Records(list[str]):
    """Stands where a bundle has its column of records."""


def test_a_bundle_may_bring_offers(bundle: Bundle) -> None:
    records = [bundle.item_records[row] for row in range(ITEMS)]
    for row, offer in {3: OFFER, 5: {**OFFER, "bid_micros": 9}, 6: {"bid_micros": 5}}.items():
        records[row] = orjson.dumps({**orjson.loads(records[row]), **offer}).decode()
    sold = Catalogue.of(replace(bundle, item_records=_Records(records)))  # type: ignore[arg-type]
    assert offers(sold) == {"item-3": (500, "acme"), "item-5": (9, "acme")}
    assert sold.offers.faulty == {6}
    same = {**orjson.loads(bundle.item_records[3]), **OFFER}
    assert sold.apply([change("item-3", same)], NOW_MS).overlay.live == 0
    dearer = sold.apply([change("item-3", {**same, "bid_micros": 501})], NOW_MS)
    assert (dearer.overlay.live, offers(dearer)["item-3"]) == (1, (501, "acme"))
