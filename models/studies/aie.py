"""`cascada evaluate --study aie`: the bias of a log of won auctions, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.candidates import Candidates
from models.data.columns import Dataset
from models.data.problems import DataError
from models.data.vocabulary import build_schema
from models.studies.selling import DECILES, at_level, deciles, logit, promises, sell, with_bias
from models.studies.towers import Fit
from models.training.auction import inverse_propensities
from models.training.config import AuctionConfig, TrainConfig
from models.training.features import Features
from models.training.ground import deterministic
from models.training.impressions import ImpressionModel, train_impressions
from models.training.shown import Shown, requests_at, sponsored
from models.training.timeline import Requests
from ranking.platt import Platt
from retrieval.metrics import Comparison, auc, copc, log_loss, paired_test

Doubles = NDArray[np.float64]
Chosen = dict[str, dict[str, Any]]

VALIDATION = 0.15
"""Share of the logged impressions, the newest, that choose settings and fit the calibrator."""
CLIP = 50.0
"""Of the inverse propensities that validation is weighed by."""
LEAST_AUCTIONS = 100

GRID: Mapping[str, Sequence[dict[str, Any]]] = {
    "AM2 static": [
        {"market_price_weight": alpha, "market_price_network": "static"} for alpha in (0.03, 0.1, 0.3)
    ],
    "AM2 dynamic": [
        {"market_price_weight": alpha, "market_price_network": "dynamic"} for alpha in (0.03, 0.1, 0.3)
    ],
    "AM2 dynamic, selection": [
        {"market_price_weight": alpha, "market_price_network": "dynamic", "selection": True}
        for alpha in (0.1, 0.3, 1.0)
    ],
    "BCM": [{"bid_weight": beta} for beta in (0.5, 1.0, 2.0, 4.0, 8.0)],
    "inverse win probability": [{"propensity_clip": clip} for clip in (5.0, 20.0, 100.0)],
}
"""What validation chooses from, on the first seed; "AM2 dynamic and BCM" joins the two that were chosen."""
BOTH = "AM2 dynamic and BCM"
BASE = "base"


@dataclass(frozen=True)
class World:
    """The log, cut in time, and the held-out auctions as requests."""

    features: Features
    train: Shown
    validation: Shown
    candidates: Candidates
    asked: Requests


def study(
    dataset: Dataset,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    fit: Fit = "refit",
    folder: Path,
) -> dict[str, Any]:
    """Train each method on each seed, judge on all candidates of the held-out auctions; plain JSON types.

    `fit` changes nothing: settings and calibrator are validation's, nothing is refitted.

    Raises:
        DataError: `folder` holds no candidates, too few, or those of another data set.
        ValueError: the log has no sponsored impressions, or none has a propensity.
    """
    deterministic(config.threads, seeds[0])
    world = _world(dataset, config, Candidates.load(folder, dataset))
    chosen, tried = choose(world, config, seeds[0])
    return {
        "dataset": dataset.name,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "impressions": len(world.train),
        "validation": len(world.validation),
        "auctions": len(world.candidates.auction_ids),
        "candidates": len(world.candidates),
        "bias": bias(world),
        "chosen": chosen,
        "tried": tried,
        "best possible": _figures(world, world.candidates.mean_ctr.astype(np.float64)),
        "promises": promises(world.candidates),
        "trials": [_trial(world, config, chosen, seed) for seed in seeds],
    }


def _world(dataset: Dataset, config: TrainConfig, candidates: Candidates) -> World:
    if len(candidates.auction_ids) < LEAST_AUCTIONS or not candidates.clicked.any():
        raise DataError(
            f"{dataset.name}: {len(candidates.auction_ids)} held-out auctions, {LEAST_AUCTIONS} with a click "
            "among them are needed; simulate more"
        )
    known = np.arange(dataset.events)
    features = Features.of(dataset, build_schema(dataset, known, history_length=config.history_length))
    shown = sponsored(dataset, features.timeline)
    cut = int(shown.requests.now_ms[round(len(shown) * (1 - VALIDATION))])
    train, validation = shown.before(cut), shown.since(cut)
    if not (train.clicked.any() and validation.clicked.any()):
        raise ValueError(f"{dataset.name}: no click among the older or the newer impressions; simulate more")
    asked = requests_at(
        features.timeline, candidates.user, candidates.item, candidates.time_ms, candidates.placement
    )
    return World(features, train, validation, candidates, asked)


def bias(world: World) -> dict[str, Any]:
    """The bias itself, without any model: what all could know promises, against the clicks of what won.

    Per bid decile of the candidates: how many won, the hidden quality of all and of the winners, and the mean
    CTR over the true one among the winners (1 = the log is representative).
    """
    every = world.candidates
    decile = deciles(every.bid_micros)
    lines = []
    for k in range(DECILES):
        here, won = decile == k, (decile == k) & every.won
        known = bool(won.any())
        lines.append(
            {
                "won": float(every.won[here].mean()),
                "hidden": float(every.hidden[here].mean()),
                "hidden of winners": float(every.hidden[won].mean()) if known else None,
                "promised over true": copc(every.ctr[won], every.mean_ctr[won]) if known else None,
            }
        )
    return {"deciles": lines}


def choose(world: World, config: TrainConfig, seed: int) -> tuple[Chosen, list[dict[str, Any]]]:
    """The setting of each method with the least `validation_loss`."""
    chosen: Chosen = {BASE: {}}
    tried = []
    for method, settings in GRID.items():
        losses = []
        for each in settings:
            model = _fitted(world, config, each, seed)
            losses.append(validation_loss(world, model))
            tried.append({"method": method, **each, "loss": losses[-1]})
        chosen[method] = dict(settings[int(np.argmin(losses))])
    chosen[BOTH] = chosen["AM2 dynamic"] | chosen["BCM"]
    return chosen, tried


def validation_loss(world: World, model: ImpressionModel) -> float:
    """Log loss of the validation slice after the calibrator, weighed by inverse propensities.

    The weights make that slice of the log stand for all candidates; a plain log loss would prefer whatever
    repeats the log.
    """
    later = world.validation
    own = model.won_chances(later).astype(np.float64)
    chance = np.clip(calibrated(world, model, own), 1e-7, 1 - 1e-7)
    losses = -np.where(later.clicked, np.log(chance), np.log1p(-chance))
    return float(np.average(losses, weights=inverse_propensities(later, CLIP)))


def _fitted(world: World, config: TrainConfig, setting: Mapping[str, Any], seed: int) -> ImpressionModel:
    auction = AuctionConfig.model_validate({**config.auction.model_dump(), **setting})
    return train_impressions(world.features, world.train, world.validation, config.ranker, auction, seed)


def _trial(world: World, config: TrainConfig, chosen: Chosen, seed: int) -> dict[str, Any]:
    chances = {}
    for method, setting in chosen.items():
        model = _fitted(world, config, setting, seed)
        raw = model.chances(world.asked, world.candidates.position).astype(np.float64)
        chances[method] = (raw, calibrated(world, model, raw))
    base, base_calibrated = chances[BASE]
    methods = {}
    for method, (raw, corrected) in chances.items():
        methods[method] = {
            **_figures(world, raw),
            **tested(world, raw, base),
            "calibrated": _figures(world, corrected) | tested(world, corrected, base_calibrated),
        }
    return {"seed": seed, "methods": methods}


def calibrated(world: World, model: ImpressionModel, raw: Doubles) -> Doubles:
    """The chances after Platt's calibrator, fitted on validation with inverse propensities as weights."""
    later = world.validation
    own = logit(model.won_chances(later))
    platt = Platt.fit(own, later.clicked.astype(np.float64), inverse_propensities(later, CLIP))
    found: Doubles = platt(logit(raw))
    return found


def _figures(world: World, chance: Doubles) -> dict[str, Any]:
    """Of chances [C] for all candidates: discrimination, calibration by bid, and what re-ranking earns."""
    every = world.candidates
    decile = deciles(every.bid_micros)
    by_decile = [copc(every.ctr[decile == k], chance[decile == k]) for k in range(DECILES)]
    sold = sell(every, chance)
    best = sell(every, every.mean_ctr.astype(np.float64))
    return {
        "AUC": auc(every.clicked, chance),
        "log loss": log_loss(every.clicked, chance),
        "COPC": copc(every.ctr, chance),
        "COPC by bid": by_decile,
        "worst bias": float(max(abs(each - 1) for each in by_decile)),
        "spread by bid": max(by_decile) / min(by_decile) - 1,
        "revenue": float(sold.revenue.mean()),
        "value": float(sold.value.mean()),
        "regret": float(1 - sold.value.sum() / best.value.sum()),
        "revenue at COPC 1": float(sell(every, at_level(every, chance)).revenue.mean()),
        "revenue of its bias": float(sell(every, with_bias(every, by_decile)).revenue.mean()),
    }


def tested(world: World, chance: Doubles, base: Doubles) -> dict[str, Any]:
    """Paired tests over auctions against the base: revenue, value, and log loss (mean of an auction).

    Revenue also with both methods' promises brought to COPC 1.
    """
    every = world.candidates
    ours, theirs = sell(every, chance), sell(every, base)
    level, its_level = (sell(every, at_level(every, each)).revenue for each in (chance, base))
    return {
        "revenue test": _told(paired_test(ours.revenue, theirs.revenue)),
        "revenue at COPC 1 test": _told(paired_test(level, its_level)),
        "value test": _told(paired_test(ours.value, theirs.value)),
        "log loss test": _told(paired_test(_losses(every, chance), _losses(every, base))),
    }


def _told(test: Comparison) -> dict[str, float]:
    return {"difference": test.difference, "error": test.standard_error, "p": test.p_value}


def _losses(every: Candidates, chance: Doubles) -> Doubles:
    """Mean log loss of each auction that has candidates."""
    p = np.clip(chance, 1e-7, 1 - 1e-7)
    losses = -np.where(every.clicked, np.log(p), np.log1p(-p))
    count = np.bincount(every.auction)
    mean: Doubles = np.bincount(every.auction, losses)[count > 0] / count[count > 0]
    return mean
