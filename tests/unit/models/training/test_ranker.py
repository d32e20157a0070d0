from dataclasses import replace

import numpy as np
import pytest

from models.encode import CROSS
from models.training.funnel import Pool
from models.training.ranker import RankerData, padded
from models.training.ranker_start import TOP, starts, top, with_target
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


class TestStarts:
    """Scores of 200 candidates: one is noise but among the fusion's best, where it tells the target."""

    REQUESTS, CANDIDATES = 300, 200

    def pools(self) -> list[Pool]:
        random = np.random.default_rng(5)
        made = []
        for _ in range(self.REQUESTS):
            cross = random.normal(size=(self.CANDIDATES, WIDTH)).astype(np.float32)
            fused = np.sort(random.random(self.CANDIDATES))[::-1]
            cross[:, CROSS.index("fused")] = fused
            place = int(random.integers(TOP)) if random.random() < 0.3 else int(random.integers(TOP, 200))
            # Among the best the tower's score tells the target; deep in the list its opposite does.
            cross[place, CROSS.index("tower")] += 3 if place < TOP else -3
            made.append(Pool(np.arange(200, dtype=np.int32), cross, cross[place], place))
        return made

    def columns(self, index, pools):
        return [np.column_stack([pool.cross, np.zeros(len(pool.rows), np.float32)]) for pool in pools]

    def fits(self) -> list[np.ndarray]:
        targets = np.array([pool.place for pool in self.pools()], np.int32)
        return [weights for weights, _ in starts(self.pools(), targets, 200, self.columns)]

    def test_one_fit_cares_for_the_top_of_the_list_alone(self):
        whole, _, _, first = self.fits()
        assert whole[CROSS.index("tower")] < 0 < first[CROSS.index("tower")]

    def test_two_trust_one_score_alone(self):
        _, prerank, fused, _ = self.fits()
        assert np.flatnonzero(prerank).tolist() == [CROSS.index("prerank")]
        assert np.flatnonzero(fused).tolist() == [CROSS.index("fused")]

    def test_without_a_target_among_the_first_there_is_no_such_fit(self):
        lost = [replace(pool, place=-1) for pool in self.pools()]
        found = starts(lost, np.zeros(len(lost), np.int32), 100, self.columns)
        assert len(found) == 3

    def test_the_first_are_the_fusions_within_the_width(self):
        one = self.pools()[0]
        found = top(one, width=20)
        assert len(found.rows) == 20
        assert found.place == (one.place if one.place < 20 else -1)


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
