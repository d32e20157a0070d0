"""The dense source over the tiny bundle, with a query tower whose right answers are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.text import encode_texts
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, ItemId, Kind, Outcome, Request
from service.engine import Engine
from service.features.store import ItemChange
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import DIM, ITEMS, NOW_MS, TASTES

BUCKETS = 4096
MEANS = {"funny": "comedy", "sad": "drama", "scary": "horror", "saddle": "western"}
"""Words that no item has."""


class Meanings:
    """As `retrieval.query_tower.QueryTower`: a word that it knows lies on the axis of its taste."""

    graph = None

    def vector(self, text: str) -> np.ndarray | None:
        words, _ = encode_texts([text], BUCKETS)
        vector = np.zeros(DIM + 1, np.float32)
        for word, taste in MEANS.items():
            if encode_texts([word], BUCKETS)[0][0, 0] in words[0]:
                vector[TASTES.index(taste)] = 1.0
        return vector if vector.any() else None


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    bundle = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    assert bundle.query_tower is None
    return Engine.build(replace(bundle, query_tower=Meanings()), NullObserver())  # type: ignore[arg-type]


def search(engine: Engine, text: str, **request: Any) -> Outcome:
    asked = Request(kind=Kind.SEARCH, text=text, **request)
    return engine.run(engine.hydrate(asked, None, Moment("r", NOW_MS)))


def sources(outcome: Outcome) -> list[set[str]]:
    bits = outcome.columns["sources"].tolist()
    return [{name for bit, name in enumerate(outcome.source_names) if one >> bit & 1} for one in bits]


@pytest.mark.parametrize(("word", "taste"), MEANS.items())
def test_what_no_item_says_is_found_by_its_meaning(engine: Engine, word: str, taste: str) -> None:
    outcome = search(engine, f"{word}!", count=20)

    assert outcome.degraded == ()
    assert len(outcome.rows) == 20
    assert {row % len(TASTES) for row in outcome.rows.tolist()} == {TASTES.index(taste)}
    assert 7 not in outcome.rows
    assert all("dense" in found for found in sources(outcome))


def test_words_and_meaning_together_come_first(engine: Engine) -> None:
    outcome = search(engine, "scary number 42", count=5)
    assert outcome.rows[0] == 42
    assert sources(outcome)[0] == {"lexical", "dense"}


def test_nothing_known_is_nothing_found(engine: Engine) -> None:
    assert len(search(engine, "zzyzx").rows) == 0


def test_a_rule_and_exclusions_hold(engine: Engine) -> None:
    rule = {"field": "year", "op": "<", "value": 1980}
    first = search(engine, "funny", filter=rule, count=3)
    left = [ItemId(item) for item in engine.catalogue.ids_of(first.rows)]
    rest = search(engine, "funny", filter=rule, exclude_items=left, count=50)
    assert len(first.rows) == 3
    assert not set(first.rows.tolist()) & set(rest.rows.tolist())
    assert all(row < 30 for row in (*first.rows.tolist(), *rest.rows.tolist()))


def test_a_new_item_is_found_by_its_meaning(engine: Engine) -> None:
    record = {"title": "Quokka", "genres": ["horror"]}
    after = engine.with_changes([ItemChange("1", ItemId("new"), record)], NOW_MS)
    found = after.catalogue.ids_of(search(after, "scary", count=50).rows)
    assert "new" in found
    gone = after.with_changes([ItemChange("2", ItemId("new"), None)], NOW_MS)
    assert "new" not in gone.catalogue.ids_of(search(gone, "scary", count=50).rows)


class Counted(Meanings):
    """Remembers what it was asked, and fails if told to."""

    def __init__(self, broken: bool = False) -> None:
        self.asked: list[str] = []
        self.broken = broken

    def vector(self, text: str) -> np.ndarray | None:
        self.asked.append(text)
        if self.broken:
            raise OSError("no such tower")
        return super().vector(text)


def test_a_search_is_encoded_once_and_a_recommendation_never(engine: Engine) -> None:
    tower = Counted()
    counted = Engine.build(replace(engine.bundle, query_tower=tower), NullObserver())  # type: ignore[arg-type]
    outcome = search(counted, "funny", caps=(Cap("genres", 1, 5),))
    assert outcome.state.words is not None
    assert outcome.state.words[TASTES.index("comedy")] == 1.0
    plain = counted.run(counted.hydrate(Request(), None, Moment("r", NOW_MS)))
    assert plain.state.words is None
    assert tower.asked == ["funny"]


def test_words_answer_while_the_query_tower_fails(engine: Engine) -> None:
    broken = replace(engine.bundle, query_tower=Counted(broken=True))  # type: ignore[arg-type]
    outcome = search(Engine.build(broken, NullObserver()), "horror", count=5)
    assert outcome.degraded == ("query_tower",)
    assert {row % len(TASTES) for row in outcome.rows.tolist()} == {TASTES.index("horror")}
    assert outcome.state.words is None
    assert np.isfinite(outcome.columns["rank"]).all()


def test_a_bundle_without_a_query_tower_searches_by_words(engine: Engine) -> None:
    plain = Engine.build(replace(engine.bundle, query_tower=None), NullObserver())
    assert len(search(plain, "scary").rows) == 0
    outcome = search(plain, "horror", count=ITEMS)
    assert outcome.source_names == ("lexical",)
    assert {row % len(TASTES) for row in outcome.rows.tolist()} == {TASTES.index("horror")}
