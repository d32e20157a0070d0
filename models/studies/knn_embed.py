"""`cascada evaluate --study knn-embed`: what interests, and each part of them, are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.columns import Dataset
from models.plan import Plan
from models.studies.towers import Fit, Trial, run
from models.training.config import TrainConfig
from models.training.funnel import DAY_MS, snapshot_of
from models.training.held_out import HeldOut, held_out
from models.training.tables import Space
from retrieval.clusters import Clusters, unit
from retrieval.interests import OWN, InterestModel, Interests
from retrieval.metrics import paired_test
from retrieval.search import retrieve
from retrieval.snapshot import Snapshot

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

CANDIDATES = 500
DEPTHS = (10, 50, 100, 500)
USERS = 2000
LENGTHS = ((1, 5), (6, 15), (16, 40), (41, None))
"""Buckets of history length by which the gain is told."""


@dataclass(frozen=True)
class Variant:
    """A way to turn a user into queries: a plan, and perhaps other clusters, one query, or a restriction."""

    name: str
    plan: Mapping[str, Any]
    clusters: str = "learned"
    """learned, or random: the control that says whether clusters mean anything."""
    single: str = ""
    """vector: the user's own vector alone; history: the mean direction of the events alone."""
    restricted: bool = False
    """Each interest may only propose items of its own cluster."""


PURE = {"own_share": 0.0, "query_blend": 0.0}
BOTH = {**PURE, "smoothing": "both"}
SHIPPED = "shipped"
VECTOR, HISTORY = "user vector alone", "mean of history alone"
SINGLES = (HISTORY, VECTOR)
VARIANTS = (
    Variant(VECTOR, {}, single="vector"),
    Variant(HISTORY, {}, single="history"),
    Variant("mixture, no smoothing (lam 1)", {**PURE, "smoothing": "none"}),
    Variant("smoothed weights", {**PURE, "smoothing": "weights"}),
    Variant("smoothed centroids", {**PURE, "smoothing": "centroids"}),
    Variant("both smoothed, adaptive lam", BOTH),
    Variant("both smoothed, lam 0.8", {**BOTH, "own_weight": 0.8}),
    Variant("both, each in its cluster only", BOTH, restricted=True),
    Variant("both, random clusters", BOTH, clusters="random"),
    Variant("both, queries half the user vector", {**BOTH, "query_blend": 0.5}),
    Variant("half of the slots for the user vector", {**BOTH, "own_share": 0.5}),
    Variant(SHIPPED, {}),
    Variant("wider: 16 interests, 0.3 of everybody's", {"interests": 16, "background": 0.3}),
    Variant("wider: 32 interests, 0.3 of everybody's", {"interests": 32, "background": 0.3}),
    Variant("shipped, but both smoothed", {"smoothing": "both"}),
    Variant("shipped, random clusters", {}, clusters="random"),
)


class Unseen:
    """Exact search over the items that one user has not met, as an index of them alone.

    Scores are exact, so that the study compares queries and not indexes; one user's queries are few.
    """

    dim, metric, kind = 0, "inner_product", "exact"

    def __init__(self, vectors: Floats, seen: Rows, cells: Rows | None = None) -> None:
        self._vectors = vectors
        self._seen = seen
        self._cells = cells
        self.size = len(vectors)
        self.only: Rows | None = None
        """Per query of the next search the cluster that it may propose from, -1 = any."""

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """The best `k` unseen rows per query, -1 where there are fewer: scores and rows [q, k]."""
        scores = queries @ self._vectors.T
        scores[:, self._seen] = -np.inf
        if self._cells is not None and self.only is not None:
            for q, cluster in enumerate(self.only.tolist()):
                if cluster >= 0:
                    scores[q, self._cells != cluster] = -np.inf
        rows = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        best = np.take_along_axis(scores, rows, axis=1)
        order = np.argsort(-best, axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1).astype(np.int32)
        return best, np.where(np.isfinite(best), rows, -1)


@dataclass(frozen=True)
class World:
    """What all variants of one seed share: towers, test requests, user vectors, clusters and snapshots."""

    trial: Trial
    space: Space
    requests: HeldOut
    vectors: Floats
    plan: Plan
    snapshots: Mapping[str, Snapshot]
    assignments: Mapping[str, Rows]
    centroids: Mapping[str, Floats]


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Train on each seed and judge every variant on the same users; plain JSON types."""
    trials = []
    for seed in seeds:
        world = prepared(run(dataset, config, seed, fit), config)
        figures = {variant.name: judged(world, variant) for variant in VARIANTS}
        trials.append({"seed": seed, "seconds": round(world.trial.seconds), **compared(world, figures)})
    return {
        "dataset": dataset.name,
        "protocol": config.split.protocol,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "candidates": CANDIDATES,
        "clusters": config.retrieval.clusters,
        "trials": trials,
    }


def prepared(trial: Trial, config: TrainConfig) -> World:
    """Clusters, snapshots and the test users' vectors, as a bundle would have them after all known events."""
    vectors = trial.towers.item_vectors()
    space = Space.of(vectors, config.retrieval, trial.seed, config.threads)
    plan = config.base_plan()
    random = np.random.default_rng(trial.seed)
    shuffled = random.permutation(space.clusters.assignment).astype(np.int32)
    centroids = np.stack(
        [vectors[shuffled == c, :-1].mean(axis=0) for c in range(len(space.clusters.centroids))]
    )
    clusters = {"learned": space.clusters, "random": Clusters(unit(centroids), shuffled)}
    snapshots = {
        name: snapshot_of(
            trial.features,
            trial.towers,
            replace(space, clusters=each),
            trial.split.train_and_validation,
            plan,
            config.retrieval.snapshot_clusters,
            config.retrieval.snapshot_users,
            trial.seed,
        )
        for name, each in clusters.items()
    }
    requests = held_out(trial.features.timeline, trial.split.test)
    warm = np.flatnonzero(requests.warm)
    if len(warm) > USERS:
        warm = warm[np.linspace(0, len(warm) - 1, USERS).astype(np.int64)]
    requests = requests.at(warm)
    return World(
        trial,
        space,
        requests,
        trial.towers.user_vectors(trial.features.batch(requests.requests())),
        plan,
        snapshots,
        {name: each.assignment for name, each in clusters.items()},
        {name: each.centroids for name, each in clusters.items()},
    )


def judged(world: World, variant: Variant) -> dict[str, Doubles]:
    """Per user: recall at each depth, mean pairwise distance of the candidates and how many clusters they
    cover; and under "items" which items of the catalogue any user was proposed."""
    timeline = world.trial.features.timeline
    plan = replace(world.plan, **variant.plan)
    assignment = world.assignments[variant.clusters]
    model = InterestModel(
        world.space.vectors,
        world.centroids[variant.clusters],
        assignment,
        world.snapshots[variant.clusters],
        plan,
    )
    units = unit(world.space.vectors[:, :-1])
    by_kind = np.array(
        [1.0, *(plan.event_weights.get(kind, 1.0) for kind in world.trial.features.schema.event_kinds)],
        np.float32,
    )
    count = len(world.requests)
    found = {f"recall@{depth}": np.zeros(count) for depth in DEPTHS}
    found |= {"distance": np.zeros(count), "clusters": np.zeros(count), "items": np.zeros(len(units))}
    for r in tqdm(range(count), desc=variant.name, unit="user", disable=None):
        part = slice(int(world.requests.begin[r]), int(world.requests.end[r]))
        history = timeline.item[part]
        ages = ((world.requests.now_ms[r] - timeline.time_ms[part]) / DAY_MS).astype(np.float32)
        weights = by_kind[timeline.kind[part]]
        if variant.single:
            interests = alone(world, variant.single, r, history, weights)
        else:
            interests = model.interests(world.vectors[r], history, weights, ages)
        index = Unseen(world.space.vectors, history, assignment if variant.restricted else None)
        index.only = interests.clusters[interests.slots(CANDIDATES) > 0] if variant.restricted else None
        rows = retrieve(index, interests, CANDIDATES).rows  # type: ignore[arg-type]
        relevant = world.requests.relevant[r]
        relevant = relevant[relevant >= 0]
        for depth in DEPTHS:
            found[f"recall@{depth}"][r] = np.isin(relevant, rows[:depth]).mean()
        found["distance"][r] = pairwise_distance(units[rows])
        found["clusters"][r] = len(np.unique(world.assignments["learned"][rows]))
        found["items"][rows] = 1.0
    return found


def alone(world: World, kind: str, r: int, history: Rows, weights: Floats) -> Interests:
    """One query for all candidates: the user's own vector, or the history's mean direction at its length."""
    own = world.vectors[r]
    if kind == "history":
        mean = unit((weights @ world.space.vectors[history, :-1])[None])[0]
        own = np.append(mean * np.linalg.norm(own[:-1]), own[-1]).astype(np.float32)
    one = np.ones(1, np.float32)
    return Interests(np.array([OWN], np.int32), one, own[None])


def pairwise_distance(units: Floats) -> float:
    """Mean of 1 - cosine over the pairs of n unit vectors [n, d]; 0 for fewer than two."""
    n = len(units)
    if n < 2:
        return 0.0
    total = units.sum(axis=0, dtype=np.float64)
    own = float(np.square(units, dtype=np.float64).sum())
    return float(1.0 - (total @ total - own) / (n * (n - 1)))


def compared(world: World, figures: Mapping[str, dict[str, Doubles]]) -> dict[str, Any]:
    """Means of every variant, and paired tests of each against the two single queries."""
    length = world.requests.end - world.requests.begin
    answer: dict[str, Any] = {"users": len(world.requests), "variants": {}, "by length": {}}
    for name, found in figures.items():
        line = {key: float(values.mean()) for key, values in found.items()}
        for other in SINGLES:
            for key in ("recall@500", "distance"):
                test = paired_test(found[key], figures[other][key])
                line[f"{key} against {other}"] = test.difference
                line[f"{key} against {other}, p"] = test.p_value
        answer["variants"][name] = line
    for low, high in LENGTHS:
        inside = (length >= low) & (length <= (high or np.inf))
        if inside.any():
            label = f"{low}-{high}" if high else f"{low}+"
            answer["by length"][label] = {
                "users": int(inside.sum()),
                **{name: float(found["recall@500"][inside].mean()) for name, found in figures.items()},
            }
    return answer
