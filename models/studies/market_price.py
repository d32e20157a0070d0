"""`cascada evaluate --study market-price`: AM2's head by itself, beside the best constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import ABSENT, Dataset
from models.data.vocabulary import build_schema
from models.networks.market_price import MARKET_PRICE_NETWORKS
from models.studies.towers import Fit
from models.training.auction import PriceScale
from models.training.config import AuctionConfig, TrainConfig
from models.training.features import Features
from models.training.ground import deterministic
from models.training.impressions import train_impressions
from models.training.shown import Shown, sponsored
from retrieval.metrics import mean_and_error, paired_test

Doubles = NDArray[np.float64]

TEST = 0.2
"""Share of the impressions, the newest, that are judged."""
CONSTANTS = ("mean", "median")
"""What every other way is tested against."""
LEAST = 10
"""Impressions of a placement that have a median of their own."""


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Learn market prices from the older impressions, judge the newer ones; plain JSON types.

    Prices are learned beside clicks with weight 1, unless the configuration says otherwise, for the epochs
    that it names: nothing is chosen, so that `fit` changes nothing.

    Raises:
        ValueError: there are no sponsored impressions with prices.
    """
    features = Features.of(
        dataset, build_schema(dataset, np.arange(dataset.events), history_length=config.history_length)
    )
    shown = sponsored(dataset, features.timeline)
    shown = shown.at(shown.market_price_micros != ABSENT)
    if len(shown) < 2 * LEAST:
        raise ValueError(f"{dataset.name}: {len(shown)} impressions have a market price, too few to learn")
    cut = int(shown.requests.now_ms[round(len(shown) * (1 - TEST))])
    train, test = shown.before(cut), shown.since(cut)
    trials = []
    for seed in seeds:
        deterministic(config.threads, seed)
        trials.append({"seed": seed, "methods": _methods(features, train, test, config, seed)})
    return {
        "dataset": dataset.name,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "impressions": len(train),
        "judged": len(test),
        "trials": trials,
    }


def _methods(features: Features, train: Shown, test: Shown, config: TrainConfig, seed: int) -> dict[str, Any]:
    """Absolute errors of each way to say a price, tested in pairs against the constants."""
    scale = PriceScale.of(train.market_price_micros)
    known = scale.standardised(train.market_price_micros).astype(np.float64)
    median = float(np.median(known))
    predicted: dict[str, Doubles] = {
        "mean": np.full(len(test), np.log1p(train.market_price_micros.mean()) - scale.mean) / scale.spread,
        "median": np.full(len(test), median),
        "median of the placement": placement_medians(train, test, known),
    }
    for name in MARKET_PRICE_NETWORKS:
        auction = AuctionConfig.model_validate(
            config.auction.model_dump()
            | {
                "market_price_network": name,
                "market_price_weight": config.auction.market_price_weight or 1.0,
            }
        )
        nobody = test.at(slice(0, 0))
        model = train_impressions(features, train, nobody, config.ranker, auction, seed)
        predicted[f"AM2 {name}"] = model.prices(test.requests).astype(np.float64)
    true = test.market_price_micros.astype(np.float64)
    log = {name: np.abs(z - scale.standardised(test.market_price_micros)) for name, z in predicted.items()}
    micros = {name: np.abs(scale.micros(z) - true) for name, z in predicted.items()}
    found: dict[str, Any] = {}
    for name in predicted:
        line: dict[str, float] = {}
        line["MAE, log"], line["MAE, log error"] = mean_and_error(log[name])
        line["MAE, micros"], line["MAE, micros error"] = mean_and_error(micros[name])
        for other in CONSTANTS:
            against = paired_test(log[name], log[other])
            line[f"against {other}"], line[f"p against {other}"] = against.difference, against.p_value
        found[name] = line
    return found


def placement_medians(train: Shown, test: Shown, known: Doubles) -> Doubles:
    """Of each judged impression the median of its placement's `known` prices; overall where that is rare."""
    found = np.full(len(test), float(np.median(known)))
    for place in np.unique(test.requests.placement):
        own = known[train.requests.placement == place]
        if len(own) >= LEAST:
            found[test.requests.placement == place] = np.median(own)
    return found
