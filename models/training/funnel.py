"""The funnel before the ranker, replayed for past requests by the same functions that serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.encode import CROSS, cross_features
from models.plan import Plan
from models.training.features import Features
from models.training.pairs import train_pairs
from models.training.preranker import PreRankerModel
from models.training.quotas import Lists
from models.training.tables import Space, Tables
from models.training.timeline import Requests
from models.training.tower import Towers
from retrieval.fusion import PERSONAL, places
from retrieval.interests import InterestModel, Interests
from retrieval.order import descending
from retrieval.pairs import Pairs, PairScorer, pairs_of, pruned
from retrieval.search import retrieve
from retrieval.snapshot import Snapshot, build_snapshot

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

DAY_MS = 86_400_000.0
PAIR_REQUESTS = 4000
"""Requests from which the scorer of pairs learns at most."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What was retrieved for one request, best first: `rows` [N], `cross` [N, X]; the target's are apart.

    `target_cross` [X] is known also where the funnel lost the target; `place` is then -1, else its place in
    `rows`.
    """

    rows: Rows
    cross: Floats
    target_cross: Floats
    place: int


@dataclass(frozen=True, slots=True)
class _User:
    """User-side state of one request."""

    history: Rows
    placement: int
    vector: Floats
    prerank: Floats
    interests: Interests


class Funnel:
    """Retrieval and pre-ranking over one set of counted tables; m items."""

    def __init__(
        self,
        features: Features,
        towers: Towers,
        preranker: PreRankerModel,
        space: Space,
        tables: Tables,
        snapshot: Snapshot,
        plan: Plan,
        scorer: PairScorer | None = None,
    ) -> None:
        self.scorer = scorer
        self.features = features
        self.towers = towers
        self.preranker = preranker
        self.space = space
        self.tables = tables
        self.snapshot = snapshot
        self.plan = plan
        self._prerank_items = preranker.item_vectors()
        self._log_popularity = np.log1p(tables.popularity)
        every = np.flatnonzero(features.dataset.item_available).astype(np.int32)
        self._popular = [every[descending(counts[every], every)] for counts in tables.popularity]
        self._model = InterestModel(
            space.vectors, space.clusters.centroids, space.clusters.assignment, snapshot, plan
        )
        kinds = features.schema.event_kinds
        self._weights = np.array([1.0, *(plan.event_weights.get(kind, 1.0) for kind in kinds)], np.float32)

    def pools(self, requests: Requests, label: str) -> list[Pool]:
        """The candidates of each request, in the order of the cut, without those in the history.

        Where serving cuts the merged sources to `plan.candidates`, this keeps the whole union.
        """
        return self.pools_and(requests, np.zeros((len(requests), 0), np.int32), label)[0]

    def pools_and(self, requests: Requests, rows: Rows, label: str) -> tuple[list[Pool], Floats]:
        """The pools of each request, and what `cross_of` says of its `rows` [R, N]: asked once for both."""
        pools, crosses = [], np.zeros((*rows.shape, len(CROSS)), np.float32)
        for r, (user, proposed) in enumerate(self._asked(requests, label)):
            found = _union(proposed)
            target = requests.target[r : r + 1]
            pool = Pool(found, self._cross(user, found, proposed), self._cross(user, target, proposed)[0], -1)
            pools.append(ordered(pool, int(target[0]), self.plan.cut))
            if rows.size:
                crosses[r] = self._cross(user, rows[r], proposed)
        return pools, crosses

    def cross_of(self, requests: Requests, rows: Rows) -> Floats:
        """Cross features of given candidates `rows` [R, N]: [R, N, X]."""
        asked = self._asked(requests, "scores")
        return np.stack(
            [self._cross(user, own, proposed) for own, (user, proposed) in zip(rows, asked, strict=True)]
        )

    def cross_found(self, requests: Requests, rows: Sequence[Rows]) -> list[Floats]:
        """Cross features [N, X] of what a search found for each request, `rows` [N] of its own.

        No source that is made for the user proposed them, so nothing is fused.
        """
        vectors, prerank = self._encode(requests)
        return [
            self._cross(self._user(requests, r, vectors[r], prerank[r]), own, {})
            for r, own in enumerate(rows)
        ]

    def over(self, features: Features) -> Funnel:
        """The same with other features of the same data set, such as a timeline with more histories."""
        other = copy(self)
        other.features = features
        return other

    def under(self, quotas: Mapping[str, float]) -> Funnel:
        """The same with other quotas."""
        other = copy(self)
        other.plan = replace(self.plan, quotas=quotas)
        return other

    def proposals(self, requests: Requests, label: str) -> Lists:
        """What each source proposes to each request, best first, as far as its quota goes."""
        found: Lists = {}
        for _, proposed in self._asked(requests, label):
            for name, rows in proposed.items():
                found.setdefault(name, []).append(rows)
        return found

    def _asked(self, requests: Requests, label: str) -> Iterator[tuple[_User, dict[str, Rows]]]:
        """Each request's user, and what the sources propose."""
        vectors, prerank = self._encode(requests)
        for r in tqdm(range(len(requests)), desc=label, unit="request", disable=None):
            user = self._user(requests, r, vectors[r], prerank[r])
            yield user, self._proposed(user)

    def _able(self, rows: NDArray[np.integer[Any]], user: _User) -> Rows:
        """Those that the user has not met and that can be had."""
        able = ~np.isin(rows, user.history) & self.features.dataset.item_available[rows]
        kept: Rows = rows[able].astype(np.int32, copy=False)
        return kept

    def _proposed(self, user: _User) -> dict[str, Rows]:
        """By source, what is new to the user."""
        size = {name: int(np.ceil(self.plan.candidates * share)) for name, share in self.plan.quotas.items()}
        popular = self._popular[user.placement][: size.get("popular", 0) + len(user.history)]
        found = {
            "interests": retrieve(self.space.index, user.interests, self._wanted(user)).rows,
            "similar": self._able(self._near(user), user)[: size.get("similar", 0)],
            "factors": self._alike(user, size.get("factors", 0)),
            "popular": self._able(popular, user)[: size.get("popular", 0)],
        }
        return {**found, "interests": self._able(found["interests"], user)}

    def learn_pairs(self, requests: Requests, seed: int) -> PairScorer | None:
        """See the function of this name."""
        return learn_pairs(self.features, self.towers, self.space, self.tables, self.plan, requests, seed)

    def _pairs(self, history: Rows, placement: int, vector: Floats) -> Pairs:
        newest = history[::-1][: self.plan.pair_events]
        popularity = self.tables.popularity[placement]
        return pairs_of(self.tables.neighbours, newest, popularity, self.space.vectors, vector)

    def _near(self, user: _User) -> Rows:
        if self.scorer is None:
            return self.tables.neighbours.score(*self._recent(user.history))[0]
        return pruned(self._pairs(user.history, user.placement, user.vector), self.scorer)[0]

    def _alike(self, user: _User, size: int) -> Rows:
        if self.tables.factors is None:
            return np.zeros(0, np.int32)
        newest = user.history[::-1][: self.plan.similar_events]
        rows, _ = self.tables.factors.search(newest, size + len(user.history) if size else 0)
        return self._able(rows, user)[:size]

    def _cross(self, user: _User, rows: Rows, proposed: Mapping[str, Rows]) -> Floats:
        """The columns of `models.encode.CROSS` for distinct `rows` [N]: [N, X]."""
        items = self.space.vectors[rows]
        history, weights = self._recent(user.history)
        known = self.tables.factors
        factors = np.zeros(len(rows), np.float32)
        if known is not None and len(history):
            factors = np.asarray(known.vectors)[rows] @ known.user(history)
        return cross_features(
            {
                "tower": items @ user.vector,
                "interest": user.interests.score(items),
                "similar": self.tables.neighbours.score_rows(history, weights, rows),
                "popular": self._log_popularity[user.placement, rows],
                "prerank": (self._prerank_items[rows] @ user.prerank.T).max(axis=1),
                "factors": factors,
                "fused": _fused(rows, proposed),
            }
        )

    def _encode(self, requests: Requests) -> tuple[Floats, Floats]:
        batch = self.features.batch(requests)
        return self.towers.user_vectors(batch), self.preranker.interests(batch)

    def _user(self, requests: Requests, r: int, vector: Floats, prerank: Floats) -> _User:
        timeline = self.features.timeline
        part = slice(int(requests.begin[r]), int(requests.end[r]))
        ages = ((requests.now_ms[r] - timeline.time_ms[part]) / DAY_MS).astype(np.float32)
        history = timeline.item[part]
        interests = self._model.interests(vector, history, self._weights[timeline.kind[part]], ages)
        return _User(history, int(requests.placement[r]), vector, prerank, interests)

    def _wanted(self, user: _User) -> int:
        """So many the index is asked for: it cannot leave out the history, which may be half of them."""
        slots = int(np.ceil(self.plan.candidates * self.plan.quotas.get("interests", 0.0)))
        return slots + min(len(user.history), slots)

    def _recent(self, history: Rows) -> tuple[Rows, Floats]:
        newest = history[::-1][: self.plan.similar_events]
        return newest, (self.plan.similar_decay ** np.arange(len(newest))).astype(np.float32)


def ordered(pool: Pool, target: int, cut: Mapping[str, float]) -> Pool:
    """The same candidates in the order of the cut (`models.plan.Plan.cut`), and the target's place there."""
    order = descending(pool.cross @ cut_weights(cut), pool.rows)
    where = np.flatnonzero(pool.rows[order] == target)
    place = int(where[0]) if len(where) else -1
    return Pool(pool.rows[order], pool.cross[order], pool.target_cross, place)


def cut_weights(cut: Mapping[str, float]) -> Floats:
    """[X] in the order of `models.encode.CROSS`."""
    return np.array([cut.get(name, 0.0) for name in CROSS], np.float32)


def _union(proposed: Mapping[str, Rows]) -> Rows:
    return np.unique(np.concatenate(list(proposed.values()))).astype(np.int32)


def _fused(rows: Rows, proposed: Mapping[str, Rows]) -> Floats:
    fused = np.zeros(len(rows), np.float32)
    by_row = np.argsort(rows)
    for name in PERSONAL:
        found = proposed.get(name, rows[:0])
        at = np.searchsorted(rows, found, sorter=by_row)
        here = (at < len(rows)) & (rows[by_row[np.minimum(at, len(rows) - 1)]] == found)
        fused[by_row[at[here]]] += places(len(found))[here]
    return fused


def learn_pairs(
    features: Features,
    towers: Towers,
    space: Space,
    tables: Tables,
    plan: Plan,
    requests: Requests,
    seed: int,
) -> PairScorer | None:
    """Train the scorer of pairs on what the tables propose to requests; None where the plan wants none."""
    if plan.pair_events == 0:
        return None
    if len(requests) > PAIR_REQUESTS:
        requests = requests.at(np.linspace(0, len(requests) - 1, PAIR_REQUESTS).astype(np.int64))
    vectors = towers.user_vectors(features.batch(requests))

    def pairs_for(r: int) -> Pairs:
        history = features.timeline.item[int(requests.begin[r]) : int(requests.end[r])]
        popularity = tables.popularity[requests.placement[r]]
        newest = history[::-1][: plan.pair_events]
        return pairs_of(tables.neighbours, newest, popularity, space.vectors, vectors[r])

    return train_pairs(pairs_for, requests.target, seed)


def snapshot_of(
    features: Features,
    towers: Towers,
    space: Space,
    events: NDArray[np.int64],
    plan: Plan,
    clusters: int,
    max_users: int,
    seed: int,
) -> Snapshot:
    """The users as they stand after the given events: vectors, and mixtures under the plan."""
    timeline = features.timeline
    place = np.sort(timeline.place[events])
    user = timeline.user[place]
    last = np.flatnonzero(np.diff(user, append=-1))
    now = timeline.time_ms[place[last]]
    ends = Requests(
        user[last],
        timeline.item[place[last]],
        now,
        timeline.placement[place[last]],
        timeline.start[user[last]],
        place[last] + 1,
    )
    vectors = np.zeros((len(features.profiles), space.vectors.shape[1]), np.float32)
    vectors[user[last]] = towers.user_vectors(features.batch(ends))
    newest = np.zeros(len(features.profiles), np.int64)
    newest[user[last]] = now
    kinds = features.schema.event_kinds
    by_kind = np.array([1.0, *(plan.event_weights.get(kind, 1.0) for kind in kinds)], np.float32)
    age_days = (newest[user] - timeline.time_ms[place]) / DAY_MS
    weights = (by_kind[timeline.kind[place]] * np.exp(-age_days / plan.tau_days)).astype(np.float32)
    return build_snapshot(
        vectors,
        user,
        timeline.item[place],
        weights,
        space.vectors,
        space.clusters.assignment,
        size=clusters,
        max_users=max_users,
        seed=seed,
    )
