from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch

from models.data.auctions import simulate_auctions
from models.data.columns import ABSENT
from models.data.vocabulary import build_schema
from models.export.graphs import request_axes
from models.export.ranker_graphs import serving_form
from models.export.samples import sample_candidates, sample_history, sample_query
from models.export.translate import Blueprint, translate
from models.training.auction import (
    Exposure,
    PriceScale,
    bid_ranks,
    inverse_propensities,
    sample_weights,
)
from models.training.config import AuctionConfig, RankerConfig
from models.training.features import Features
from models.training.impressions import train_impressions
from models.training.shown import requests_at, sponsored
from models.training.timeline import Requests
from retrieval.metrics import auc, copc

QUICK = RankerConfig(
    dim=8, experts=2, hidden=(16, 8), activation=4, dropout=0.0, id_dropout=0.0, contrast_weight=0.0,
    learning_rate=1e-2, batch=64, epochs=3,
)  # fmt: skip


@cache
def auctions(noise=0.25):
    """A small world's features and sponsored impressions, the last fifth apart."""
    dataset, truth = simulate_auctions(24_000, seed=3, users=300, advertisers=12, days=4, noise=noise)
    features = Features.of(dataset, build_schema(dataset, np.arange(dataset.events), history_length=5))
    shown = sponsored(dataset, features.timeline)
    cut = int(shown.requests.now_ms[round(0.8 * len(shown))])
    return dataset, truth, features, shown.before(cut), shown.since(cut)


def one_by_one(bids, clicked, scenario, propensity=None):
    count = len(bids)
    zeros = np.zeros(count, np.int64)
    requests = Requests(
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
        zeros,
        np.asarray(scenario, np.int16),
        zeros,
        zeros,
    )
    _, _, _, train, _ = auctions()
    return replace(
        train.at(slice(0, count)),
        requests=requests,
        bid_micros=np.asarray(bids, np.int64),
        clicked=np.asarray(clicked, bool),
        propensity=np.asarray(propensity if propensity is not None else [1.0] * count, np.float32),
    )


def test_bids_are_ranked_within_their_scenario_and_ties_share_a_rank():
    ranks = bid_ranks(np.array([5, 1, 3, 900, 700, 3, 42]), np.array([0, 0, 0, 1, 1, 0, 2]))
    np.testing.assert_allclose(ranks, [1, 0, 0.5, 1, 0, 0.5, 0.5])


def test_clicks_weigh_by_the_rank_of_their_bid_and_one_on_average():
    shown = one_by_one([10, 20, 30, 40], [True, False, False, True], [0, 0, 0, 0])
    weights = sample_weights(shown, AuctionConfig(bid_weight=2.0))
    np.testing.assert_allclose(weights, [0.5, 1, 1, 1.5])
    np.testing.assert_array_equal(sample_weights(shown, AuctionConfig()), np.ones(4))


def test_inverse_propensities_are_clipped_and_scaled():
    shown = one_by_one([1, 1, 1], [False] * 3, [0] * 3, [0.5, 0.25, 0.01])
    np.testing.assert_allclose(inverse_propensities(shown, 6.0), np.array([2, 4, 6]) / 4)
    unknown = one_by_one([1, 1], [False] * 2, [0] * 2, [0.5, np.nan])
    with pytest.raises(ValueError, match=r"propensity_clip: 1 of 2 sponsored impressions have no propensity"):
        sample_weights(unknown, AuctionConfig(propensity_clip=5))


def test_prices_are_standardised_and_come_back():
    price = np.array([100, 100_000, ABSENT, 5_000])
    scale = PriceScale.of(price)
    z = scale.standardised(price)
    assert z[2] == 0
    assert z[[0, 1, 3]].mean() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(scale.micros(z)[[0, 1, 3]], price[[0, 1, 3]], rtol=1e-4)
    assert PriceScale.of(np.array([ABSENT])) == PriceScale(0.0, 1.0)


def test_a_place_counts_relative_to_the_first_position_and_unknown_depths_as_the_last():
    exposure = Exposure(2, 3)
    with torch.no_grad():
        exposure.placement.weight.copy_(torch.tensor([[0.5], [1.0]]))
        exposure.position.weight.copy_(torch.tensor([[0.2], [0.1], [-0.3]]))
    added = exposure(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 2, 9]))
    torch.testing.assert_close(added, torch.tensor([0.5, 0.9, 0.5, 0.5]))


def test_impressions_have_the_clicks_before_them_as_history():
    dataset, _, features, train, later = auctions()
    timeline = features.timeline
    for part in (train, later):
        for r in np.linspace(0, len(part) - 1, 50).astype(int).tolist():
            user, now = part.requests.user[r], part.requests.now_ms[r]
            before = np.flatnonzero((dataset.event_user == user) & (dataset.event_time_ms < now))
            history = timeline.item[part.requests.begin[r] : part.requests.end[r]]
            np.testing.assert_array_equal(history, dataset.event_item[before])
    assert (later.requests.end > later.requests.begin).mean() > 0.5


def test_data_without_sponsored_impressions_are_refused():
    dataset, _, features, _, _ = auctions()
    with pytest.raises(ValueError, match="no sponsored impressions"):
        sponsored(replace(dataset, impressions=None), features.timeline)


@cache
def fitted(noise=0.25, **auction):
    _, _, features, train, later = auctions(noise)
    return train_impressions(features, train, later, QUICK, AuctionConfig(**auction), 0)


def test_the_ctr_is_learned_and_fits_the_later_log(one_thread):
    _, _, _, _, later = auctions()
    chance = fitted().chances(later.requests, later.position)
    assert auc(later.clicked, chance) > 0.56
    assert copc(later.clicked, chance) == pytest.approx(1, abs=0.2)


def test_the_same_seed_gives_the_same_model(one_thread):
    _, _, features, train, later = auctions()
    few = train.at(slice(0, 2000))
    first, second = (
        train_impressions(features, few, later, QUICK, AuctionConfig(market_price_weight=0.1), 4)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.logits(later.requests), second.logits(later.requests))


def test_a_click_on_a_high_bid_counts_for_its_ad(one_thread):
    _, _, features, train, later = auctions()
    rng = np.random.default_rng(0)
    item = rng.integers(0, 2, len(train)).astype(np.int32)
    alike = replace(
        train,
        requests=replace(train.requests, target=item),
        bid_micros=np.where(item == 1, 900_000, 300_000) + rng.integers(0, 1000, len(item)),
        clicked=rng.random(len(item)) < 0.1,
    )
    lifted = []
    for beta in (0.0, 4.0):
        model = train_impressions(
            features, alike, later.at(slice(0, 0)), QUICK, AuctionConfig(bid_weight=beta), 0
        )
        chance = model.chances(alike.requests, alike.position)
        lifted.append(chance[item == 1].mean() / chance[item == 0].mean())
    # Ranks are 1/4 and 3/4 on average, so that clicks weigh 2/3 and 4/3.
    assert lifted[0] == pytest.approx(1, abs=0.25)
    assert lifted[1] / lifted[0] == pytest.approx(1.9, abs=0.4)


def test_inverse_propensities_bring_the_promise_down_to_what_all_candidates_get(one_thread):
    # With so much exploration that the weights are moderate.
    _, truth, features, _, _ = auctions(1.0)
    every = truth.candidates
    asked = requests_at(features.timeline, every.user, every.item, every.time_ms, every.placement)
    base, weighed = (
        copc(every.ctr, fitted(1.0, **setting).chances(asked, every.position))
        for setting in ({}, {"propensity_clip": 100.0})
    )
    assert base > 1.5
    assert abs(weighed - 1) < 0.5 * (base - 1)


@pytest.mark.parametrize("network", ["dynamic", "static"])
def test_market_prices_are_predicted_better_than_by_their_median(network, one_thread):
    _, _, _, _, later = auctions()
    model = fitted(market_price_weight=0.5, market_price_network=network)
    true = model.scale.standardised(later.market_price_micros)
    away = np.abs(model.prices(later.requests) - true).mean()
    assert away < 0.9 * np.abs(true - np.median(true)).mean()


def test_prices_of_a_model_without_them_are_refused():
    _, _, _, _, later = auctions()
    with pytest.raises(ValueError, match="market_price_weight = 0"):
        fitted().prices(later.requests)


def served(model):
    """Operators, in order, and shapes of the weights of the ranker's graph as it is exported."""
    ranker, schema, random = model.ranker, auctions()[2].schema, np.random.default_rng(0)
    width = QUICK.dim - 1
    inputs = sample_history(random, schema, width, 1, 4) | sample_candidates(random, width, 5)
    inputs |= {"query": sample_query(random, ranker.query.in_features)}
    exported = translate(Blueprint("ranker", serving_form(ranker), inputs, request_axes(), ("logit",)))
    graph = onnx.load_model_from_string(exported.onnx).graph
    return [node.op_type for node in graph.node], sorted(tuple(each.dims) for each in graph.initializer)


def test_the_exported_graph_is_the_same_with_and_without_the_plug_ins(one_thread):
    plain = served(fitted().as_ranker())
    aided = served(fitted(market_price_weight=0.5, bid_weight=4.0).as_ranker())
    assert len(plain[0]) > 20
    assert plain == aided


def test_a_selection_promises_all_less_than_winners_got_and_winners_what_they_got(one_thread):
    _, _, features, train, later = auctions()
    with_prices = AuctionConfig(market_price_weight=0.3, selection=True)
    model = train_impressions(features, train, later, QUICK, with_prices, 0)
    got = float(later.clicked.mean())
    assert model.won_chances(later).mean() == pytest.approx(got, rel=0.25)
    assert model.chances(later.requests, later.position).mean() < 0.85 * model.won_chances(later).mean()


def test_without_a_selection_winners_are_like_all(one_thread):
    _, _, features, train, later = auctions()
    model = train_impressions(features, train, later, QUICK, AuctionConfig(market_price_weight=0.1), 0)
    np.testing.assert_allclose(
        model.won_chances(later), model.chances(later.requests, later.position), rtol=1e-5
    )
