from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.artifacts import INDEX_CARD, BundleError
from retrieval.index import IndexSettings, build_index
from retrieval.index_card import IndexCard, MissedRecall, Recall, kept, measured

VECTORS = np.random.default_rng(0).normal(size=(300, 9)).astype(np.float32)


def a_card() -> IndexCard:
    settings = IndexSettings("ivf", lists=20, probes=3)
    recall = Recall(0.9, 0.93, k=10, queries=40)
    return IndexCard.of(build_index(VECTORS, settings, 0), settings, recall, "hash")


def test_a_card_says_what_the_index_is_and_survives_its_file(tmp_path: Path) -> None:
    card = a_card().with_curve([{"kind": "ivf", "micros": 3.5}])
    assert (card.kind, card.metric, card.items, card.dim) == ("ivf", "inner_product", 300, 9)
    card.write(tmp_path)
    assert IndexCard.read(tmp_path) == card


def test_auto_is_written_as_what_it_became() -> None:
    settings = IndexSettings("auto")
    card = IndexCard.of(build_index(VECTORS, settings, 0), settings, Recall(0.9), "hash")
    assert card.settings.kind == card.kind == "flat"


def test_without_a_card_there_is_advice(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=rf"index\.json: missing; make it with cascada index build {tmp_path}"
    ):
        IndexCard.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: [],
        lambda raw: {},
        lambda raw: {**raw, "colour": "red"},
        lambda raw: {key: value for key, value in raw.items() if key != "dim"},
        lambda raw: {**raw, "settings": {"probe": 3}},
        lambda raw: {**raw, "settings": None},
        lambda raw: {**raw, "recall": {"measured": 1.0}},
        lambda raw: {**raw, "curve": 3},
    ],
)
def test_a_card_of_another_version_is_refused_by_file(tmp_path: Path, change) -> None:
    a_card().write(tmp_path)
    raw = json.loads((tmp_path / INDEX_CARD).read_bytes())
    (tmp_path / INDEX_CARD).write_text(json.dumps(change(raw)))
    with pytest.raises(
        BundleError, match=r"index\.json: no card that this version reads.*cascada index build"
    ):
        IndexCard.read(tmp_path)


def test_a_difference_is_named_with_both_values() -> None:
    a_card().check(Path("there"), dim=9, items=300)
    with pytest.raises(BundleError, match=r"there: schema hash is other, index\.json says hash"):
        a_card().check(Path("there"), dim=9, schema_hash="other")


def test_a_recall_below_the_promise_is_refused_with_both_and_the_remedy() -> None:
    Recall(0.9, 0.9).check("run")
    Recall(0.9, None).check("run")
    with pytest.raises(
        MissedRecall, match=r"run: .*0\.8999.* best 200 .*0\.9: run cascada index tune run --rec"
    ):
        Recall(0.9, 0.8999).check("run")


def test_recall_is_measured_over_the_queries_of_all_users() -> None:
    index = build_index(VECTORS, IndexSettings("flat"), 0)
    asked = [VECTORS[:3], VECTORS[3:5]]
    assert measured(index, VECTORS, asked, Recall(0.9, k=7)) == Recall(0.9, 1.0, 7, 5)
    assert measured(index, VECTORS, [], Recall(0.9, 0.5)) == Recall(0.9, None)


def test_a_promise_is_kept_by_reading_twice_the_cells_as_often_as_needed() -> None:
    thin = IndexSettings("ivf", lists=10, probes=1)
    index = build_index(VECTORS, thin, 0)
    asked = [VECTORS[:20], VECTORS[20:40]]
    settings, reached = kept(index, VECTORS, asked, thin, Recall(0.9, k=5))
    assert reached == measured(index.searching(settings), VECTORS, asked, Recall(0.9, k=5))
    assert reached.measured is not None
    assert reached.measured >= 0.9
    half = measured(
        index.searching(replace(settings, probes=settings.probes // 2)), VECTORS, asked, Recall(0.9, k=5)
    )
    assert half.measured is not None
    assert half.measured < 0.9
    assert (settings.kind, settings.lists) == ("ivf", 10)


def test_a_promise_that_more_cells_do_not_keep_is_left_as_it_is() -> None:
    coarse = IndexSettings("sq8", lists=3, probes=1)
    settings, reached = kept(
        build_index(VECTORS, coarse, 0), VECTORS, [VECTORS[:40]], coarse, Recall(1.0, k=10)
    )
    assert settings.probes <= 4
    assert reached.measured is not None
    assert 0.9 < reached.measured < 1.0
    assert kept(build_index(VECTORS, coarse, 0), VECTORS, [], coarse, Recall(1.0)) == (coarse, Recall(1.0))
