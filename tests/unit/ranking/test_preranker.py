import numpy as np

from models.encode import encode_history
from models.graph import Graph
from models.schema import Schema
from ranking.preranker import PreRanker
from tests.unit.graphs import each_event

SCHEMA = Schema(item_fields=(), user_fields=(), event_kinds=("view",))
VECTORS = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
PRERANKER = PreRanker(Graph.open(each_event()), VECTORS)
HISTORY = encode_history(
    SCHEMA, np.array([3, 5], np.int32), np.ones(2, np.int64), np.array([0, 1000]), now_ms=2000
)


def test_an_items_score_is_its_best_interest():
    interests = PRERANKER.interests(HISTORY, np.zeros((1, 1), np.int64))
    assert interests.shape == (2, 5)
    rows = np.array([1, 19, 4], np.int32)
    expected = [max(VECTORS[row] @ VECTORS[3], VECTORS[row] @ VECTORS[5]) for row in rows]
    np.testing.assert_allclose(PRERANKER.score(interests, rows), expected, rtol=1e-5)


def test_no_candidates_no_scores():
    interests = PRERANKER.interests(HISTORY, np.zeros((1, 1), np.int64))
    assert PRERANKER.score(interests, np.zeros(0, np.int32)).shape == (0,)
