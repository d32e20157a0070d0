import numpy as np

from models.encode import encode_history
from models.graph import Graph
from models.schema import Schema
from retrieval.user_tower import UserTower
from tests.unit.graphs import summed_events

SCHEMA = Schema(item_fields=(), user_fields=(), event_kinds=("view",))
VECTORS = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
TOWER = UserTower(Graph.open(summed_events()), VECTORS)
PROFILE = np.zeros((1, 1), np.int64)


def history(rows):
    rows = np.array(rows, np.int32)
    return encode_history(SCHEMA, rows, np.ones(len(rows), np.int64), np.arange(len(rows)) * 1000, 10_000)


def test_one_vector_of_one_user():
    vector = TOWER.encode(history([3, 5]), PROFILE)
    np.testing.assert_allclose(vector, VECTORS[3] + VECTORS[5], rtol=1e-6)


def test_an_empty_history_has_a_finite_vector():
    assert TOWER.encode(history([]), PROFILE).tolist() == [0] * 5


def test_only_the_rows_of_the_history_are_read():
    poisoned = VECTORS.copy()
    poisoned[[0, 7]] = np.nan
    assert np.isfinite(UserTower(TOWER.graph, poisoned).encode(history([3, 5]), PROFILE)).all()
