"""The graph that explains the ranker says its logits in single precision, and its parts add up to them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from models import artifacts
from models.artifacts import BundleError
from models.encode import CROSS, History, encode_history
from models.export.graphs import blueprints
from models.export.translate import translate
from models.graph import Graph
from models.training.run_folder import read_run
from ranking.ranker import Explained, Ranker, RankerExplain
from service.bundle import Bundle
from tests.support.tiny_bundle import reseal
from tests.support.trained import TrainedWorld

RTOL, ATOL = 1e-4, 1e-4
ROWS = np.array([4, 90, 17, 3, 149], np.int32)
EVENTS = np.array([7, 8, 90, 21], np.int32)


@pytest.fixture(scope="module")
def bundle(trained_world: TrainedWorld) -> Bundle:
    return Bundle.open(trained_world.bundle)


@pytest.fixture(scope="module")
def single(trained_world: TrainedWorld) -> Graph:
    run = read_run(trained_world.run)
    plans = {each.name: each for each in blueprints(run.networks, run.schema, np.random.default_rng(0))}
    return Graph.open(translate(plans["ranker"]).onnx)


def history(bundle: Bundle, rows: np.ndarray) -> History:
    times = np.arange(len(rows)) * 86_400_000
    return encode_history(bundle.schema, rows, np.ones(len(rows), np.int64), times, now_ms=10**9)


def cross() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(ROWS), len(CROSS))).astype(np.float32)


def profile(bundle: Bundle) -> np.ndarray:
    return np.zeros((1, max(sum(field.width for field in bundle.schema.user_fields), 1)), np.int64)


def explained(bundle: Bundle, events: np.ndarray, query: np.ndarray | None = None) -> Explained:
    assert bundle.ranker_explain is not None
    explain = RankerExplain(bundle.ranker_explain, bundle.rank_vectors)
    return explain.explain(history(bundle, events), profile(bundle), ROWS, cross(), query)


@pytest.mark.parametrize("count", [0, 1, len(EVENTS)])
def test_its_logits_are_those_of_the_ranker_in_single_precision(bundle, single, count):
    ranker = Ranker(single, bundle.rank_vectors)
    logits = ranker.score(history(bundle, EVENTS[:count]), profile(bundle), ROWS, cross())
    np.testing.assert_allclose(explained(bundle, EVENTS[:count]).logit, logits, rtol=RTOL, atol=ATOL)


def test_the_experts_and_the_linear_path_add_up(bundle, trained_world):
    found, ranker = explained(bundle, EVENTS), trained_world.trained.ranker.ranker
    known = (cross() - ranker.cross_mean.numpy()) / ranker.cross_scale.numpy()
    linear = known @ ranker.linear.weight.detach().numpy()[0] + ranker.linear.bias.item()
    assert found.experts.shape == (len(ROWS), 2)
    np.testing.assert_allclose(found.experts.sum(axis=1) + linear, found.logit, rtol=RTOL, atol=ATOL)


def test_every_event_has_a_weight_for_every_candidate(bundle):
    found = explained(bundle, EVENTS)
    assert found.attention.shape == found.gate.shape == (len(ROWS), len(EVENTS))
    # Weights depend on the candidate: that is what the activation unit is for.
    for weights in (found.attention, found.gate):
        assert weights.std(axis=0).min() > 0


def test_without_events_there_is_nothing_to_weigh(bundle):
    found = explained(bundle, EVENTS[:0])
    assert not found.attention.any()
    assert not found.gate.any()
    assert np.isfinite(np.column_stack([found.logit, found.experts])).all()


def test_an_older_bundle_has_none(trained_world, tmp_path):
    folder = shutil.copytree(trained_world.bundle, tmp_path / "older")
    (folder / artifacts.RANKER_EXPLAIN).unlink()
    reseal(folder, graphs={})
    assert Bundle.open(folder).ranker_explain is None


def test_a_bundle_that_lost_it_is_refused(trained_world, tmp_path):
    folder = shutil.copytree(trained_world.bundle, tmp_path / "lost")
    (folder / artifacts.RANKER_EXPLAIN).unlink()
    reseal(folder)
    with pytest.raises(BundleError, match="no ranker_explain.onnx, the manifest lists it"):
        Bundle.open(folder)
