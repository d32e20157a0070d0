"""`cascada evaluate --study aw-moe`: what each part of the ranker is worth, for short histories, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models.artifacts import half
from models.data.columns import Dataset
from models.export.graphs import request_axes
from models.export.ranker_graphs import serving_form
from models.export.samples import sample_candidates, sample_history, sample_query
from models.export.translate import Blueprint, translate
from models.graph import Graph
from models.networks.item_tower import ItemTower
from models.plan import Plan
from models.studies.towers import Fit
from models.training.calibrate import labelled
from models.training.candidates import Candidates
from models.training.config import RankerConfig, TrainConfig
from models.training.encoders import Encoders
from models.training.features import Features
from models.training.funnel import Funnel, Pool
from models.training.ground import Ground, deterministic, thinned
from models.training.ranker import RankerData, RankerModel, train_ranker
from models.training.timeline import Requests
from ranking.calibration import calibrators
from ranking.ranker import Ranker
from retrieval.metrics import auc, log_loss, mean_and_error, paired_test

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

FULL, RIVAL, BEFORE = "AW-MoE", "target attention", "the order of the cut"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "DNN": {"kind": "dnn"},
    RIVAL: {"kind": "target-attention"},
    "MoE, plain gate": {"kind": "moe"},
    "AW-MoE without activation unit": {"kind": "aw-moe-sum"},
    "AW-MoE without contrast": {"kind": "aw-moe", "contrast_weight": 0.0},
    FULL: {"kind": "aw-moe"},
}
"""The rankers by name: what differs from the configuration."""
SLICES: Mapping[str, int | None] = {"all events": None, "newest 10": 10, "newest 3": 3}
"""Users as they are, and as they would be with fewer events: histories are cut to the newest."""
TEST_REQUESTS = 3000
PER_REQUEST = ("GAUC", "NDCG@10")


@dataclass(frozen=True)
class Asked:
    """Requests and the candidates that the ranker is given, the target among them."""

    requests: Requests
    pools: list[Pool]
    place: NDArray[np.int64]
    """[R] the place of each among all `total` that were asked: of others the funnel lost the target."""
    total: int


@dataclass(frozen=True)
class World:
    """What one seed's rankers have in common: the stages before them, and what these let through."""

    features: Features
    start: ItemTower
    data: RankerData
    plan: Plan
    query: int
    validation: Asked
    test: Mapping[str, Asked]


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Train the stages before the ranker once per seed, then every ranker on what they let through.

    As in a bundle nothing is trained on validation events (so `fit` changes nothing).
    """
    widths, figures = [], []
    for seed in seeds:
        world = prepare(dataset, config, seed)
        widths.append(world.plan.ranked)
        figures.append(compare(world, config.ranker, seed))
    return told(dataset.name, config, seeds, widths, figures)


def told(
    name: str,
    config: TrainConfig,
    seeds: Sequence[int],
    widths: Sequence[int],
    figures: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The figures of all seeds as plain JSON types."""
    return {
        "dataset": name,
        "protocol": config.split.protocol,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "requests": {part: [_count(one[FULL][part]["GAUC"]) for one in figures] for part in SLICES},
        "seeds": list(seeds),
        "widths": list(widths),
        "slices": {part: summary(figures, part) for part in SLICES},
    }


def _count(areas: Doubles) -> int:
    return int(np.count_nonzero(~np.isnan(areas)))


def prepare(dataset: Dataset, config: TrainConfig, seed: int) -> World:
    """Train what stands before the ranker as `cascada train` does, and find the candidates."""
    deterministic(config.threads, seed)
    ground = Ground.of(dataset, config.model_copy(update={"seed": seed}))
    encoders = Encoders.learn(ground, None)
    candidates = Candidates.of(ground, encoders, encoders.judges(ground))
    funnels, plan = candidates.funnels, candidates.plan
    features, validation = ground.features, ground.validation
    data = RankerData(
        ground.own,
        candidates.pools,
        candidates.uniform,
        candidates.uniform_cross,
        features.timeline.requests(ground.early),
        validation,
        candidates.held_out,
    )
    test = thinned(features.timeline.requests(ground.split.test), TEST_REQUESTS)
    return World(
        features,
        encoders.towers.items,
        data.within(plan.ranked),
        plan,
        config.tower.dim + 1,
        asked_of(validation, candidates.held_out, features, plan.ranked),
        sliced(funnels.after(ground.split.train_and_validation), test, plan.ranked),
    )


def sliced(funnel: Funnel, requests: Requests, width: int) -> dict[str, Asked]:
    """By length of the histories, what `asked_of` keeps."""
    found = {}
    for name, events in SLICES.items():
        asked = requests if events is None else newest(requests, events)
        found[name] = asked_of(asked, funnel.pools(asked, f"candidates, {name}"), funnel.features, width)
    return found


def asked_of(requests: Requests, pools: Sequence[Pool], features: Features, width: int) -> Asked:
    """The requests whose target is among the best `width` candidates, and these.

    What a user met before the events that are left is no candidate: it would be one that the list leaves out.
    """
    kept, place = [], []
    item = features.timeline.item
    for r, pool in enumerate(pools):
        met = np.isin(pool.rows, item[int(requests.begin[r]) : int(requests.end[r])])
        own = _without(pool, met)
        if 0 <= own.place < width:
            kept.append(Pool(own.rows[:width], own.cross[:width], own.target_cross, own.place))
            place.append(r)
    at = np.array(place, np.int64)
    return Asked(requests.at(at), kept, at, len(requests))


def newest(requests: Requests, events: int) -> Requests:
    """The same requests with at most so many events in their history."""
    return replace(requests, begin=np.maximum(requests.begin, requests.end - events))


def _without(pool: Pool, left_out: NDArray[np.bool_]) -> Pool:
    if not left_out.any():
        return pool
    rows = pool.rows[~left_out]
    place = -1 if pool.place < 0 else pool.place - int(left_out[: pool.place].sum())
    return Pool(rows, pool.cross[~left_out], pool.target_cross, place)


def compare(world: World, config: RankerConfig, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures by ranker and slice; `GAUC` and `NDCG@10` [R] are by request."""
    found: dict[str, dict[str, dict[str, Any]]] = {
        BEFORE: {name: judged(before(asked), asked) for name, asked in world.test.items()}
    }
    for name, changes in VARIANTS.items():
        model = train(world, config.model_copy(update=changes), seed)
        found[name] = judge(world, partial(_logits, world, model))
    for name, ranker in exported(world, model).items():
        found[f"{FULL}, {name}"] = judge(world, partial(_served, world, ranker))
    return found


def exported(world: World, model: RankerModel) -> dict[str, Ranker]:
    """The ranker as serving runs it: with tables in half precision as in a bundle, and with 8-bit experts."""
    schema, width = world.features.schema, model.ranker.target.out_features
    random = np.random.default_rng(0)
    inputs = sample_history(random, schema, width - 1, 1, min(schema.history_length, 7))
    inputs |= sample_candidates(random, width - 1, 11) | {"query": sample_query(random, world.query)}
    asked = world.validation
    batch = world.features.batch(asked.requests)
    ranges = model.ranges(batch, asked.pools, world.plan.ranked)

    def graph(form: nn.Module) -> Graph:
        return Graph.open(translate(Blueprint("ranker", form, inputs, request_axes(), ("logit",))).onnx)

    # Read as the bundle is, without the memory that half precision saves.
    table = half(model.item_vectors()).astype(np.float32)
    return {
        "tables in half precision": Ranker(graph(serving_form(model.ranker)), table),
        "8-bit experts, too": Ranker(graph(serving_form(model.ranker, ranges)), table),
    }


def train(world: World, config: RankerConfig, seed: int) -> RankerModel:
    """One ranker on the world's candidates; its best epoch, however little better: networks compete here."""
    return train_ranker(
        world.features,
        world.data,
        world.plan.ranked,
        config,
        seed,
        world.query,
        start=world.start,
        cut=world.plan.cut,
        margin=0.0,
    )


def judge(world: World, logits_of: Callable[[Asked], list[Floats]]) -> dict[str, dict[str, Any]]:
    """A ranker's figures by slice of the test; log loss is that of pCTR, fitted by Platt on validation."""
    asked = world.validation
    logits, labels, _ = labelled(logits_of(asked), asked.pools)
    calibrator = calibrators["platt"].fit(logits, labels)
    figures = {}
    for name, asked in world.test.items():
        scores = logits_of(asked)
        figures[name] = judged(scores, asked)
        flat, labels, _ = labelled(scores, asked.pools)
        figures[name]["log loss"] = log_loss(labels, calibrator(flat))
    return figures


def before(asked: Asked) -> list[Floats]:
    """Scores that keep the order of the cut."""
    return [-np.arange(len(pool.rows), dtype=np.float32) for pool in asked.pools]


def judged(scores: Sequence[Floats], asked: Asked) -> dict[str, Any]:
    """AUC over all candidates; per request the area and the gain of the target's place, ties half.

    These are NaN [total] where the funnel lost the target, so that seeds can be laid beside each other.
    """
    flat, labels, _ = labelled(scores, asked.pools)
    areas, gains = np.full((2, asked.total), np.nan)
    for r, values, pool in zip(asked.place.tolist(), scores, asked.pools, strict=True):
        own = values[pool.place]
        above = float((values > own).sum() + 0.5 * ((values == own).sum() - 1))
        areas[r] = 1.0 - above / max(len(values) - 1, 1)
        gains[r] = 1 / np.log2(above + 2) if above < 10 else 0.0
    return {"AUC": auc(labels, flat), "GAUC": areas, "NDCG@10": gains}


def _logits(world: World, model: RankerModel, asked: Asked) -> list[Floats]:
    return model.logits(world.features.batch(asked.requests), asked.pools, world.plan.ranked)


def _served(world: World, ranker: Ranker, asked: Asked) -> list[Floats]:
    histories = world.features.timeline.histories(world.features.schema, asked.requests)
    profiles = world.features.profiles[asked.requests.user]
    return [
        ranker.score(histories.at(slice(r, r + 1)), profiles[r : r + 1], pool.rows, pool.cross)
        for r, pool in enumerate(asked.pools)
    ]


def summary(trials: Sequence[Mapping[str, Any]], part: str) -> dict[str, dict[str, float | None]]:
    """By ranker: means over seeds, half of the 95% interval over users, and the full form's lead, paired.

    Before users are compared the seeds of each are averaged; `spread` is the standard deviation over seeds.
    """
    found: dict[str, dict[str, float | None]] = {}
    full = {name: _by_user([trial[FULL][part][name] for trial in trials]) for name in PER_REQUEST}
    for ranker in trials[0]:
        each = [trial[ranker][part] for trial in trials]
        line: dict[str, float | None] = {
            name: float(np.mean([one[name] for one in each])) if name in each[0] else None
            for name in ("AUC", "log loss")
        }
        for name in PER_REQUEST:
            values = _by_user([one[name] for one in each])
            line[name], error = mean_and_error(values)
            line[f"{name} interval"] = 1.96 * error
            line[f"{name} spread"] = float(np.std([np.nanmean(one[name]) for one in each]))
            test = paired_test(full[name], values)
            line[f"{name} lead"], line[f"{name} p"] = test.difference, test.p_value
        found[ranker] = line
    return found


def _by_user(seeds: Sequence[Doubles]) -> Doubles:
    """The mean over the seeds that kept the target, for users of whom any did."""
    values = np.array(seeds)
    kept = ~np.isnan(values)
    some = kept.any(axis=0)
    mean: Doubles = np.where(kept, values, 0.0).sum(axis=0)[some] / kept.sum(axis=0)[some]
    return mean
