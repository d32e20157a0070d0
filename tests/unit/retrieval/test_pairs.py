from __future__ import annotations

import numpy as np
import pytest

from retrieval.neighbours import Neighbours
from retrieval.pairs import FEATURES, PairScorer, pairs_of, pruned

NEAR = Neighbours(
    np.array([[1, 2, -1], [2, 3, 0], [3, -1, -1], [0, 1, 2]], np.int32),
    np.array([[0.5, 0.2, 0.0], [0.4, 0.3, 0.1], [0.9, 0.0, 0.0], [0.7, 0.6, 0.5]], np.float32),
)
COUNTS = np.array([3.0, 1.0, 0.0, 7.0], np.float32)
VECTORS = np.array([[1, 0, 0.1], [0, 1, 0.2], [1, 1, 0.0], [-1, 0, 0.5]], np.float32)
USER = np.array([2.0, 1.0, 1.0], np.float32)
HISTORY = np.array([1, 0], np.int32)


def scorer(**weights: float) -> PairScorer:
    """The logit is the weighted sum of the named features: one unit for each sign."""
    first = np.zeros((len(FEATURES), 2), np.float32)
    for name, weight in weights.items():
        first[FEATURES.index(name)] = (weight, -weight)
    return PairScorer(first, np.zeros(2, np.float32), np.array([1.0, -1.0], np.float32))


def test_every_pair_of_the_lists_has_its_features() -> None:
    pairs = pairs_of(NEAR, HISTORY, COUNTS, VECTORS, USER)
    assert sorted(pairs.rows.tolist()) == [0, 1, 2, 3]
    found = {
        (int(pairs.rows[t]), round(float(row[FEATURES.index("recency")]), 4)): row
        for t, row in zip(pairs.target, pairs.features, strict=True)
    }
    assert len(found) == len(pairs.features) == 5
    pair = found[3, 0.0]  # from item 1, the newest event, at the second place
    np.testing.assert_allclose(
        pair,
        [np.log(0.3001), np.log(2), 0.0, np.log(2), np.log(8), VECTORS[3] @ USER],
        rtol=1e-5,
    )
    again = found[2, round(float(np.log(2)), 4)]  # item 2 also from item 0, the older event
    assert again[FEATURES.index("similarity")] == pytest.approx(np.log(0.2001))


def test_a_target_adds_up_what_its_triggers_say() -> None:
    rows, scores = pruned(pairs_of(NEAR, HISTORY, COUNTS, VECTORS, USER), scorer(similarity=1.0))
    by_row = dict(zip(rows.tolist(), np.exp(scores).tolist(), strict=True))
    assert by_row == pytest.approx({2: 0.4001 + 0.2001, 1: 0.5001, 3: 0.3001, 0: 0.1001})
    assert rows.tolist() == [2, 1, 3, 0]


def test_the_same_lists_are_pruned_for_each_user_another_way() -> None:
    orders = []
    for user in (USER, -USER):
        pairs = pairs_of(NEAR, HISTORY[:1], COUNTS, VECTORS, user)
        orders.append(pruned(pairs, scorer(taste=1.0))[0].tolist())
    assert orders == [[2, 0, 3], [3, 0, 2]]


def test_without_events_there_is_nothing() -> None:
    rows, scores = pruned(pairs_of(NEAR, HISTORY[:0], COUNTS, VECTORS, USER), scorer(rank=1.0))
    assert len(rows) == len(scores) == 0


def test_logits_too_large_for_exp_still_order() -> None:
    rows, scores = pruned(pairs_of(NEAR, HISTORY, COUNTS, VECTORS, USER), scorer(taste=1000.0))
    assert np.isfinite(scores).all()
    assert rows[0] == 2


@pytest.mark.parametrize("shapes", [((5, 2), 2, 2), ((6, 2), 3, 2), ((6, 2), 2, 1)])
def test_layers_that_do_not_fit_are_refused(shapes: tuple[tuple[int, int], int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        PairScorer(*(np.zeros(shape, np.float32) for shape in shapes))
