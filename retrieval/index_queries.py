"""What an index is really asked: the queries of users, made as serving makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.plan import Plan
from retrieval.interests import InterestModel
from retrieval.snapshot import Snapshot

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

USERS = 200
"""Users whose queries a recall is measured over: some 1,800 queries."""


def real_queries(
    vectors: Floats, centroids: Floats, assignment: Rows, snapshot: Snapshot, plan: Plan, users: int = USERS
) -> list[Floats]:
    """The queries [M, d + 1] that serving asks at once, for each of at most `users` snapshot users.

    A user's own vector comes first, their interest queries follow. The users are evenly spread over the
    snapshot, so that the same bundle is always asked the same.
    """
    model = InterestModel(vectors, centroids, assignment, snapshot, plan)
    some = np.linspace(0, len(snapshot) - 1, min(users, len(snapshot))).astype(np.int64)
    no_rows, nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
    return [
        model.interests(np.asarray(snapshot.vectors[one]), no_rows, nothing, nothing).queries for one in some
    ]


def open_snapshot(folder: Path) -> Snapshot:
    """Map the snapshot of a run or of a bundle.

    Raises:
        OSError, ValueError: a table is missing or cannot be read.
    """
    names = ("SNAPSHOT_VECTORS", "SNAPSHOT_CLUSTERS", "SNAPSHOT_WEIGHTS", "SNAPSHOT_CENTROIDS")
    return Snapshot(*(np.load(folder / getattr(artifacts, name), mmap_mode="r") for name in names))
