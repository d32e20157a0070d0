"""The laws that models/data/auctions.py and docs/auction-bias.md claim, each with a bound that can fail."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from models.data.auctions import simulate_auctions
from models.data.candidates import CANDIDATES, Candidates
from models.data.command import main
from models.data.dataset import load_dataset, write_dataset
from models.data.problems import DataError
from models.data.simulated_ads import PLACEMENTS, draw_world
from models.data.simulated_auctions import (
    _within_budgets,
    decide,
    draw_auctions,
    draw_entrants,
)
from models.data.simulated_items import DAY_MS, START_MS
from retrieval.metrics import auc, copc, ece

AUCTIONS = 60_000


@pytest.fixture(scope="module")
def world():
    return simulate_auctions(AUCTIONS, seed=5, held_out=0.3)


@pytest.fixture(scope="module")
def block():
    """A drawn world, 3,000 auctions of one day and what enters them."""
    rng = np.random.default_rng(0)
    drawn = draw_world(200, 40, 1.0, rng)
    asked = draw_auctions(drawn, 3000, 1, rng)
    return drawn, asked, draw_entrants(drawn, asked, 0.7, 0.25, rng)


def test_equal_seeds_give_equal_worlds_and_others_do_not():
    first, second, other = (simulate_auctions(2000, seed, users=50) for seed in (1, 1, 2))
    assert first[0].fingerprint == second[0].fingerprint != other[0].fingerprint
    np.testing.assert_array_equal(first[1].candidates.ctr, second[1].candidates.ctr)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"auctions": 10}, "1,000 auctions"), ({"noise": 0.0}, "noise"), ({"hidden": -1.0}, "hidden"),
     ({"held_out": 1.0}, "held_out")],
)  # fmt: skip
def test_a_world_that_cannot_be_is_refused_by_name(wrong, named):
    with pytest.raises(ValueError, match=named):
        simulate_auctions(**({"auctions": 2000, "seed": 0} | wrong))


def test_clicks_follow_the_true_ctr_in_the_log_and_among_all_candidates(world):
    dataset, truth = world
    shown, every = dataset.impressions, truth.candidates
    for clicked, ctr in ((shown.clicked, truth.impression_ctr), (every.clicked, every.ctr)):
        assert copc(clicked, ctr) == pytest.approx(1, abs=0.06)
        assert ece(clicked, ctr) < 0.006


def test_later_positions_and_placements_have_their_effect(world):
    _, truth = world
    every = truth.candidates
    for place, known in enumerate(PLACEMENTS, start=1):
        here = every.placement == place
        assert set(np.unique(every.position[here])) == set(range(known.positions))
    feed = every.placement == 1
    odds = {
        place: float(np.mean(every.mean_ctr[feed & (every.position == place)])) for place in (0, 5)
    }  # fmt: skip
    assert odds[5] / odds[0] == pytest.approx(6**-0.35, rel=0.06)


def test_the_mean_ctr_is_the_true_one_averaged_over_what_is_hidden(world):
    every = world[1].candidates
    assert float(every.ctr.mean()) == pytest.approx(float(every.mean_ctr.mean()), rel=0.01)
    assert every.hidden.std() == pytest.approx(0.7, rel=0.01)
    assert abs(np.corrcoef(every.hidden, every.mean_ctr)[0, 1]) < 0.01


def test_only_what_was_won_is_logged_and_nothing_of_the_held_out_auctions(world):
    dataset, truth = world
    shown, every = dataset.impressions, truth.candidates
    assert len(set(shown.request_ids)) == len(shown)
    assert len(shown) < 0.7 * 0.6 * AUCTIONS
    assert not set(shown.request_ids) & set(every.auction_ids)
    assert shown.time_ms.max() <= every.time_ms.min()
    assert dataset.event_time_ms.max() <= every.time_ms.min() + 2000
    assert dataset.events == shown.clicked.sum()
    per_auction = np.bincount(every.auction, minlength=len(every.auction_ids))
    assert len(every.auction_ids) == round(0.3 * AUCTIONS)
    assert 5 < per_auction.mean() <= 8
    assert np.bincount(every.auction, every.won).max() == 1


def test_an_advertiser_takes_part_once_and_no_bid_is_below_the_floor(world):
    every, advertiser = world[1].candidates, world[1].advertiser
    pairs = every.auction.astype(np.int64) * 1000 + advertiser[every.item]
    assert len(np.unique(pairs)) == len(pairs)
    assert np.all(every.bid_micros >= every.floor_micros)


def test_bids_vary_as_the_law_says():
    rng = np.random.default_rng(1)
    drawn = draw_world(50, 3000, 5.0, rng)
    asked = draw_auctions(drawn, 20_000, 3, rng)
    entrants = draw_entrants(drawn, asked, 0.7, 0.25, rng)
    modifier = np.array([place.bid_modifier for place in PLACEMENTS])[asked.placement[:, None]]
    noise = np.log(entrants.bid_micros / (drawn.standing_bid_micros[entrants.ad] * modifier))
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    log_value = np.log(drawn.advertisers.value_micros)
    assert log_value.std() == pytest.approx(0.7, rel=0.05)
    assert log_value.mean() == pytest.approx(np.log(500_000), abs=0.05)
    shade = drawn.advertisers.shade
    assert (shade == 1).mean() == pytest.approx(0.5, abs=0.03)
    assert np.quantile(shade[shade < 1], [0.0, 0.5, 1.0]) == pytest.approx([0.5, 0.7, 0.9], abs=0.02)
    # What a click is worth has nothing to do with how often there is one.
    assert abs(np.corrcoef(np.log(drawn.standing_bid_micros), drawn.appeal)[0, 1]) < 0.03


def test_the_winner_pays_the_least_bid_that_would_have_won(block):
    _, asked, entrants = block
    outcome = decide(asked, entrants, entrants.takes_part, 0.25)
    won = np.flatnonzero(outcome.column >= 0)
    at = (won, outcome.column[won])
    floor = np.array([place.floor_micros for place in PLACEMENTS])[asked.placement[won]]
    price, bid = outcome.price_micros[won], entrants.bid_micros[at]
    assert np.all((floor <= price) & (price <= bid))
    assert 0.2 < (price > floor).mean() < 1

    def with_bid(bids):
        changed, shift = entrants.bid_micros.copy(), np.zeros(entrants.bid_micros.shape)
        changed[at], shift[at] = bids, np.log(bids / bid)
        return decide(
            asked,
            replace(entrants, bid_micros=changed, score=entrants.score + shift, noisy=entrants.noisy + shift),
            entrants.takes_part,
            0.25,
        )

    raised = with_bid(bid * 3)
    np.testing.assert_array_equal(raised.column[won], outcome.column[won])
    np.testing.assert_allclose(raised.price_micros[won], price, atol=1)
    still = with_bid(np.minimum(price + 1, bid))
    np.testing.assert_array_equal(still.column[won], outcome.column[won])
    above = price > floor
    less = with_bid(np.maximum(price - 2, 1))
    assert np.all(less.column[won][above] != outcome.column[won][above])


def test_outsiders_that_bid_more_take_the_auction(block):
    _, asked, entrants = block
    outcome = decide(asked, entrants, entrants.takes_part, 0.25)
    best = np.where(entrants.takes_part, entrants.noisy, -np.inf).max(axis=1)
    np.testing.assert_array_equal(outcome.column >= 0, best > entrants.outside_noisy)
    assert 0.2 < (outcome.column >= 0).mean() < 0.8
    assert not outcome.clicked[outcome.column < 0].any()
    assert not outcome.price_micros[outcome.column < 0].any()


def test_the_propensity_is_how_often_the_policy_would_show_the_ad(block):
    drawn, asked, _ = block
    rng = np.random.default_rng(3)
    few = asked.at(slice(0, 20))
    entrants = draw_entrants(drawn, few, 0.7, 1.0, rng)
    outcome = decide(few, entrants, entrants.takes_part, 1.0)
    rounds, wins = 4000, np.zeros(entrants.ad.shape)
    for _ in range(rounds):
        again = replace(
            entrants,
            noisy=entrants.score + rng.gumbel(size=entrants.score.shape),
            outside_noisy=np.log(entrants.outside_weight) + rng.gumbel(size=len(few)),
        )
        column = decide(few, again, entrants.takes_part, 1.0).column
        wins[column >= 0, column[column >= 0]] += 1
    won = np.flatnonzero(outcome.column >= 0)
    expected = outcome.propensity[won]
    seen = wins[won, outcome.column[won]] / rounds
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / rounds)


def test_inverse_propensities_count_all_candidates():
    dataset, truth = simulate_auctions(AUCTIONS, seed=2, noise=1.0, held_out=0.2)
    shown, every = dataset.impressions, truth.candidates
    logged = 0.8 * AUCTIONS
    per_auction = len(every) / len(every.auction_ids)
    assert (1 / shown.propensity).sum() / logged == pytest.approx(per_auction, rel=0.05)
    # Weighted so, the log tells what all candidates would be clicked, which it does not as it stands.
    weighted = np.average(truth.impression_ctr, weights=1 / shown.propensity)
    assert weighted == pytest.approx(every.ctr.mean(), rel=0.15)
    assert truth.impression_ctr.mean() > 1.5 * every.ctr.mean()


def test_no_budget_is_ever_overspent_and_some_run_out(world):
    dataset, truth = world
    shown = dataset.impressions
    clicked = shown.clicked
    day = ((shown.time_ms - START_MS) // DAY_MS).astype(int)
    spent = np.zeros((len(truth.daily_budget_micros), 14))
    payer = truth.advertiser[shown.item]
    np.add.at(spent, (payer[clicked], day[clicked]), shown.market_price_micros[clicked])
    share = spent / truth.daily_budget_micros[:, None]
    assert share.max() <= 1
    assert share.max() > 0.6


def test_budgets_end_auctions_exactly_where_one_auction_after_the_other_would(block):
    drawn, asked, entrants = block
    whose, cap = drawn.advertiser[entrants.ad], drawn.advertisers.cap_micros
    start = (cap * np.random.default_rng(4).uniform(0.9, 1.4, len(cap))).astype(np.int64)
    left = start.copy()
    outcome = _within_budgets(drawn, asked, entrants, left, 0.25)

    money, columns = start.copy(), []
    for a in range(len(asked)):
        one = type(entrants)(*(getattr(entrants, each.name)[a : a + 1] for each in fields(entrants)))
        able = one.takes_part & (money >= cap)[whose[a : a + 1]]
        alone = decide(asked.at(slice(a, a + 1)), one, able, 0.25)
        columns.append(int(alone.column[0]))
        if alone.clicked[0]:
            money[whose[a, columns[-1]]] -= alone.price_micros[0]
    np.testing.assert_array_equal(outcome.column, columns)
    np.testing.assert_array_equal(left, money)
    assert (money < cap).sum() > (start < cap).sum() + 3
    assert money.min() >= 0


def test_among_winners_high_bids_go_with_low_hidden_quality(world):
    dataset, truth = world
    bid = dataset.impressions.bid_micros
    high = bid > np.quantile(bid, 0.8)
    low = bid < np.quantile(bid, 0.2)
    assert truth.impression_hidden[low].mean() > truth.impression_hidden[high].mean() + 0.25
    assert truth.impression_hidden[high].mean() > 0.2
    every = truth.candidates
    assert abs(np.corrcoef(np.log(every.bid_micros), every.hidden)[0, 1]) < 0.015


def test_without_hidden_quality_winners_are_clicked_as_often_as_they_promise():
    def promised(every, chosen):
        return copc(every.clicked[chosen & every.won], every.mean_ctr[chosen & every.won])

    for hidden in (0.7, 0.0):
        _, truth = simulate_auctions(AUCTIONS, seed=5, hidden=hidden, held_out=0.9)
        every = truth.candidates
        low = every.bid_micros < np.median(every.bid_micros[every.won])
        found = [promised(every, low), promised(every, ~low)]
        if hidden:
            assert found[0] < 0.6
            assert found[0] + 0.05 < found[1] < 0.8
        else:
            assert found == pytest.approx([1, 1], abs=0.12)
            assert auc(every.clicked, every.mean_ctr) > 0.7


def test_a_written_world_is_read_again_with_its_candidates(tmp_path):
    dataset, truth = simulate_auctions(3000, seed=1, users=100)
    folder = tmp_path / "world"
    write_dataset(folder, dataset, lambda inside: truth.save(inside, 1))
    loaded = load_dataset(folder)
    assert loaded.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(loaded.impressions.placement, dataset.impressions.placement)
    assert loaded.placements == ("default", *(place.name for place in PLACEMENTS))
    again = Candidates.load(folder, loaded)
    for name in ("auction", "user", "item", "time_ms", "placement", "position", "ctr", "hidden", "clicked"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth.candidates, name), err_msg=name)
    assert json.loads((folder / "truth.json").read_text())["hidden"] == 0.7


def test_candidates_of_another_data_set_are_refused(tmp_path):
    dataset, truth = simulate_auctions(3000, seed=1, users=100)
    with pytest.raises(DataError, match="simulate-auctions"):
        Candidates.load(tmp_path, dataset)
    truth.candidates.save(tmp_path)
    other = replace(dataset, user_ids=[f"stranger-{row}" for row in range(dataset.users)])
    with pytest.raises(DataError, match=f"{CANDIDATES}: row 1: user_id 'user-.*' is not of this data set"):
        Candidates.load(tmp_path, other)
    (tmp_path / CANDIDATES).write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        Candidates.load(tmp_path, dataset)


def test_the_command_writes_world_truth_and_candidates(tmp_path, capsys):
    out = tmp_path / "world"
    made = ["simulate-auctions", "--auctions", "2000", "--users", "50", "--held-out", "0.2"]
    assert main([*made, "--out", str(out)]) == 0
    assert "candidates of 400 held-out auctions" in capsys.readouterr().out
    assert len(Candidates.load(out, load_dataset(out)).auction_ids) == 400
    assert main([*made, "--noise", "0", "--out", str(tmp_path / "other")]) == 1
    assert "noise: expected 0.05 to 5, got 0.0" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
