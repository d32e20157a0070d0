"""Intervals hold the truth as often as they say, on logs whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.data.open_bandit import read_open_bandit
from models.data.problems import DataError
from models.data.simulator import simulate
from models.data.truth import click_logit, sigmoid
from models.studies import exploration
from models.studies.off_policy import (
    ESTIMATORS,
    Log,
    click_model,
    coverage,
    of_dataset,
    of_open_bandit,
    values,
)
from tests.unit.models.studies.worlds import split_world

HEAD = ",timestamp,item_id,position,click,propensity_score,user_feature_0\n"


def test_intervals_from_the_simulators_log_hold_the_truth_at_their_stated_rate() -> None:
    """150 logs: the share has a standard error of 0.018 at 95% and of 0.041 at 50%."""
    found = coverage(seed=3, redraws=150, users=120, items=60)
    for name, policy in found["policies"].items():
        for estimator in ESTIMATORS:
            each = policy[estimator]
            where = (name, estimator, each)
            assert 0.89 <= each["covers 0.95"] <= 0.995, where
            assert 0.36 <= each["covers 0.5"] <= 0.64, where
            assert abs(each["mean"] - policy["truth"]) < 4 * each["spread"] / np.sqrt(150), where
            assert each["stated error"] == pytest.approx(each["spread"], rel=0.25), where


def test_intervals_from_lists_of_our_own_with_estimated_propensities_hold_the_truth() -> None:
    found = exploration.coverage(seed=0, redraws=40, requests=150, contexts=6)
    for estimator in ("IPS", "SNIPS"):
        each = found[estimator]
        assert each["covers 0.95"] >= 0.8, each
        assert 0.25 <= each["covers 0.5"] <= 0.75, each
        assert each["mean"] == pytest.approx(found["truth"], rel=0.06), each


def test_wrong_propensities_are_noticed() -> None:
    """As if all places had been filled alike: the same clicks then say something else."""
    rng = np.random.default_rng(0)
    chance, rate = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.3, 0.8])
    item = rng.choice(3, 20_000, p=chance)
    log = Log(
        item,
        np.zeros(20_000, np.int64),
        np.zeros(20_000, np.int64),
        np.arange(20_000),
        chance[item],
        rng.random(20_000) < rate[item],
        items=3,
    )
    wrong = Log(
        **{name: getattr(log, name) for name in Log.__slots__} | {"propensity": np.full(20_000, 1 / 3)}
    )
    target = np.full((1, 3), 1 / 3)
    assert all(each.covers(0.4, 0.999) for each in values(log, target, 0).values())
    assert not any(each.covers(0.4, 0.999) for each in values(wrong, target, 0).values())


def test_the_click_model_multiplies_item_and_place() -> None:
    places, item = np.tile([0, 1], 4000), np.repeat([0, 1], 4000)
    rate = np.array([[0.8, 0.4], [0.2, 0.1]])
    clicked = np.random.default_rng(1).random(8000) < rate[item, places]
    log = Log(item, places, np.zeros(8000, np.int64), np.arange(8000), np.full(8000, 0.5), clicked, 2)
    np.testing.assert_allclose(click_model(log), rate, atol=0.03)


def test_a_data_sets_log_is_judged_beside_its_own_value() -> None:
    dataset, _ = simulate(users=200, items=60, seed=1)
    found = of_dataset(dataset, seed=0)
    logged, policies = found["logged"], found["policies"]
    assert set(policies) == {"uniform", "by clicks"}
    for estimator in ESTIMATORS:
        assert policies["uniform"][estimator]["high"] < logged["low"]
        assert policies["uniform"][estimator]["value"] < policies["by clicks"][estimator]["value"]


def test_a_data_sets_log_with_empty_places_tells_the_truth() -> None:
    """New items leave empty places in the log; what is there from the start has its true value."""
    dataset, truth = simulate(users=600, items=60, seed=4)
    shown = dataset.impressions
    assert shown is not None
    half = shown.request >= shown.request[len(shown) // 2]
    there = np.flatnonzero(dataset.item_created_ms <= shown.time_ms[half].min())
    asked = np.unique(shown.request[half], return_index=True)[1]
    user, interest = shown.user[half][asked], truth.impression_interest[half][asked]
    affinity = truth.interests[user, interest] @ truth.item_vectors[there].T
    popularity = truth.item_popularity[there]
    value = np.mean([sigmoid(click_logit(affinity, popularity, place)).mean() for place in range(10)])
    for found in of_dataset(dataset, seed=0)["policies"]["uniform"].values():
        wide = 1.5 * (found["high"] - found["low"]) / 2
        assert abs(found["value"] - value) < wide, (found, value)


def test_a_data_set_without_such_a_log_is_refused() -> None:
    with pytest.raises(ValueError, match="table of impressions with propensities"):
        of_dataset(replace(split_world(), impressions=None), seed=0)


def bandit_folder(folder: Path, seed: int = 0, rows: int = 4000) -> Path:
    """Three items with true rates 0.1, 0.2, 0.3: logged alike, and by a policy that prefers the last."""
    rng = np.random.default_rng(seed)
    for policy, chance in (("random", [1 / 3, 1 / 3, 1 / 3]), ("bts", [0.15, 0.25, 0.6])):
        for campaign in ("all", "men", "women"):
            item = rng.choice(3, rows, p=chance)
            click = rng.random(rows) < 0.1 * (item + 1)
            lines = [
                f"{n},2019-11-24,{i},{1 + n % 3},{int(c)},{chance[i]},x\n"
                for n, (i, c) in enumerate(zip(item.tolist(), click.tolist(), strict=True))
            ]
            (folder / policy / campaign).mkdir(parents=True)
            (folder / policy / campaign / f"{campaign}.csv").write_text(HEAD + "".join(lines))
    return folder


def test_the_uniform_policys_value_is_told_from_another_policys_log(tmp_path: Path) -> None:
    found = of_open_bandit(bandit_folder(tmp_path), seed=0)
    for campaign, each in found.items():
        assert each["bts, as logged"]["value"] > each["uniform, as logged"]["value"] + 0.02
        for estimator in ESTIMATORS:
            told = each["estimates"][estimator]
            assert abs(told["z"]) < 3.5, (campaign, estimator)
            assert abs(told["value"] - 0.2) < 0.04, (campaign, estimator)


def test_logs_that_are_none_are_refused_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pip download --no-deps obp"):
        read_open_bandit(tmp_path, "bts", "all")
    (tmp_path / "bts" / "all").mkdir(parents=True)
    (tmp_path / "bts" / "all" / "all.csv").write_text("item_id,click\n1,0\n")
    with pytest.raises(DataError, match=r"bts/all/all\.csv is no log"):
        read_open_bandit(tmp_path, "bts", "all")


def test_exploring_costs_at_once_and_knows_more_new_items() -> None:
    found = exploration.cost_and_gain(0, worlds=12, requests=300, users=60, items=200)
    costs = [found["widths"][width]["NDCG@10 while exploring"]["difference"] for width in ("0.5", "1", "2")]
    assert 0 > costs[0] > costs[1] > costs[2]
    more = found["widths"]["2"]["new items known"]
    assert more["difference"] > more["error"]
