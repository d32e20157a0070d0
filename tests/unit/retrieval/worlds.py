"""A small planted world: items in eight directions, users who like one or two of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.clusters import Clusters, fit_clusters, unit
from retrieval.snapshot import Snapshot, build_snapshot

TASTES = 8


@dataclass(frozen=True)
class World:
    items: np.ndarray
    taste: np.ndarray
    clusters: Clusters
    users: np.ndarray
    event_users: np.ndarray
    event_items: np.ndarray

    def snapshot(self, **changes) -> Snapshot:
        settings = {"size": 4, "max_users": 1000, "seed": 0} | changes
        weights = np.ones(len(self.event_users), np.float32)
        return build_snapshot(
            self.users,
            self.event_users,
            self.event_items,
            weights,
            self.items,
            self.clusters.assignment,
            **settings,
        )


def planted(seed: int = 0, items: int = 400, users: int = 120) -> World:
    """User u likes taste u % 8 and, a third as often, the next one."""
    rng = np.random.default_rng(seed)
    taste = np.arange(items) % TASTES
    directions = unit(np.eye(TASTES)[taste] + rng.normal(0, 0.08, (items, TASTES)))
    bias = rng.normal(0, 0.05, (items, 1))
    table = np.concatenate([directions, bias], axis=1).astype(np.float32)
    event_users = np.repeat(np.arange(users), 12).astype(np.int32)
    liked = (event_users + (rng.random(len(event_users)) < 0.25)) % TASTES
    event_items = (rng.integers(0, items // TASTES, len(event_users)) * TASTES + liked).astype(np.int32)
    sums = np.zeros((users, TASTES), np.float32)
    np.add.at(sums, event_users, directions[event_items])
    vectors = np.concatenate([unit(sums) * 4, np.ones((users, 1))], axis=1).astype(np.float32)
    clusters = fit_clusters(table[:, :-1], TASTES, seed=seed)
    return World(table, taste, clusters, vectors, event_users, event_items)
