"""`cascada evaluate --study relations`: lists of similar and of complementary items against what is known.

The data set's table of relations is the truth. Half of the anchors choose settings and weights, the other
half is judged once. A pair may be in both relations; the confusion therefore counts what is in the other
relation alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.columns import RELATIONS, Dataset
from models.plan import Plan
from models.studies.towers import Fit, run
from models.training.complements import started, train_dual, windowed
from models.training.config import TrainConfig
from models.training.neighbours import cooccurrence
from retrieval.metrics import mean_and_error, ndcg, paired_test
from retrieval.neighbours import Neighbours, top_neighbours
from retrieval.order import best_rows
from service.cascade.scorers.relevance import TERMS, UNMET, weighed

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TOP = 10
LEAST_ANCHORS = 4
SIMILAR, COMPLEMENTARY = RELATIONS
SOURCES: Mapping[str, tuple[str, str]] = {
    SIMILAR: ("cosine", "together"),
    COMPLEMENTARY: ("company", "together"),
}
"""By which terms candidates of a relation are found when serving."""
WINDOWS_DAYS = (0.0, 1.0, 7.0)
TEMPERATURES = (0.2, 0.4)
GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    SIMILAR: {
        "cosine": (0.0, 0.5, 1.0),
        "together": (0.0, 0.25, 0.5),
        "alike": (0.0, 0.5, 1.0),
        "company": (0.0, 0.5, 1.0),
    },
    COMPLEMENTARY: {
        "cosine": (-0.25, 0.0),
        "together": (0.0, 0.25),
        "alike": (-0.75, -0.5, -0.25, 0.0),
        "company": (1.0,),
    },
}
SHIPPED = "the service's list"
CHOSEN = "weights chosen here"
_BLOCK = 256


@dataclass(frozen=True)
class World:
    """What one seed learned: a plan, unit item vectors and dual ones [m, d], lists of co-occurrence, over
    all events and within the window."""

    plan: Plan
    vectors: Floats
    inward: Floats
    outward: Floats
    together: Neighbours
    windowed: Neighbours


@dataclass(frozen=True)
class Truth:
    """Anchors [A] and, by relation, what they are known to have, [A, r] padded with -1."""

    anchors: Rows
    known: Mapping[str, Rows]
    alone: Mapping[str, Rows]
    """What is in this relation and not in the other."""

    def at(self, part: NDArray[Any]) -> Truth:
        """The anchors of a part."""
        known, alone = (
            {name: rows[part] for name, rows in each.items()} for each in (self.known, self.alone)
        )
        return Truth(self.anchors[part], known, alone)


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Learn from the events before the test, choose on half of the anchors, judge on the others.

    Raises:
        ValueError: the data set has no relations, or too few items with both and an event.
    """
    return {
        "dataset": dataset.name,
        "protocol": config.split.protocol,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "trials": [_trial(dataset, config, seed, fit) for seed in seeds],
    }


def _trial(dataset: Dataset, config: TrainConfig, seed: int, fit: Fit) -> dict[str, Any]:
    events = config.split.apply(dataset).train_and_validation
    truth = truth_of(dataset, events)
    shuffled = np.random.default_rng(seed).permutation(len(truth.anchors))
    tuning, judging = (truth.at(np.sort(part)) for part in np.array_split(shuffled, 2))
    tried = {}
    start = started(dataset, events, config.complements.dim, seed)
    for days, temperature in product(WINDOWS_DAYS, TEMPERATURES):
        settings = {"window_days": days, "temperature": temperature}
        dual = train_dual(dataset, events, config.complements.model_copy(update=settings), seed, start)
        lists = nearest(dual[0], dual[1], tuning.anchors)
        tried[f"{days:g} days, {temperature:g}"] = float(_ndcg(lists, tuning, COMPLEMENTARY).mean())
    world = learned(dataset, config, events, seed, fit)
    found = {name: candidates(world, tuning.anchors, SOURCES[name]) for name in RELATIONS}
    weights = {name: best_weights(found[name], tuning, name) for name in RELATIONS}
    return {
        "seed": seed,
        "anchors": {"chosen on": len(tuning.anchors), "judged on": len(judging.anchors)},
        "window and temperature, validation NDCG@10": tried,
        "used": {
            "window_days": config.complements.window_days,
            "temperature": config.complements.temperature,
        },
        "weights": {"shipped": shipped(world.plan), "chosen": weights},
        **judged(world, judging, weights),
    }


def truth_of(dataset: Dataset, events: NDArray[np.int64]) -> Truth:
    """Items that an event touched and that are known to have both something similar and something that is
    complementary alone."""
    if dataset.relations is None:
        raise ValueError(f"{dataset.name}: no table of relations to judge by; see docs/training.md")
    known, sets = dataset.relations, {}
    for kind, name in enumerate(RELATIONS):
        mine = known.relation == kind
        pairs = zip(known.item[mine].tolist(), known.related[mine].tolist(), strict=True)
        sets[name] = _by_item(pairs, dataset.items)
    alone = {
        name: [mine - theirs for mine, theirs in zip(sets[name], sets[other], strict=True)]
        for name, other in zip(RELATIONS, RELATIONS[::-1], strict=True)
    }
    met = np.bincount(dataset.event_item[events], minlength=dataset.items) > 0
    able = [
        row for row in range(dataset.items) if met[row] and sets[SIMILAR][row] and alone[COMPLEMENTARY][row]
    ]
    if len(able) < LEAST_ANCHORS:
        raise ValueError(f"{dataset.name}: {len(able)} items with an event have both relations, 4 are needed")
    return Truth(
        np.array(able, np.int32),
        {name: _padded([each[row] for row in able]) for name, each in sets.items()},
        {name: _padded([each[row] for row in able]) for name, each in alone.items()},
    )


def learned(dataset: Dataset, config: TrainConfig, events: NDArray[np.int64], seed: int, fit: Fit) -> World:
    """Towers, dual vectors and lists, as a bundle would have them."""
    vectors = run(dataset, config, seed, fit).towers.item_vectors()[:, :-1]
    inward, outward = train_dual(dataset, events, config.complements, seed)
    return World(
        config.base_plan(),
        vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12),
        inward,
        outward,
        cooccurrence(dataset, events, config.retrieval),
        co_occurrence_within(dataset, events, config),
    )


def co_occurrence_within(dataset: Dataset, events: NDArray[np.int64], config: TrainConfig) -> Neighbours:
    """Lists by the cosine of pairs within the window, with the shrinkage of co-occurrence."""
    one, other, _ = windowed(dataset, events, config.complements)
    count = np.zeros((dataset.items, dataset.items), np.float32)
    np.add.at(count, (one, other), 1.0)
    norm = np.sqrt(count.sum(axis=1))
    scores = count / (norm[:, None] * norm[None, :] + config.retrieval.shrinkage)
    return top_neighbours([scores], config.retrieval.neighbours)


def nearest(queries: Floats, table: Floats, anchors: Rows) -> Rows:
    """The `TOP` items of largest inner product with each anchor's query, itself left out: [A, TOP]."""
    lists = []
    for start in range(0, len(anchors), _BLOCK):
        block = anchors[start : start + _BLOCK]
        scores = queries[block] @ table.T
        scores[np.arange(len(block)), block] = -np.inf
        lists.append(best_rows(scores, TOP))
    return np.concatenate(lists).astype(np.int32)


@dataclass(frozen=True)
class Found:
    """Candidates of anchors: rows [A, K], -1 for none, and their terms [A, K] by name."""

    rows: Rows
    terms: Mapping[str, Floats]

    def best(self, weights: Mapping[str, float]) -> Rows:
        """The first `TOP` under weights, [A, TOP], -1 where there are fewer."""
        scores = weighed(self.terms, weights)
        scores[self.rows < 0] = -np.inf
        place = best_rows(scores, TOP)
        found = np.take_along_axis(self.rows, np.maximum(place, 0).astype(np.int64), axis=1)
        return np.where(place >= 0, found, np.int32(-1))


def candidates(world: World, anchors: Rows, sources: Sequence[str]) -> Found:
    """What a cascade's sources propose to each anchor, `plan.ranked` each, and how the scorer sees it."""
    parts = []
    blocks = range(0, len(anchors), _BLOCK)
    for start in tqdm(blocks, desc="candidates", unit="block", disable=None):
        block = anchors[start : start + _BLOCK]
        full = _terms(world, block)
        met = world.inward.any(axis=1)
        # As when serving, only items with dual vectors are found by them.
        able = {name: full[name] * met if name == "company" else full[name] for name in sources}
        rows = np.concatenate([_proposed(each, world.plan.ranked) for each in able.values()], axis=1)
        rows = np.sort(rows, axis=1)
        rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1
        at = np.maximum(rows, 0).astype(np.int64)
        parts.append((rows, {name: np.take_along_axis(full[name], at, axis=1) for name in TERMS}))
    return Found(
        np.concatenate([rows for rows, _ in parts]),
        {name: np.concatenate([terms[name] for _, terms in parts]) for name in TERMS},
    )


def _terms(world: World, anchors: Rows) -> dict[str, Floats]:
    """The terms of `service.cascade.scorers.relevance` for the whole catalogue, 0 for the anchor itself."""
    near, values = world.together.rows[anchors], world.together.scores[anchors]
    together = np.zeros((len(anchors), len(world.vectors)), np.float32)
    owner, place = np.nonzero(near >= 0)
    together[owner, near[owner, place]] = values[owner, place]
    together /= np.maximum(together.max(axis=1, keepdims=True), 1e-12)
    cosine = np.maximum(world.vectors[anchors] @ world.vectors.T, 0.0)
    known = world.inward.any(axis=1)
    full = {"cosine": cosine, "together": together}
    for name, table in (("alike", world.inward), ("company", world.outward)):
        full[name] = np.where(known, np.maximum(world.inward[anchors] @ table.T, 0.0), UNMET * cosine)
    for values in full.values():
        values[np.arange(len(anchors)), anchors] = 0.0
    return full


def _proposed(scores: Floats, size: int) -> Rows:
    rows = best_rows(scores, min(size, scores.shape[1])).astype(np.int32)
    rows[np.take_along_axis(scores, rows.astype(np.int64), axis=1) <= 0] = -1
    return rows


def best_weights(found: Found, truth: Truth, relation: str) -> dict[str, float]:
    """Those of the relation's grid whose lists have the best NDCG@10 against what is known.

    Complements are chosen by what is complementary alone: else the best list of them would be that of
    similar items once more (our choice).
    """
    wanted = truth.alone[relation] if relation == COMPLEMENTARY else truth.known[relation]
    grid = GRIDS[relation]
    best: tuple[float, dict[str, float]] = (-1.0, {})
    for values in product(*grid.values()):
        weights = {name: value for name, value in zip(grid, values, strict=True) if value}
        if not any(value > 0 for value in weights.values()):
            continue
        score = float(ndcg(found.best(weights), wanted, TOP).mean())
        best = max(best, (score, weights), key=lambda each: each[0])
    return best[1]


def shipped(plan: Plan) -> dict[str, dict[str, float]]:
    """The plan's weights by relation."""
    return {SIMILAR: dict(plan.similar_weights), COMPLEMENTARY: dict(plan.complementary_weights)}


def judged(world: World, truth: Truth, weights: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Each method against both relations, and how much of the two lists is the other relation's."""
    anchors = truth.anchors
    methods = {
        "co-occurrence": world.together.rows[anchors, :TOP],
        "co-occurrence in the window": world.windowed.rows[anchors, :TOP],
        "item vectors": nearest(world.vectors, world.vectors, anchors),
        "skip-gram, in with in": nearest(world.inward, world.inward, anchors),
        "skip-gram, in with out": nearest(world.inward, world.outward, anchors),
    }
    own = {}
    for relation, mine in shipped(world.plan).items():
        found = candidates(world, anchors, SOURCES[relation])
        own[relation] = found.best(mine)
        methods[f"{relation}: {SHIPPED}"] = own[relation]
        methods[f"{relation}: {CHOSEN}"] = found.best(weights[relation])
    return {
        "methods": {name: _line(lists, truth, own) for name, lists in methods.items()},
        "both lists share": float(_shares(own[SIMILAR], own[COMPLEMENTARY]).mean()),
    }


def _line(lists: Rows, truth: Truth, own: Mapping[str, Rows]) -> dict[str, float]:
    line: dict[str, float] = {}
    for relation in RELATIONS:
        values = _ndcg(lists, truth, relation)
        line[relation], line[f"{relation} error"] = mean_and_error(values)
        test = paired_test(_ndcg(own[relation], truth, relation), values)
        line[f"{relation}, service is better by"], line[f"{relation}, p"] = test.difference, test.p_value
        for name, rows in (("listed", truth.known[relation]), ("listed alone", truth.alone[relation])):
            line[f"{relation} {name}"], line[f"{relation} {name} error"] = mean_and_error(
                _shares(lists, rows)
            )
    only = truth.alone[COMPLEMENTARY]
    line["complementary alone"], line["complementary alone error"] = mean_and_error(ndcg(lists, only, TOP))
    return line


def _ndcg(lists: Rows, truth: Truth, relation: str) -> Doubles:
    return ndcg(lists, truth.known[relation], TOP)


def _shares(lists: Rows, among: Rows) -> Doubles:
    """Which share of the `TOP` places holds one of `among` [A, r], padded with -1: [A]."""
    return np.array(
        [
            np.isin(row[row >= 0], wanted[wanted >= 0]).sum() / TOP
            for row, wanted in zip(lists, among, strict=True)
        ]
    )


def _by_item(pairs: Any, items: int) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in range(items)]
    for item, related in pairs:
        found[item].add(related)
    return found


def _padded(sets: Sequence[set[int]]) -> Rows:
    rows = np.full((len(sets), max(map(len, sets), default=0)), -1, np.int32)
    for row, each in zip(rows, sets, strict=True):
        row[: len(each)] = sorted(each)
    return rows
