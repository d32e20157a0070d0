import numpy as np
import pytest

from models.encode import CROSS
from models.training.funnel import Pool
from models.training.ranker import RankerData, funnel_ndcg, padded, with_target
from models.training.timeline import Requests

WIDTH = len(CROSS)


def pool(rows: list[int], place: int = -1) -> Pool:
    """Each candidate's features are its row, the target's are 99."""
    table = np.repeat(np.array(rows, np.float32)[:, None], WIDTH, axis=1)
    return Pool(np.array(rows, np.int32), table, np.full(WIDTH, 99, np.float32), place)


def test_short_lists_are_padded_and_long_ones_cut():
    rows, cross = padded([pool([7, 8, 9]), pool([5])], width=2)
    assert rows.tolist() == [[7, 8], [5, 0]]
    assert cross[:, :, 0].tolist() == [[7, 8], [5, 0]]


def test_a_target_among_the_best_stays_where_it_is():
    kept = with_target(pool([7, 8, 9], place=1), target=8, width=2)
    assert (kept.rows.tolist(), kept.place) == ([7, 8], 1)


@pytest.mark.parametrize("place", [-1, 2])
def test_a_target_that_the_funnel_lost_or_cut_stands_behind_the_best(place):
    kept = with_target(pool([7, 8, 9], place), target=9, width=2)
    assert (kept.rows.tolist(), kept.place) == ([7, 8, 9], 2)
    assert kept.cross[:, 0].tolist() == [7, 8, 99]


def test_ndcg_counts_the_targets_place_and_nothing_for_a_lost_one():
    scores = [np.array([0.1, 0.9, 0.5], np.float32)] * 4
    pools = [pool([1, 2, 3], place) for place in (1, 2, 0, -1)]
    expected = (1 + 1 / np.log2(3) + 1 / np.log2(4) + 0) / 4
    assert funnel_ndcg(scores, pools) == pytest.approx(expected)
    assert funnel_ndcg(scores, pools, k=1) == pytest.approx(0.25)


def test_a_target_behind_the_ranked_ones_counts_nothing():
    assert funnel_ndcg([np.array([1.0], np.float32)], [pool([1, 2], place=1)]) == 0.0
    assert funnel_ndcg([], []) == 0.0


class TestWithin:
    """Requests 0, 1 and 2 have their targets at places 0 and 2 and nowhere."""

    def data(self, places: list[int]) -> RankerData:
        count = len(places)
        columns = [np.arange(count) for _ in range(6)]
        requests = Requests(*columns)
        uniform = np.arange(count, dtype=np.int32)[:, None]
        cross = np.repeat(uniform[..., None].astype(np.float32), WIDTH, axis=2)
        pools = [pool([7, 8, 9], place) for place in places]
        return RankerData(requests, pools, uniform, cross, requests, requests, pools)

    def test_it_leaves_out_whose_target_the_cut_loses(self):
        kept = self.data([0, 2, -1]).within(2)
        assert kept.requests.user.tolist() == [0]
        assert [each.place for each in kept.pools] == [0]
        assert (kept.uniform.tolist(), kept.uniform_cross[:, 0, 0].tolist()) == ([[0]], [0.0])
        assert self.data([0, 2, -1]).within(3).requests.user.tolist() == [0, 1]

    def test_validation_stays_as_it_is(self):
        assert len(self.data([0, 2, -1]).within(2).validation_pools) == 3

    def test_where_nothing_was_found_everything_has_to_do(self):
        data = self.data([-1, 2, -1])
        assert data.within(2) is data
