"""`cascada evaluate --study hcn`: what each part of the pre-ranker is worth, and how much its cut keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.vocabulary import build_schema
from models.plan import ONLY_PRERANK
from models.studies.towers import LEAST_USERS, Fit
from models.training.candidates import UNIFORM, Funnels, sized
from models.training.config import PreRankerConfig, TrainConfig
from models.training.cut import learn_cut
from models.training.distil import EVERYTHING, Asked, distil, funnel_recall, reordered, rescored
from models.training.features import Features
from models.training.gains import gains
from models.training.ground import cut, deterministic, thinned
from models.training.networks import hcn, item_tower
from models.training.preranker import PreRankerModel, interest_cosine, train_preranker
from models.training.ranker import RankerData, RankerModel, train_ranker
from models.training.tables import Space
from models.training.tower import Towers, train_towers
from retrieval.metrics import mean_and_error, paired_test

Doubles = NDArray[np.float64]
Figures = dict[str, Doubles]

WIDTH, NARROW = 200, 50
"""The cuts that are judged; the ranker is trained on what the first lets through."""
USERS = 1000
"""Of more requests so many, evenly spread, are judged; on validation and on the test."""
METRICS = (f"recall@{WIDTH}", "cosine", f"funnel recall@{WIDTH}", f"funnel recall@{NARROW}", "NDCG@10")
"""Targets among what the cut lets through; mean cosine over pairs of a user's interests; of the ranker's best
20 over all candidates the share that survives each cut; the ranker's list of what the first cut leaves."""


@dataclass(frozen=True)
class Variant:
    """A pre-ranker: what differs from the configuration, and the line that it is compared with."""

    name: str
    changes: Mapping[str, Any]
    against: str = ""
    learned_cut: bool = False
    """Cut by what a run learns of all scores (`models.training.cut`), not by the pre-ranker's alone."""


LEVELS, EPOCHS = 3, 4
SINGLE, ONCE, ITERATIVE = "one vector", "K vectors, no iteration", "iterative"
RESIDUAL, WEIGHTED = "+ levels of what is left", "or + weighted levels"
RESIDUAL_FULL, WEIGHTED_FULL = "what is left + co-interest", "weighted + co-interest"
DISTILLED, SHIPPED = "weighted + co-interest + distillation", "as configured"
LEARNED_CUT = "as configured, learned cut"
_ONE_LEVEL = {"iterations": 1, "hierarchy": "none", "co_interest": False, "distill_epochs": 0}
_LEVELS = {**_ONE_LEVEL, "iterations": LEVELS}
_RESIDUAL, _WEIGHTED = {**_LEVELS, "hierarchy": "residual"}, {**_LEVELS, "hierarchy": "weighted"}
VARIANTS = (
    Variant(SINGLE, {**_ONE_LEVEL, "interests": 1}),
    Variant(ONCE, _ONE_LEVEL, SINGLE),
    Variant(ITERATIVE, _LEVELS, ONCE),
    Variant(RESIDUAL, _RESIDUAL, ITERATIVE),
    Variant(WEIGHTED, _WEIGHTED, ITERATIVE),
    Variant(RESIDUAL_FULL, {**_RESIDUAL, "co_interest": True}, RESIDUAL),
    Variant(WEIGHTED_FULL, {**_WEIGHTED, "co_interest": True}, WEIGHTED),
    Variant(DISTILLED, {**_WEIGHTED, "co_interest": True, "distill_epochs": EPOCHS}, WEIGHTED_FULL),
    Variant(SHIPPED, {}, ONCE),
    Variant(LEARNED_CUT, {}, SHIPPED, learned_cut=True),
)


@dataclass(frozen=True)
class World:
    """What the variants of one seed share. Retrieval does not depend on the pre-ranker, so the candidates are
    the same for all; their order and the pre-ranker's scores are each variant's own."""

    config: TrainConfig
    features: Features
    early: NDArray[np.int64]
    towers: Towers
    own: Asked
    random: tuple[NDArray[np.int32], NDArray[np.float32]]
    """Random items of each of the ranker's requests, and their cross features."""
    validation: Asked
    test: Asked


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Train on each seed as `cascada train` does, up to the ranker; judge on the test events.

    As in a run no stage is trained on validation events (so `fit` changes nothing), while lists, popularity
    and factors are counted again from training and validation before the test.
    """
    return {
        "dataset": dataset.name,
        "protocol": config.split.protocol,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "items": dataset.items,
        "trials": [_trial(dataset, config, seed) for seed in seeds],
    }


def _trial(dataset: Dataset, config: TrainConfig, seed: int) -> dict[str, Any]:
    world = prepared(dataset, config.model_copy(update={"seed": seed}))
    prerankers: dict[PreRankerConfig, PreRankerModel] = {}
    rankers: dict[tuple[PreRankerConfig, bool], tuple[RankerModel, Mapping[str, float]]] = {}
    figures: dict[str, dict[str, Figures]] = {}
    for variant in VARIANTS:
        own = PreRankerConfig.model_validate(config.preranker.model_dump() | dict(variant.changes))
        taught = own.model_copy(update={"distill_epochs": 0})
        if taught not in prerankers:
            prerankers[taught] = preranked(world, taught)
        preranker, key = prerankers[taught], (taught, variant.learned_cut)
        if key not in rankers:
            rankers[key] = ranked(world, preranker, variant.learned_cut)
        ranker, kept = rankers[key]
        if own.distill_epochs:
            lessons = reordered(world.features, preranker, world.own)
            held_out = reordered(world.features, preranker, world.validation)
            preranker = distil(world.features, preranker, ranker, lessons, held_out, WIDTH, own, seed)
        figures[variant.name] = {
            part: judged(world.features, preranker, ranker, asked, kept)
            for part, asked in (("validation", world.validation), ("test", world.test))
        }
    return {
        "seed": seed,
        "requests": len(world.test.pools),
        "candidates": float(np.mean([len(pool.rows) for pool in world.test.pools])),
        "variants": compared(figures),
    }


def prepared(dataset: Dataset, config: TrainConfig) -> World:
    """Towers, and the candidates of the ranker's own requests, of validation and of the test.

    Raises:
        ValueError: the data set is too small for the protocol.
    """
    deterministic(config.threads, config.seed)
    split, early, late = cut(dataset, config.split)
    features = Features.of(dataset, build_schema(dataset, split.train, history_length=config.history_length))
    requests = features.timeline.requests
    validation, test = thinned(requests(split.validation), USERS), thinned(requests(split.test), USERS)
    if len(test) < LEAST_USERS:
        raise ValueError(
            f"{dataset.name}: {config.split.protocol} leaves {len(test)} test events with items that are new "
            f"to their users, {LEAST_USERS} are needed"
        )
    towers = train_towers(features, early, validation, config.tower, config.seed)
    space = Space.of(towers.item_vectors(), config.retrieval, config.seed, config.threads)
    # Some pre-ranker has to stand there; every variant gives the candidates its own scores and order.
    items = item_tower(features.schema, features.items, config.preranker.dim, config.preranker.id_dropout)
    nobody = PreRankerModel(items, hcn(features.schema, config.preranker), 0.0, 0)
    funnels = Funnels(features, towers, nobody, space, sized(config, dataset.items), config)
    before = funnels.after(early)
    own = thinned(requests(late), config.ranker.requests)
    before.scorer = before.learn_pairs(own, config.seed)
    funnels = replace(funnels, scorer=before.scorer)
    uniform = np.random.default_rng(config.seed).integers(0, dataset.items, (len(own), UNIFORM))
    rows = uniform.astype(np.int32)
    pools, cross = before.pools_and(own, rows, "candidates, training")
    return World(
        config,
        features,
        early,
        towers,
        Asked(own, pools),
        (rows, cross),
        Asked(validation, funnels.after(split.train).pools(validation, "candidates, validation")),
        Asked(test, funnels.after(split.train_and_validation).pools(test, "candidates, test")),
    )


def preranked(world: World, config: PreRankerConfig) -> PreRankerModel:
    """The pre-ranker that a run would train."""
    return train_preranker(
        world.features,
        world.early,
        world.validation.requests,
        world.towers.items,
        config,
        world.config.seed,
    )


def ranked(
    world: World, preranker: PreRankerModel, learned_cut: bool
) -> tuple[RankerModel, Mapping[str, float]]:
    """A ranker of the pre-ranker's own, for it reads its score, and the cut between them."""
    features, seed = world.features, world.config.seed
    own = reordered(features, preranker, world.own)
    held_out = reordered(features, preranker, world.validation)
    kept: Mapping[str, float] = ONLY_PRERANK
    if learned_cut:
        kept = learn_cut(own.requests, own.pools, held_out.requests, held_out.pools, WIDTH)
        own = reordered(features, preranker, world.own, kept)
        held_out = reordered(features, preranker, world.validation, kept)
    rows, cross = world.random
    data = RankerData(
        own.requests,
        own.pools,
        rows,
        rescored(features, preranker, own.requests, rows, cross),
        features.timeline.requests(world.early),
        held_out.requests,
        held_out.pools,
    )
    ranker = train_ranker(
        features,
        data.within(WIDTH),
        WIDTH,
        world.config.ranker,
        seed,
        world.config.tower.dim + 1,
        start=world.towers.items,
        cut=kept,
    )
    return ranker, kept


def judged(
    features: Features,
    preranker: PreRankerModel,
    ranker: RankerModel,
    asked: Asked,
    kept: Mapping[str, float],
) -> Figures:
    """`METRICS` of each request [R] under the cut `kept`."""
    batch = features.batch(asked.requests)
    pools = reordered(features, preranker, asked, kept).pools
    logits = ranker.logits(batch, pools, EVERYTHING)
    places = np.array([pool.place for pool in pools])
    values = (
        ((places >= 0) & (places < WIDTH)).astype(np.float64),
        interest_cosine(preranker.interests(batch)).astype(np.float64),
        funnel_recall(logits, WIDTH),
        funnel_recall(logits, NARROW),
        gains([each[:WIDTH] for each in logits], pools),
    )
    return dict(zip(METRICS, values, strict=True))


def compared(figures: Mapping[str, Mapping[str, Figures]]) -> dict[str, Any]:
    """Of every variant the mean of each metric and its standard error on the test, the mean on validation,
    and paired tests on the test against the line that the variant builds on."""
    answer: dict[str, Any] = {}
    for variant in VARIANTS:
        found, line = figures[variant.name], dict[str, float]()
        for metric in METRICS:
            line[metric], line[f"{metric} error"] = mean_and_error(found["test"][metric])
            line[f"{metric}, validation"] = float(found["validation"][metric].mean())
            if variant.against:
                test = paired_test(found["test"][metric], figures[variant.against]["test"][metric])
                line[f"{metric}, more"], line[f"{metric}, p"] = test.difference, test.p_value
        answer[variant.name] = line
    return answer
