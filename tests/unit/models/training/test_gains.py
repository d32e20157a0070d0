import numpy as np
import pytest

from models.encode import CROSS
from models.training.funnel import Pool
from models.training.gains import funnel_ndcg, gains, standard_error


def pool(rows: list[int], place: int) -> Pool:
    cross = np.zeros((len(rows), len(CROSS)), np.float32)
    return Pool(np.array(rows, np.int32), cross, np.zeros(len(CROSS), np.float32), place)


class TestGains:
    """Three candidates, of which the second is scored best; the target stands anywhere, or was lost."""

    scores = [np.array([0.1, 0.9, 0.5], np.float32)] * 4
    pools = tuple(pool([1, 2, 3], place) for place in (1, 2, 0, -1))

    def test_the_targets_place_counts_and_a_lost_one_gives_nothing(self):
        expected = [1, 1 / np.log2(3), 1 / np.log2(4), 0]
        assert gains(self.scores, self.pools) == pytest.approx(expected)
        assert gains(self.scores, self.pools, k=1).tolist() == [1, 0, 0, 0]
        assert funnel_ndcg(self.scores, self.pools) == pytest.approx(sum(expected) / 4)

    def test_a_target_behind_the_ranked_ones_gives_nothing(self):
        assert gains([np.array([1.0], np.float32)], [pool([1, 2], place=1)]).tolist() == [0.0]

    def test_no_requests_give_nothing(self):
        assert funnel_ndcg([], []) == 0.0


class TestStandardError:
    differences = np.random.default_rng(3).normal(0.1, 1.0, 400)

    def test_of_users_with_a_request_each_it_is_that_of_a_mean(self):
        found = standard_error(self.differences, np.arange(400))
        assert found == pytest.approx(self.differences.std() / 20)

    def test_asking_users_again_makes_nothing_more_certain(self):
        once = standard_error(self.differences, np.arange(400))
        again = standard_error(np.repeat(self.differences, 5), np.repeat(np.arange(400), 5))
        assert again == pytest.approx(once)

    def test_it_is_the_spread_of_the_mean_where_requests_of_a_user_are_alike(self):
        random = np.random.default_rng(4)
        user = np.repeat(np.arange(100), 4)
        worlds = random.normal(size=(300, 100))[:, user] + random.normal(size=(300, 400))
        told = np.mean([standard_error(world, user) for world in worlds])
        assert told == pytest.approx(worlds.mean(axis=1).std(), rel=0.1)

    def test_without_requests_there_is_none(self):
        assert standard_error(np.zeros(0), np.zeros(0, np.int32)) == 0.0
