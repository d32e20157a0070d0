"""The ranker in a real cascade, given what it should never be given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import artifacts
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.query import ItemId, Outcome, Request, SessionEvent
from service.engine import Engine
from service.features.store import ItemChange
from service.metrics import Metrics
from tests.support.tiny_bundle import reseal, write_tiny_bundle
from tests.support.tiny_world import DIM, NOW_MS

POISONED = 20
VIEWED = (SessionEvent(ItemId("item-0"), "view"), SessionEvent(ItemId("item-4"), "view"))


def poisoned(folder: Path, value: float) -> Bundle:
    """A bundle of which the ranker's vector of one item is no number; one of halves would not open."""
    bundle = write_tiny_bundle(folder)
    vectors = np.load(bundle / artifacts.RANK_VECTORS).astype(np.float32)
    vectors[POISONED] = value
    np.save(bundle / artifacts.RANK_VECTORS, vectors)
    reseal(bundle)
    return Bundle.open(bundle)


def ask(engine: Engine, count: int = 100) -> Outcome:
    request = Request(session=VIEWED, count=count, diversity=0.0)
    return engine.run(engine.hydrate(request, None, Moment("r", NOW_MS)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_no_number_ranks_last_and_is_counted(tmp_path: Path, value: float) -> None:
    metrics = Metrics()
    outcome = ask(Engine.build(poisoned(tmp_path, value), metrics))

    assert outcome.degraded == ()
    assert outcome.rows[-1] == POISONED
    assert not np.isfinite(outcome.columns["rank"][-1])
    assert np.isfinite(outcome.columns["rank"][:-1]).all()
    assert np.isfinite(outcome.columns["score"]).all()
    counted = 'cascada_nonfinite_scores_total{cascade="recommend",stage="rank"} 1.0'
    assert counted in metrics.render().decode()


def test_a_whole_bundle_counts_none(tmp_path: Path) -> None:
    metrics = Metrics()
    outcome = ask(Engine.build(Bundle.open(write_tiny_bundle(tmp_path)), metrics))
    assert POISONED in outcome.rows
    assert "cascada_nonfinite_scores_total{" not in metrics.render().decode()


def test_an_item_without_attributes_is_ranked_and_not_dropped(tmp_path: Path) -> None:
    engine = Engine.build(Bundle.open(write_tiny_bundle(tmp_path)), Metrics())
    bare = engine.with_changes([ItemChange("1-0", ItemId("bare"), {})], NOW_MS)
    row = int(bare.catalogue.rows_of([ItemId("bare")])[0])
    outcome = ask(bare)
    assert np.isfinite(bare.catalogue.rank.take(np.array([row]))).all()
    assert bare.catalogue.rank.take(np.array([row])).shape == (1, DIM)
    assert row in outcome.rows
    assert np.isfinite(outcome.columns["rank"][outcome.rows.tolist().index(row)])
