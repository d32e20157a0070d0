from __future__ import annotations

import numpy as np

from models.encode import CROSS
from models.training.cut import cut_anew, fitted, learn_cut
from models.training.funnel import Pool, ordered
from models.training.timeline import Requests

PRERANK, FUSED = CROSS.index("prerank"), CROSS.index("fused")


def asked(telling: int, count: int = 60, size: int = 40, seed: int = 0) -> tuple[Requests, list[Pool]]:
    """Requests whose target stands out in the column `telling` of its candidates, and nowhere else."""
    random = np.random.default_rng(seed)
    pools, targets = [], []
    for _ in range(count):
        cross = random.normal(size=(size, len(CROSS))).astype(np.float32)
        target = int(random.integers(size))
        cross[target, telling] += 4.0
        rows = np.arange(size, dtype=np.int32)
        pools.append(ordered(Pool(rows, cross, cross[target], -1), target, {"prerank": 1.0}))
        targets.append(target)
    none = np.zeros(count, np.int64)
    return Requests(none.astype(np.int32), np.array(targets, np.int32), none, none, none, none), pools


def test_a_score_that_tells_more_than_the_pre_rankers_leads_the_cut() -> None:
    requests, pools = asked(FUSED)
    cut = learn_cut(requests, pools, *asked(FUSED, seed=1), width=5)
    assert max(cut, key=lambda name: cut[name]) == "fused"
    places = [pool.place for pool in cut_anew(requests, pools, cut)]
    assert np.mean(np.array(places) < 5) > 0.9 > np.mean([pool.place < 5 for pool in pools])


def test_a_blend_that_keeps_no_more_is_left() -> None:
    requests, pools = asked(PRERANK)
    everything = len(pools[0].rows)
    assert learn_cut(requests, pools, *asked(PRERANK, seed=1), width=everything) == {"prerank": 1.0}


def test_without_any_target_found_there_is_nothing_to_fit() -> None:
    requests, pools = asked(PRERANK, count=3)
    lost = [Pool(pool.rows, pool.cross, pool.target_cross, -1) for pool in pools]
    assert fitted(lost) == {}
    assert learn_cut(requests, lost, requests, lost, 5) == {"prerank": 1.0}


def test_the_target_keeps_its_row_in_every_order() -> None:
    requests, pools = asked(FUSED, count=5)
    for before, after, target in zip(
        pools, cut_anew(requests, pools, {"tower": -1.0}), requests.target.tolist(), strict=True
    ):
        assert before.rows[before.place] == after.rows[after.place] == target
        assert sorted(after.rows.tolist()) == sorted(before.rows.tolist())
        assert (np.diff(after.cross[:, 0]) >= 0).all()
