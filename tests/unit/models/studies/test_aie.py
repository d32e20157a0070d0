from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.data.auctions import simulate_auctions
from models.data.candidates import Candidates
from models.data.problems import DataError
from models.studies import aie, selling
from models.training.config import TrainConfig
from ranking.auction import award
from retrieval.metrics import copc
from service.replay.aie_tables import tell_aie

CONFIG = TrainConfig.model_validate(
    {
        "threads": 1,
        "history_length": 4,
        "ranker": {
            "dim": 8,
            "experts": 2,
            "hidden": [8, 4],
            "activation": 2,
            "contrast_weight": 0.0,
            "learning_rate": 0.01,
            "batch": 128,
            "epochs": 1,
        },
    }
)


@cache
def world():
    return simulate_auctions(8000, seed=6, users=200, advertisers=20, days=3, held_out=0.3)


def candidates(**columns):
    """Candidates of hand-made auctions, everything else as it may be."""
    _, truth = world()
    count = len(columns["auction"])
    some = {
        name: value[:count]
        for name in truth.candidates.__slots__
        if isinstance(value := getattr(truth.candidates, name), np.ndarray)
    }
    plain = {name: np.asarray(value) for name, value in columns.items()}
    return replace(truth.candidates, **(some | plain))


def test_an_auction_is_sold_at_the_second_price_against_outsiders():
    every = candidates(
        auction=[0, 0, 1, 2],
        bid_micros=[100_000, 400_000, 300_000, 100_000],
        floor_micros=[50_000, 50_000, 50_000, 50_000],
        outside_micros=[500, 500, 9_000, 1],
        outside_second_micros=[1, 1, 2_000, 1],
        ctr=[0.10, 0.01, 0.02, 0.03],
    )
    sold = selling.sell(every, np.array([0.04, 0.008, 0.02, 0.02]))
    # 4,000 beats 3,200 and 500; 6,000 loses to 9,000; nobody else is there, so the floor is the price.
    np.testing.assert_array_equal(sold.winner, [0, 2, 3])
    np.testing.assert_array_equal(sold.ours, [True, False, True])
    np.testing.assert_allclose(sold.price_micros, [80_000, 6_000, 50_000])
    np.testing.assert_allclose(sold.revenue, [8_000, 6_000, 1_500], rtol=1e-6)
    np.testing.assert_allclose(sold.value, [10_000, 9_000, 3_000], rtol=1e-6)


def test_without_outsiders_it_sells_as_the_service_does():
    _, truth = world()
    every = truth.candidates.first_auctions(300)
    nobody = np.zeros(len(every), np.int64)
    every = replace(every, outside_micros=nobody, outside_second_micros=nobody)
    chance = np.random.default_rng(0).uniform(0.001, 0.2, len(every))
    sold = selling.sell(every, chance)
    for number, auction in enumerate(np.unique(every.auction)):
        rows = np.flatnonzero(every.auction == auction)
        served = award(
            chance[rows], every.bid_micros[rows], rows.astype(np.int32), int(every.floor_micros[rows[0]]), 1
        )
        assert rows[served.winners[0]] == sold.winner[number]
        assert served.prices[0] == pytest.approx(sold.price_micros[number], abs=1)


def test_who_knows_all_loses_nothing_and_earns_most_value():
    _, truth = world()
    every = truth.candidates
    known = selling.sell(every, every.mean_ctr.astype(np.float64)).value.sum()
    guess = selling.sell(every, np.full(len(every), float(every.ctr.mean()))).value.sum()
    assert known > 1.05 * guess


def test_deciles_are_equally_large_and_rise_with_the_bid():
    bids = np.random.default_rng(1).integers(0, 1000, 500)
    tenth = selling.deciles(bids)
    assert np.bincount(tenth).tolist() == [50] * 10
    assert all(bids[tenth == k].max() <= bids[tenth == k + 1].min() for k in range(9))


def test_a_level_is_met_and_keeps_the_order():
    _, truth = world()
    every = truth.candidates
    chance = np.random.default_rng(2).uniform(0.001, 0.5, len(every))
    for level in (0.5, 1.0, 2.0):
        found = selling.at_level(every, chance, level)
        assert copc(every.ctr, found) == pytest.approx(level, rel=1e-6)
        np.testing.assert_array_equal(np.argsort(found), np.argsort(chance))
    with pytest.raises(ValueError, match="promises 1000000"):
        selling.at_level(every, chance, 1e6)


def test_methods_that_differ_by_their_level_alone_earn_the_same_at_one_level():
    _, truth = world()
    every = truth.candidates
    known = every.mean_ctr.astype(np.float64)
    loud = selling.at_level(every, known, 2.0)
    assert selling.sell(every, loud).revenue.mean() != pytest.approx(
        selling.sell(every, known).revenue.mean()
    )
    revenues = [selling.sell(every, selling.at_level(every, each)).revenue.sum() for each in (known, loud)]
    assert revenues[0] == pytest.approx(revenues[1], rel=1e-6)


def test_a_bias_by_bid_can_be_lent_to_the_truth():
    _, truth = world()
    every = truth.candidates
    lent = [2.0 - 0.1 * k for k in range(10)]
    found = selling.with_bias(every, lent)
    tenth = selling.deciles(every.bid_micros)
    expected = [copc(every.mean_ctr[tenth == k], found[tenth == k]) for k in range(10)]
    np.testing.assert_allclose(expected, lent, rtol=1e-3)


def test_who_promises_more_sells_more_and_worse():
    _, truth = world()
    levels = selling.promises(truth.candidates)
    sold = [line["sold"] for line in levels]
    assert sold == sorted(sold)
    assert sold[0] < sold[-1]
    value = {line["level"]: line["value"] for line in levels}
    assert value[1.0] > max(value[0.7], value[2.0])
    assert all(line["revenue"] == pytest.approx(line["ours"] + line["outsiders"]) for line in levels)


def test_the_study_judges_all_methods_beside_the_base(tmp_path, monkeypatch, one_thread):
    few = {method: settings[:2] for method, settings in aie.GRID.items()}
    monkeypatch.setattr(aie, "GRID", few)
    dataset, truth = world()
    truth.candidates.save(tmp_path)
    found = aie.study(dataset, CONFIG, [0, 1], folder=tmp_path)
    assert [trial["seed"] for trial in found["trials"]] == [0, 1]
    assert len(found["tried"]) == sum(map(len, few.values()))
    for method, setting in found["chosen"].items():
        if method in few:
            losses = [each["loss"] for each in found["tried"] if each["method"] == method]
            assert setting == few[method][int(np.argmin(losses))]
    assert found["chosen"][aie.BOTH] == found["chosen"]["AM2 dynamic"] | found["chosen"]["BCM"]
    methods = found["trials"][0]["methods"]
    assert list(methods) == [aie.BASE, *few, aie.BOTH]
    base = methods[aie.BASE]
    assert base["revenue test"] == {"difference": 0.0, "error": 0.0, "p": 1.0}
    assert base["COPC"] > 1.3
    assert abs(base["calibrated"]["COPC"] - 1) < base["COPC"] - 1
    assert methods["BCM"]["AUC"] != base["AUC"]
    assert found["best possible"]["regret"] == 0
    assert found["best possible"]["COPC"] == pytest.approx(1, abs=0.05)
    told = tell_aie(found)
    assert "hidden quality of winners" in told
    assert "BCM (bid_weight" in told
    assert told.count("| base ") == 4
    assert "| COPC | sold by us |" in told
    assert base["revenue at COPC 1"] != base["revenue"]
    assert base["revenue at COPC 1 test"]["difference"] == 0
    assert told.count(", at COPC 1 ") == 2 * (len(methods) - 1)


def test_a_world_that_is_too_small_or_has_no_candidates_is_refused(tmp_path):
    dataset, truth = world()
    with pytest.raises(DataError, match="simulate-auctions"):
        aie.study(dataset, CONFIG, [0], folder=tmp_path)
    truth.candidates.first_auctions(50).save(tmp_path)
    with pytest.raises(DataError, match="100 with a click among them are needed"):
        aie.study(dataset, CONFIG, [0], folder=tmp_path)
    assert len(Candidates.load(tmp_path, dataset).auction_ids) <= 50
