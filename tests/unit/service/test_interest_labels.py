from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import artifacts
from models.artifacts import BundleError, write_json
from retrieval.interests import OWN
from service.bundle import Bundle
from service.cascade.observe import NullObserver
from service.cascade.preferences import resolve
from service.cascade.query import ItemId
from service.catalogue import Catalogue
from service.engine import Engine
from service.features.store import ItemChange, Preference, PreferenceKind, UserRecord
from service.interest_anchors import anchors_of
from service.interest_labels import InterestLabels
from service.interest_names import InterestNames
from tests.support.tiny_bundle import reseal, write_tiny_bundle
from tests.support.tiny_world import NOW_MS, TASTES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path)


def names_of(folder: Path, *changes: ItemChange) -> InterestNames:
    bundle = Bundle.open(folder)
    return InterestNames(bundle.interest_labels, Catalogue.of(bundle).apply(changes, NOW_MS))


def test_an_id_stands_for_a_cluster_and_not_for_its_number(tmp_path: Path) -> None:
    one, again, other = (
        Bundle.open(write_tiny_bundle(tmp_path, version, clusters=count))
        for version, count in (("a", 4), ("b", 4), ("c", 7))
    )
    ids = one.interest_labels.ids
    assert ids == again.interest_labels.ids
    assert [one.interest_labels.cluster_of(interest) for interest in ids] == [0, 1, 2, 3]
    found = [other.interest_labels.cluster_of(interest) for interest in ids]
    assert None in found
    for cluster, same in enumerate(found):
        assert same is None or (one.centroids[cluster] == other.centroids[same]).all()


def test_equal_centres_still_have_ids_of_their_own(tmp_path: Path) -> None:
    assert len(set(InterestLabels.open(tmp_path, np.ones((50, 3), np.float32), 1).ids)) == 50


def test_a_label_is_the_attributes_and_two_titles(folder: Path) -> None:
    names = names_of(folder)
    for cluster in range(4):
        taste = names.labels.attributes[cluster][0]
        titles = [title for _, title in names.typical(cluster)][:2]
        assert taste in TASTES
        attributes = ", ".join(names.labels.attributes[cluster])
        assert names.label(cluster) == f"{attributes}: {titles[0]}; {titles[1]}"
    assert (names.id_of(OWN), names.label(OWN), names.typical(OWN)) == ("own", "Your taste overall", [])


def test_a_label_has_the_titles_of_now(folder: Path) -> None:
    plain = names_of(folder)
    (first, _), (second, _), (third, title), *_ = plain.typical(0)
    names = names_of(
        folder,
        ItemChange("1", first, None),
        ItemChange("2", second, {"title": "Renamed"}),
        ItemChange("3", ItemId(third), {"title": title, "available": True}),
    )
    assert names.label(0).endswith(f": Renamed; {title}")
    assert names.typical(0)[0] == (second, "Renamed")


def test_without_attributes_and_titles_a_label_is_a_number(folder: Path) -> None:
    (folder / artifacts.INTEREST_LABELS).unlink()
    reseal(folder)
    names = names_of(folder)
    assert names.label(2) == "Interest 2"
    assert names.typical(2) == []
    assert len(set(names.labels.ids)) == 4


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda raw: {}, "not the labels of interests"),
        (lambda raw: [], "not the labels of interests"),
        (lambda raw: {"interests": [{"attributes": []}] * 4}, "not the labels of interests"),
        (lambda raw: {"interests": raw["interests"][:3]}, "3 interests; there are 4 clusters"),
        (lambda raw: {"interests": [{"attributes": [], "items": [120]}] * 4}, r"row outside 0\.\.119"),
        (lambda raw: {"interests": [{"attributes": [], "items": [-1]}] * 4}, "row outside"),
        (lambda raw: {"interests": [{"attributes": [], "items": [[1]]}] * 4}, "row outside"),
        (lambda raw: {"interests": [{"attributes": [], "items": ["a"]}] * 4}, "not the labels of interests"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder: Path, change: Any, match: str) -> None:
    path = folder / artifacts.INTEREST_LABELS
    write_json(path, change(json.loads(path.read_bytes())))
    reseal(folder)
    with pytest.raises(BundleError, match=rf"interest_labels.json: .*{match}"):
        Bundle.open(folder)


def record(*rows: int) -> UserRecord:
    ids = [ItemId(f"item-{row}") for row in rows]
    return UserRecord({}, ids, ["view"] * len(ids), list(range(len(ids))), True)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_anchors_are_the_newest_events_then_typical_items(folder: Path, labelled: bool) -> None:
    if not labelled:
        (folder / artifacts.INTEREST_LABELS).unlink()
        reseal(folder)
    engine = Engine.build(Bundle.open(folder), NullObserver())
    assignment = engine.bundle.assignment
    mine = np.flatnonzero(assignment == 1)[:14].tolist()
    other = np.flatnonzero(assignment == 0)[:3].tolist()

    few = anchors_of(1, record(*mine[:2], *other, mine[0]), engine)
    assert few[:2] == (f"item-{mine[0]}", f"item-{mine[1]}")
    assert len(few) == len(set(few)) == 10
    rows = engine.catalogue.rows_of(few)
    assert (assignment[rows] == 1).all()
    if labelled:
        typical = engine.catalogue.ids_of(engine.bundle.interest_labels.typical[1])
        assert set(few[2:]) <= set(typical)
    else:
        popularity = engine.bundle.popularity[0][rows[2:]]
        assert (np.diff(popularity) <= 0).all()

    many = anchors_of(1, record(*mine), engine)
    assert many == tuple(f"item-{row}" for row in mine[::-1][:10])


def test_a_preference_is_found_again_by_its_anchors(folder: Path) -> None:
    engine = Engine.build(Bundle.open(folder), NullObserver())
    anchors = anchors_of(3, record(), engine)
    found = resolve([Preference("x", PreferenceKind.PIN, 1, anchors)], engine.catalogue)
    assert (found.pinned.tolist(), found.muted.tolist()) == ([3], [])
