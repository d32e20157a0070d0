from __future__ import annotations

import numpy as np
import pytest

from retrieval.complements import LOOKED_AT, STAND_INS, Complements
from retrieval.index import IndexSettings, build_index

ITEMS, DIM = 80, 6


@pytest.fixture(scope="module")
def dual() -> Complements:
    random = np.random.default_rng(0)
    inward, outward = random.normal(size=(2, ITEMS, DIM)).astype(np.float32)
    for vectors in (inward, outward):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[::7] = 0.0
    return Complements(inward, outward, build_index(outward, IndexSettings("flat"), 0))


def test_a_new_item_has_the_weighted_mean_of_its_nearest_known_ones(dual: Complements) -> None:
    near = np.random.default_rng(1).permutation(ITEMS)[None, :LOOKED_AT].astype(np.int32)
    closeness = np.linspace(1, 0.1, LOOKED_AT, dtype=np.float32)[None]
    kept = [at for at, row in enumerate(near[0]) if row % 7][:STAND_INS]
    weights = closeness[0, kept] / closeness[0, kept].sum()
    inward, outward = dual.inferred(near, closeness)
    np.testing.assert_allclose(inward[0], weights @ dual.inward[near[0, kept]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outward[0], weights @ dual.outward[near[0, kept]], rtol=1e-5, atol=1e-6)


def test_its_score_is_the_mean_of_theirs(dual: Complements) -> None:
    near, closeness = np.array([[1, 2, 3]], np.int32), np.ones((1, 3), np.float32)
    live = dual.with_late(*dual.inferred(near, closeness))
    query = dual.query(np.array([4], np.int32), np.ones(1, np.float32))
    rows = np.array([1, 2, 3, ITEMS], np.int32)
    for scores in (live.score(query, rows), live.alike(query, rows)):
        assert scores[3] == pytest.approx(scores[:3].mean(), abs=1e-6)
    assert live.knows(rows).all()


def test_unknown_far_and_absent_ones_stand_in_for_nothing(dual: Complements) -> None:
    near = np.array([[0, 7, -1], [1, 2, -1], [3, 4, 5]], np.int32)
    closeness = np.array([[0.9, 0.8, -np.inf], [0.5, -0.2, -np.inf], [-0.1, -0.2, -0.3]], np.float32)
    inward, outward = dual.inferred(near, closeness)
    assert not inward[0].any()
    assert not outward[0].any()
    np.testing.assert_allclose(inward[1], dual.inward[1], rtol=1e-6)
    assert not inward[2].any()
    assert np.isfinite(inward).all()


def test_rows_beyond_the_last_have_no_vectors(dual: Complements) -> None:
    rows = np.array([0, 1, ITEMS, ITEMS + 1], np.int32)
    assert dual.knows(rows).tolist() == [False, True, False, False]
    one = np.ones((1, DIM), np.float32)
    assert dual.with_late(one, one).knows(rows).tolist() == [False, True, True, False]
    assert dual.score(one[0], rows)[2:].tolist() == [0.0, 0.0]
