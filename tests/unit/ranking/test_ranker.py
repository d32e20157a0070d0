import numpy as np

from models.encode import encode_history
from models.graph import Graph
from models.schema import Schema
from ranking.ranker import Ranker
from tests.unit.graphs import candidate_products

SCHEMA = Schema(item_fields=(), user_fields=(), event_kinds=("view",))
VECTORS = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
RANKER = Ranker(Graph.open(candidate_products()), VECTORS)
HISTORY = encode_history(
    SCHEMA, np.array([3, 5], np.int32), np.ones(2, np.int64), np.array([0, 1000]), now_ms=2000
)
PROFILE = np.zeros((1, 1), np.int64)


def test_a_logit_reads_the_candidate_the_events_and_its_own_cross_features():
    rows = np.array([7, 1, 12], np.int32)
    cross = np.arange(6, dtype=np.float32).reshape(3, 2)
    logits = RANKER.score(HISTORY, PROFILE, rows, cross)
    expected = VECTORS[rows] @ (VECTORS[3] + VECTORS[5]) + cross.sum(axis=1)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_no_candidates_no_logits():
    logits = RANKER.score(HISTORY, PROFILE, np.zeros(0, np.int32), np.zeros((0, 2), np.float32))
    assert logits.shape == (0,)
