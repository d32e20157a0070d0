from __future__ import annotations

import implicit
import numpy as np
from threadpoolctl import threadpool_limits

from models.data.baselines import interactions
from models.data.simulator import simulate
from models.data.splits import leave_last_out
from models.training.config import RetrievalConfig
from models.training.factors import ITERATIONS, learn_factors

CONFIG = RetrievalConfig(factors=8, factors_l2=5.0)


def test_a_user_solved_online_is_the_user_that_training_would_solve():
    dataset, _ = simulate(users=80, items=60, seed=2)
    events = np.arange(dataset.events)
    factors = learn_factors(dataset, events, CONFIG, seed=0, threads=1)
    seen = interactions(dataset, events)
    with threadpool_limits(1, "blas"):
        model = implicit.als.AlternatingLeastSquares(8, regularization=5.0, alpha=40.0, iterations=ITERATIONS)
        model.item_factors = factors.vectors
        for user in range(5):
            expected = model.recalculate_user(user, seen[user])
            found = factors.user(seen[user].indices.astype(np.int32))
            np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-4)


def test_factors_find_more_than_popularity_and_repeat_with_their_seed():
    dataset, _ = simulate(users=300, items=200, seed=3)
    split = leave_last_out(dataset)
    factors = learn_factors(dataset, split.train, CONFIG, seed=0, threads=1)
    assert np.array_equal(
        factors.vectors, learn_factors(dataset, split.train, CONFIG, seed=0, threads=1).vectors
    )
    popular = np.argsort(-np.bincount(dataset.event_item[split.train], minlength=dataset.items))
    histories = interactions(dataset, split.train)
    hits = {"factors": 0, "popular": 0}
    for event in split.test:
        user, target = dataset.event_user[event], dataset.event_item[event]
        met = histories[user].indices.astype(np.int32)
        rows, _ = factors.search(met, 20 + len(met))
        hits["factors"] += target in rows[~np.isin(rows, met)][:20]
        hits["popular"] += target in popular[~np.isin(popular, met)][:20]
    assert hits["factors"] > 1.2 * hits["popular"]


def test_no_factors_are_learned_where_none_are_wanted():
    dataset, _ = simulate(users=20, items=20, seed=2)
    assert learn_factors(dataset, np.arange(5), RetrievalConfig(factors=0), seed=0, threads=1) is None
