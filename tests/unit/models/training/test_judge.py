import numpy as np
import pytest

from models.schema import Schema
from models.training import judge as judging
from models.training.features import Features
from models.training.judge import Judge
from tests.unit.models.data.tiny import events_dataset

SCHEMA = Schema((), (), ("view", "buy"), placements=("home", "cart"), history_length=5)


@pytest.fixture
def features() -> Features:
    """User 0 has seen items 0 and 1 and goes for 2; user 1 has seen 3 and goes for 0."""
    return Features.of(events_dataset([0, 0, 1, 0, 1], [0, 1, 3, 2, 0], range(5)), SCHEMA)


@pytest.fixture
def judge(features) -> Judge:
    return Judge(features, features.timeline.requests(np.array([3, 4])))


def test_seen_items_stand_in_nobodys_way(judge):
    scores = np.array([[9, 8, 1, 0], [2, 3, 1, 9]], np.float32)
    assert judge.ranks(lambda block: scores[block]).tolist() == [0, 1]
    assert judge.ndcg(lambda block: scores[block]) == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_ties_count_against_the_target(judge):
    assert judge.ranks(lambda block: np.zeros((2, 4), np.float32)).tolist() == [1, 2]


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_sorts_last(judge, poison):
    scores = np.array([[0, 0, 1, poison], [poison, 1, 1, 0]], np.float32)
    assert judge.ranks(lambda block: scores[block].copy()).tolist() == [0, 2]


def test_blocks_are_put_together(judge, monkeypatch):
    monkeypatch.setattr(judging, "BLOCK", 1)
    scores = np.array([[9, 8, 1, 0], [2, 3, 1, 9]], np.float32)
    assert judge.ranks(lambda block: scores[block]).tolist() == [0, 1]


def test_a_target_behind_the_first_k_counts_nothing(judge):
    scores = np.array([[9, 8, 1, 0], [2, 3, 1, 9]], np.float32)
    assert judge.ndcg(lambda block: scores[block], k=1) == 0.5


def test_many_requests_are_thinned_evenly(features, monkeypatch):
    monkeypatch.setattr(judging, "REQUESTS", 3)
    requests = features.timeline.requests(np.arange(5))
    assert Judge(features, requests).requests.target.tolist() == requests.target[[0, 2, 4]].tolist()


def test_without_requests_there_is_nothing_to_judge(features):
    empty = Judge(features, features.timeline.requests(np.zeros(0, np.int64)))
    assert empty.ndcg(lambda block: np.zeros((0, 4), np.float32)) == 0.0
