"""A user as a smoothed mixture over item clusters: the online half of kNN-Embed (arXiv 2205.06205)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.artifacts import taken
from models.masks import every
from models.plan import Plan
from retrieval.clusters import unit
from retrieval.faiss_index import FaissIndex, build_flat
from retrieval.preferences import Preferences
from retrieval.slots import largest_remainder
from retrieval.snapshot import Snapshot

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

OWN = -1
"""The cluster of the interest that is the user's own vector."""
NO_PREFERENCES = Preferences()
_SAME_USER = 1.0 - 1e-6
_ONLY_OWN = np.array([OWN], np.int32)
_ALL = np.ones(1, np.float32)


@dataclass(frozen=True, slots=True)
class Interests:
    """M interests, the user's own vector first.

    `clusters` [M] int32 (`OWN` for the own vector), `weights` [M] that sum to 1, `queries` [M, d + 1] for the
    item index. `own_parts` [M] in 0..1 say how much of each interest comes from the user's own events, the
    rest from similar users; the first is lam.
    """

    clusters: Rows
    weights: Floats
    queries: Floats
    own_parts: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.clusters)

    def slots(self, candidates: int) -> Rows:
        """How many of so many candidates each may propose [M], in proportion to its weight."""
        return largest_remainder(self.weights, candidates)

    def score(self, item_vectors: Floats) -> Floats:
        """Best interest query . item vector [N] over items [N, d + 1].

        The own vector counts only when there is no other interest.
        """
        queries = self.queries[self.clusters != OWN]
        best: Floats = (item_vectors @ (queries if len(queries) else self.queries).T).max(axis=1)
        return best


class InterestModel:
    """Turns a user's events of this moment, and the users like them, into interest queries.

    n snapshot users, m items, C clusters, d directions. `item_vectors` [m, d + 1] (vector, bias last)
    and the snapshot may be memory maps; only the snapshot's directions are copied (n x d float32).
    """

    def __init__(
        self, item_vectors: Floats, centroids: Floats, assignment: Rows, snapshot: Snapshot, plan: Plan
    ) -> None:
        self._items = item_vectors
        self._centroids = centroids
        self._assignment = assignment
        self._snapshot = snapshot
        self._plan = plan
        self._ids = np.arange(len(centroids), dtype=np.int32)
        self._users = FaissIndex(build_flat(unit(np.asarray(snapshot.vectors[:, :-1], np.float32))))
        everybody = np.arange(len(snapshot))
        self._mean_mixture = self._mixture(snapshot.clusters, snapshot.weights, len(everybody))
        self._mean_vector = _mean_vector(snapshot, item_vectors.shape[1])

    def interests(
        self,
        user_vector: Floats | None,
        rows: Rows,
        event_weights: Floats,
        ages_days: Floats,
        preferences: Preferences = NO_PREFERENCES,
    ) -> Interests:
        """The interests of a user with vector [d + 1] and H events.

        P(c|u) is the decayed weight of the user's events by cluster, Pbar the mean of the nearest snapshot
        users; Ps = lam P + (1 - lam) Pbar with lam = n / (n + kappa), n the number of events, or fixed. A
        query is the equally smoothed mean direction in the cluster, blended with the user's own vector (the
        blend, the own vector's share and this lam are our choice). The plan's `smoothing` may leave the
        neighbours out of the weights, of the directions, or of both: then lam counts as 1 there.

        Without events, or where each is in a muted cluster, Ps = Pbar; without a vector the mean direction of
        the events stands in, without both the snapshot's mean. Events of rows outside the tables, or of no
        positive weight, are ignored.
        `preferences` decide about the chosen clusters and their shares; the own vector keeps its share.
        """
        known = (rows >= 0) & (rows < len(self._assignment)) & (event_weights > 0)
        if self._plan.interests == 0 and user_vector is not None:
            return self._alone(user_vector, int(np.count_nonzero(known)))
        if not every(known):
            rows, event_weights, ages_days = rows[known], event_weights[known], ages_days[known]
        decayed = event_weights * np.exp(-np.maximum(ages_days, 0.0) / self._plan.tau_days)
        clusters = self._assignment[rows]
        own = self._own_vector(user_vector, rows, decayed)

        mass = np.bincount(clusters, weights=decayed, minlength=len(self._ids))
        # Of somebody who muted all that he met only the neighbours can say more.
        heard = np.delete(mass, preferences.muted) if len(preferences.muted) else mass
        wanted = float(np.count_nonzero(heard) > 0)
        lam = self._own_weight(len(rows))
        smoothing = self._plan.smoothing
        of_weights = lam if smoothing in ("both", "weights") else wanted
        of_directions = lam if smoothing in ("both", "centroids") else float(len(rows) > 0)
        alone = (
            of_weights == of_directions == 1.0 and self._plan.background == 0 and len(preferences.pinned) == 0
        )
        near = None if alone or (user_vector is None and len(rows) == 0) else self._nearest(own)
        events = of_weights * mass / max(mass.sum(), 1e-12)
        mixture = events
        if not alone:
            mixture = (1.0 - of_weights) * self._neighbour_mixture(near) + events
            mixture = (1.0 - self._plan.background) * mixture + self._plan.background * self._mean_mixture
        chosen, shares = preferences.choose(mixture, self._plan.interests)
        directions = self._smoothed(chosen, clusters, rows, decayed, near, of_directions)
        parts = np.empty(1 + len(chosen), np.float32)
        parts[0] = of_weights
        parts[1:] = events[chosen] / np.maximum(mixture[chosen], 1e-12)
        return self._assemble(own, chosen, shares, directions, parts)

    def _alone(self, own: Floats, events: int) -> Interests:
        """The own vector as the only interest: without clusters to choose there is nothing to mix."""
        smoothed = self._plan.smoothing in ("both", "weights")
        lam = self._own_weight(events) if smoothed else float(events > 0)
        return Interests(
            clusters=_ONLY_OWN,
            weights=_ALL,
            queries=own[None],
            own_parts=np.array([lam], np.float32),
        )

    def _own_weight(self, events: int) -> float:
        """Lam; 0 without events, for then there is nothing else than the neighbours."""
        if events == 0:
            return 0.0
        fixed = self._plan.own_weight
        return events / (events + self._plan.kappa) if fixed is None else fixed

    def _own_vector(self, user_vector: Floats | None, rows: Rows, weights: Floats) -> Floats:
        """The given vector, else the events' mean direction at the snapshot's mean length and bias weight."""
        if user_vector is not None:
            return user_vector
        if len(rows) == 0:
            return self._mean_vector
        mean = unit(weights.astype(np.float32) @ taken(self._items, rows)[:, :-1])
        return np.append(mean * np.linalg.norm(self._mean_vector[:-1]), self._mean_vector[-1])

    def _nearest(self, vector: Floats) -> Rows | None:
        """Snapshot users of most similar direction; None, without any, stands for the mean of all.

        The snapshot knows no ids: a user of the very same direction is taken for this user and left out.
        """
        if self._plan.neighbours == 0 or len(self._snapshot) == 0:
            return None
        count = min(self._plan.neighbours + 1, len(self._snapshot))
        likeness, rows = self._users.search(unit(vector[None, :-1]), count)
        others = likeness[0] < _SAME_USER
        nearest: Rows = rows[0][others][: self._plan.neighbours]
        return nearest if len(nearest) else None

    def _neighbour_mixture(self, near: Rows | None) -> NDArray[np.float64]:
        if near is None:
            return self._mean_mixture
        return self._mixture(self._snapshot.clusters[near], self._snapshot.weights[near], len(near))

    def _mixture(self, clusters: Rows, weights: Floats, users: int) -> NDArray[np.float64]:
        """Mean mixture [C] of users' sparse ones; a pad's cluster -1 falls into a cell that is cut off."""
        cells = np.bincount((clusters + 1).ravel(), weights=weights.ravel(), minlength=len(self._ids) + 1)
        mean: NDArray[np.float64] = cells[1:] / max(users, 1)
        return mean

    def _smoothed(
        self,
        chosen: Rows,
        clusters: Rows,
        rows: Rows,
        weights: Floats,
        near: Rows | None,
        lam: float,
    ) -> Floats:
        """Unit directions [M, d] of the chosen clusters: own mean and neighbours' mean, else the centroid."""
        position = np.full(len(self._ids) + 1, -1, np.int32)
        position[chosen] = np.arange(len(chosen), dtype=np.int32)
        place = position[clusters]
        inside = place >= 0
        mine = taken(self._items, rows[inside])[:, :-1]
        own = _group_means(place[inside], weights[inside], mine, len(chosen))
        blend = own if near is None and lam == 1.0 else self._blended(own, chosen, position, near, lam)
        return unit(np.where(blend.any(axis=1, keepdims=True), blend, self._centroids[chosen]))

    def _blended(self, own: Floats, chosen: Rows, position: Rows, near: Rows | None, lam: float) -> Floats:
        """Own directions [M, d] with those of the neighbours, or the centroids where nobody is near."""
        if near is None:
            others = self._centroids[chosen]
        else:
            place = position[self._snapshot.clusters[near]]  # k S
            user, slot = np.nonzero(place >= 0)
            others = _group_means(
                place[user, slot],
                self._snapshot.weights[near[user], slot],
                self._snapshot.centroids[near[user], slot].astype(np.float32),
                len(chosen),
            )
        has_own, has_others = own.any(axis=1, keepdims=True), others.any(axis=1, keepdims=True)
        return np.where(has_own & has_others, lam * own + (1.0 - lam) * others, own + others)

    def _assemble(
        self,
        own: Floats,
        chosen: Rows,
        mixture: NDArray[np.float64],
        directions: Floats,
        parts: Floats,
    ) -> Interests:
        """Queries as long as the own vector and with its bias weight, so that their scores compare."""
        share = self._plan.own_share if len(chosen) else 1.0
        blend = self._plan.query_blend
        length = np.linalg.norm(own[:-1])
        mixed = unit((1.0 - blend) * directions + blend * unit(own[None, :-1]))
        queries = np.empty((1 + len(chosen), len(own)), np.float32)
        queries[0] = own
        queries[1:, :-1] = mixed * length
        queries[1:, -1] = own[-1]
        weights = np.empty(len(queries), np.float32)
        weights[0] = share
        weights[1:] = (1.0 - share) * mixture / max(mixture.sum(), 1e-12)
        clusters = np.concatenate([_ONLY_OWN, chosen])
        return Interests(clusters, weights, queries, parts)


def _group_means(group: Rows, weights: Floats, vectors: Floats, groups: int) -> Floats:
    """Unit weighted means [groups, d] of vectors [N, d]; zero where a group is empty."""
    belongs = (group == np.arange(groups, dtype=np.int32)[:, None]) * weights  # groups N
    return unit(belongs.astype(np.float32) @ vectors)


def _mean_vector(snapshot: Snapshot, width: int) -> Floats:
    """Mean direction at the mean length, and the mean bias weight; without users, a plain bias query."""
    if len(snapshot) == 0:
        return np.append(np.zeros(width - 1), 1.0).astype(np.float32)
    vectors = np.asarray(snapshot.vectors, np.float32)
    length = np.linalg.norm(vectors[:, :-1], axis=1).mean()
    direction = unit(vectors[:, :-1].mean(axis=0))
    return np.append(direction * length, vectors[:, -1].mean()).astype(np.float32)
