"""`cascada evaluate --study sources`: what each source finds alone, and what is lost without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.columns import Dataset
from models.data.vocabulary import build_schema
from models.plan import Plan
from models.studies.towers import LEAST_USERS, VALIDATION_REQUESTS, Fit
from models.training.config import TrainConfig
from models.training.features import Features
from models.training.funnel import DAY_MS, learn_pairs, snapshot_of
from models.training.ground import cut, deterministic, thinned
from models.training.held_out import HeldOut, held_out
from models.training.quotas import Lists, best_quotas, recall_of, union
from models.training.tables import Space, Tables
from models.training.tower import Towers, train_towers
from retrieval.interests import InterestModel
from retrieval.metrics import mean_and_error, paired_test
from retrieval.order import descending
from retrieval.pairs import PairScorer, pairs_of, pruned
from retrieval.search import retrieve

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

CANDIDATES = 1000
DEPTHS = (100, 500, 1000)
USERS = 2000
"""Of more users with a history, so many, evenly spread, are asked; on validation and on the test."""
SUMMED = "similar, summed"
"""Item-to-item lists summed for all users alike: what pruning them for each user is compared with."""
HALF_LIVES_DAYS = (1.0, 7.0, 30.0, 90.0)


@dataclass(frozen=True)
class Asked:
    """Requests, and what the models know when they come."""

    requests: HeldOut
    vectors: Floats
    tables: Tables
    model: InterestModel


@dataclass(frozen=True)
class World:
    """What one seed trained: early events taught the towers, late ones the scorer of pairs."""

    features: Features
    space: Space
    plan: Plan
    scorer: PairScorer | None


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Train on each seed as `cascada train` does, choose quotas on validation, judge on the test.

    As in a bundle the towers never see validation events (so `fit` changes nothing), while lists, popularity
    and factors are counted again from training and validation before the test.
    """
    return {
        "dataset": dataset.name,
        "protocol": config.split.protocol,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "candidates": CANDIDATES,
        "trials": [_trial(dataset, config, seed) for seed in seeds],
    }


def _trial(dataset: Dataset, config: TrainConfig, seed: int) -> dict[str, Any]:
    deterministic(config.threads, seed)
    split, early, late = cut(dataset, config.split)
    features = Features.of(dataset, build_schema(dataset, split.train, history_length=config.history_length))
    validation = thinned(features.timeline.requests(split.validation), VALIDATION_REQUESTS)
    towers = train_towers(features, early, validation, config.tower, seed)
    space = Space.of(towers.item_vectors(), config.retrieval, seed, config.threads)
    plan = config.base_plan()
    own = thinned(features.timeline.requests(late), config.ranker.requests)
    tables = Tables.of(dataset, early, config.retrieval, seed, config.threads)
    scorer = learn_pairs(features, towers, space, tables, plan, own, seed)
    world = World(features, space, plan, scorer)
    tuning = _asked(world, towers, split.validation, split.train, config, seed)
    judging = _asked(world, towers, split.test, split.train_and_validation, config, seed)
    half_life = best_half_life(world, tuning)
    quotas, on_validation = best_quotas(
        proposed(world, tuning, half_life), tuning.requests.relevant, CANDIDATES
    )
    figures = judged(proposed(world, judging, half_life), judging.requests.relevant, quotas)
    return {
        "seed": seed,
        "quotas": quotas,
        "trending half-life, days": half_life,
        "validation recall@1000": on_validation,
        "users": len(judging.requests),
        **figures,
    }


def _asked(
    world: World,
    towers: Towers,
    asked: NDArray[np.int64],
    known: NDArray[np.int64],
    config: TrainConfig,
    seed: int,
) -> Asked:
    features, retrieval = world.features, config.retrieval
    requests = held_out(features.timeline, asked)
    warm = np.flatnonzero(requests.warm)
    if len(warm) < LEAST_USERS:
        raise ValueError(
            f"{features.dataset.name}: {config.split.protocol} leaves {len(warm)} users with a history and "
            f"an item that is new to them, {LEAST_USERS} are needed"
        )
    if len(warm) > USERS:
        warm = warm[np.linspace(0, len(warm) - 1, USERS).astype(np.int64)]
    requests = requests.at(warm)
    clusters, users = retrieval.snapshot_clusters, retrieval.snapshot_users
    snapshot = snapshot_of(features, towers, world.space, known, world.plan, clusters, users, seed)
    cells = world.space.clusters
    return Asked(
        requests,
        towers.user_vectors(features.batch(requests.requests())),
        Tables.of(features.dataset, known, retrieval, seed, config.threads),
        InterestModel(world.space.vectors, cells.centroids, cells.assignment, snapshot, world.plan),
    )


def proposed(world: World, asked: Asked, half_life: float | None) -> Lists:
    """What each source proposes to each request, `CANDIDATES` at most; what the user has met is left out."""
    found: Lists = {}
    for r in tqdm(range(len(asked.requests)), desc="sources", unit="user", disable=None):
        history = _history(world, asked, r)
        each = _proposals(world, asked, r, history)
        if half_life is not None:
            each["trending"] = trending(world, int(asked.requests.now_ms[r]), half_life)
        for name, rows in each.items():
            found.setdefault(name, []).append(rows[~np.isin(rows, history)][:CANDIDATES])
    return found


def _proposals(world: World, asked: Asked, r: int, history: Rows) -> dict[str, Rows]:
    plan, tables, requests = world.plan, asked.tables, asked.requests
    timeline = world.features.timeline
    part = slice(int(requests.begin[r]), int(requests.end[r]))
    ages = ((requests.now_ms[r] - timeline.time_ms[part]) / DAY_MS).astype(np.float32)
    wanted = CANDIDATES + len(history)
    weights = np.ones(len(history), np.float32)
    interests = asked.model.interests(asked.vectors[r], history, weights, ages)
    newest = history[::-1][: plan.similar_events]
    decay = (plan.similar_decay ** np.arange(len(newest))).astype(np.float32)
    popularity = tables.popularity[0]
    found = {
        "interests": retrieve(world.space.index, interests, wanted).rows,
        SUMMED: tables.neighbours.score(newest, decay)[0],
        "popular": descending(popularity, np.arange(len(popularity), dtype=np.int32)).astype(np.int32),
    }
    if world.scorer is not None:
        pairs = pairs_of(
            tables.neighbours,
            newest[: plan.pair_events],
            popularity,
            world.space.vectors,
            asked.vectors[r],
        )
        found["similar"] = pruned(pairs, world.scorer)[0]
    if tables.factors is not None:
        found["factors"] = tables.factors.search(newest, wanted)[0]
    return found


def trending(world: World, now_ms: int, half_life_days: float) -> Rows:
    """Items by events of everybody before a moment, halved with age, best first: what the stream would say.

    Unlike the tables this counts other users' events up to the very moment, those of the test included.
    """
    dataset = world.features.dataset
    until = int(np.searchsorted(dataset.event_time_ms, now_ms))
    age = (now_ms - dataset.event_time_ms[:until]) / (half_life_days * DAY_MS)
    counts = np.bincount(dataset.event_item[:until], weights=0.5**age, minlength=dataset.items)
    order = descending(counts.astype(np.float32), np.arange(dataset.items, dtype=np.int32))
    return order[: int(np.count_nonzero(counts))].astype(np.int32)


def best_half_life(world: World, asked: Asked) -> float | None:
    """The half-life with the best recall@100 of trending items; None where times are made up."""
    if world.features.dataset.order != "time":
        return None
    found = []
    for half_life in HALF_LIVES_DAYS:
        lists = []
        for r in range(len(asked.requests)):
            rows = trending(world, int(asked.requests.now_ms[r]), half_life)[: CANDIDATES * 2]
            lists.append(rows[~np.isin(rows, _history(world, asked, r))])
        found.append(recall_of(lists, asked.requests.relevant, 100).mean())
    return HALF_LIVES_DAYS[int(np.argmax(found))]


def judged(lists: Lists, relevant: Rows, quotas: Mapping[str, float]) -> dict[str, Any]:
    """Every source alone, the union, and the union without each source, tested in pairs against the union."""
    whole = union(lists, quotas, CANDIDATES)
    base = recall_of(whole, relevant, CANDIDATES)
    alone = {name: _line(each, relevant, base) for name, each in lists.items()}
    without = {}
    for name in quotas:
        rest = {other: share for other, share in quotas.items() if other != name}
        without[name] = _line(union(lists, rest, CANDIDATES), relevant, base)
    best = max(alone.values(), key=lambda line: line["recall@1000"])["recall@1000"]
    return {
        "union": _line(whole, relevant, base),
        "above the best alone": float(base.mean() / best - 1.0) if best else None,
        "alone": alone,
        "without": without,
    }


def _line(lists: Sequence[Rows], relevant: Rows, base: Doubles) -> dict[str, float]:
    line: dict[str, float] = {"size": float(np.mean([len(each) for each in lists]))}
    for depth in DEPTHS:
        values = recall_of(lists, relevant, depth)
        line[f"recall@{depth}"], line[f"recall@{depth} error"] = mean_and_error(values)
    test = paired_test(base, recall_of(lists, relevant, CANDIDATES))
    return line | {"union is better by": test.difference, "p": test.p_value}


def _history(world: World, asked: Asked, r: int) -> Rows:
    return world.features.timeline.item[int(asked.requests.begin[r]) : int(asked.requests.end[r])]
