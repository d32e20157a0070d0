"""Rankers are trained on whatever the funnel leaves, however little that is, and never learn a NaN."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.simulator import simulate
from models.data.vocabulary import build_schema
from models.encode import CROSS
from models.training import ranker as ranker_training
from models.training.calibrate import fit_calibrator
from models.training.config import RankerConfig
from models.training.features import Features
from models.training.funnel import Pool
from models.training.ranker import RankerData, RankerModel, train_ranker
from models.training.timeline import Requests

COUNT, WIDTH, ITEMS = 12, 5, 30
CONFIG = RankerConfig(
    dim=4, experts=2, hidden=(6, 4), activation=3, candidates=6, batch=4, epochs=1, warmup_epochs=1
)


@pytest.fixture(scope="module")
def features() -> Features:
    dataset, _ = simulate(users=10, items=ITEMS, seed=2, sessions=2.0)
    return Features.of(dataset, build_schema(dataset, np.arange(dataset.events), history_length=6))


def pool(random: np.random.Generator, rows: list[int], place: int) -> Pool:
    cross = random.normal(size=(len(rows), len(CROSS))).astype(np.float32)
    own = random.normal(size=len(CROSS)).astype(np.float32)
    return Pool(np.array(rows, np.int32), cross, own, place)


def asked(features: Features) -> Requests:
    every = features.timeline.requests(np.arange(features.dataset.events))
    return every.at(np.linspace(0, len(every) - 1, COUNT).astype(np.int64))


def trained(
    features: Features, rows_of: dict[str, object], **options: float
) -> tuple[RankerModel, list[Pool]]:
    random, requests = np.random.default_rng(0), asked(features)
    pools = []
    for target in requests.target.tolist():
        rows = [target if row == "target" else int(row) for row in rows_of["rows"]]
        pools.append(pool(random, rows, rows.index(target) if target in rows else -1))
    uniform = random.integers(0, ITEMS, (COUNT, 8)).astype(np.int32)
    uniform_cross = random.normal(size=(COUNT, 8, len(CROSS))).astype(np.float32)
    data = RankerData(requests, pools, uniform, uniform_cross, requests, requests, pools)
    config = CONFIG.model_copy(update={key: value for key, value in rows_of.items() if key != "rows"})
    return train_ranker(features, data, WIDTH, config, seed=0, **options), pools


@pytest.mark.parametrize(
    "left",
    [
        {"rows": [7, "target", 3, 9]},
        {"rows": ["target"]},
        {"rows": []},
        {"rows": [4]},
        {"rows": ["target"], "hard_share": 1.0},
        {"rows": [7, "target", 3], "kind_weight": 0.5},
        {"rows": [7, "target", 3], "kind": "dnn"},
        {"rows": [7, "target", 3], "kind": "moe"},
        {"rows": [7, "target", 3], "kind": "aw-moe-sum"},
        {"rows": [7, "target", 3], "kind": "target-attention"},
    ],
    ids=str,
)
def test_whatever_the_funnel_leaves_logits_are_finite(features, left):
    model, pools = trained(features, left)
    logits = model.logits(features.batch(asked(features)), pools, WIDTH)
    assert [len(each) for each in logits] == [len(pool.rows) for pool in pools]
    assert all(np.isfinite(each).all() for each in logits)
    assert np.isfinite(model.item_vectors()).all()
    assert 0.0 <= model.best <= 1.0


class TestKeptEpoch:
    """What validation's 12 requests are said to gain: with five starts, of which the third is best, and then
    after each epoch."""

    START = np.array([1.0] * 4 + [0.0] * 8)
    LUCK = np.array([0.0] * 1 + [1.0] * 5 + [0.0] * 6)
    """One request loses, two gain: 0.08 on average, with a standard error of 0.14."""
    BETTER = np.array([1.0] * 7 + [0.0] * 5)
    """Three gain: 0.25, with a standard error of 0.125."""
    BEST = np.array([1.0] * 9 + [0.0] * 3)

    def best(self, features, monkeypatch, epochs: list[np.ndarray], **options: float) -> float:
        told = iter([0 * self.START, 0.5 * self.START, self.START, 0 * self.START, 0 * self.START, *epochs])
        monkeypatch.setattr(ranker_training, "gains", lambda scores, pools: next(told))
        told_epochs = {"rows": [7, "target", 3, 9], "epochs": len(epochs)}
        return trained(features, told_epochs, **options)[0].best

    def test_what_is_better_by_less_than_a_standard_error_leaves_the_start(self, features, monkeypatch):
        assert self.best(features, monkeypatch, [self.LUCK, self.LUCK]) == pytest.approx(4 / 12)

    def test_what_is_better_by_more_takes_its_place(self, features, monkeypatch):
        assert self.best(features, monkeypatch, [self.LUCK, self.BETTER, self.LUCK]) == pytest.approx(7 / 12)

    def test_of_those_the_best_is_kept(self, features, monkeypatch):
        found = self.best(features, monkeypatch, [self.BETTER, self.BEST, self.BETTER])
        assert found == pytest.approx(9 / 12)

    def test_without_a_margin_any_gain_will_do(self, features, monkeypatch):
        assert self.best(features, monkeypatch, [self.LUCK, self.START], margin=0.0) == pytest.approx(5 / 12)

    @pytest.mark.parametrize(("gained", "same"), [("LUCK", True), ("BETTER", False)])
    def test_the_start_that_is_left_is_the_start_to_the_bit(self, features, monkeypatch, gained, same):
        rows = {"rows": [7, "target", 3, 9], "epochs": 2}
        start, pools = trained(features, rows, margin=np.inf)
        told = iter([self.START] * 5 + [getattr(self, gained)] * 2)
        monkeypatch.setattr(ranker_training, "gains", lambda scores, pools: next(told))
        kept, _ = trained(features, rows)
        batch = features.batch(asked(features))
        pairs = zip(kept.logits(batch, pools, WIDTH), start.logits(batch, pools, WIDTH), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs) is same


@pytest.mark.parametrize("name", ["auto", "beta", "isotonic", "platt", "temperature"])
@pytest.mark.parametrize("place", [-1, 0], ids=["nothing was taken", "everything was taken"])
def test_one_class_alone_gives_probabilities_all_the_same(name, place):
    random = np.random.default_rng(0)
    pools = [pool(random, [3] if place == 0 else [3, 4, 5], place) for _ in range(20)]
    logits = [random.normal(size=len(pool.rows)).astype(np.float32) for pool in pools]
    calibrator, tried = fit_calibrator(name, logits, pools)
    probability = calibrator(np.array([-50.0, 0.0, 50.0], np.float32))
    assert np.isfinite(probability).all()
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    assert all(np.isfinite(one.log_loss) for one in tried.values())
