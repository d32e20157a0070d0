"""The bundle of a world: every file of the format, so that the service serves it as any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.graphs import SCALE, START, write_graphs
from benchmarks.kinds import cheapest
from benchmarks.world import DAY_MS, DEPARTMENTS, DIM, NOW_MS, World, item_id, titles
from models import artifacts
from models.artifacts import Manifest, atomic_folder, list_files, write_json, write_manifest, write_strings
from models.encode import encode_records
from models.export.interest_labels import write_interest_labels
from models.indexing.source import IndexSource
from models.indexing.tuning import Exam
from models.plan import Plan
from models.schema import Field, FieldKind, Schema
from retrieval.clusters import fit_clusters, unit
from retrieval.exact import RECALL_AT
from retrieval.lexical import build_lexical
from retrieval.neighbours import build_neighbours
from retrieval.snapshot import build_snapshot

Floats = NDArray[np.float32]

PLAN = Plan(interests=4, quotas={"interests": 1.0})
"""A thousand candidates of the interests alone: five queries, the user's own vector among them."""
SCHEMA = Schema(
    item_fields=(
        Field("title", FieldKind.TEXT, width=8, hash_size=1000),
        Field(
            "department", FieldKind.CATEGORY, vocabulary=tuple(f"department {n}" for n in range(DEPARTMENTS))
        ),
        Field("price", FieldKind.NUMBER, edges=(10.0, 20.0, 40.0, 80.0)),
    ),
    user_fields=(Field("segment", FieldKind.CATEGORY, vocabulary=("new", "old")),),
    event_kinds=("click",),
)
SNAPSHOT_USERS = 20_000
CLUSTERS = 512
STATED = 0.95
_NEIGHBOURS = 20
_EVENTS_PER_USER = 20
"""Neighbour lists are no subject of these benchmarks: the newest events of each user make them."""


def write_bundle(world: World, target: Path, kind: str) -> None:
    """Write the bundle of `world` as the new folder `target`, its items in an index of `kind` at `STATED`."""
    with atomic_folder(target) as folder:
        _write_items(folder, world)
        _write_retrieval(folder, world, min(CLUSTERS, len(world) // 20))
        write_graphs(folder, SCHEMA, DIM)
        write_json(folder / artifacts.SCHEMA, SCHEMA.to_json())
        write_json(folder / artifacts.SERVING, {"plan": PLAN.to_json()})
        write_json(folder / artifacts.CALIBRATOR, {"kind": "platt", "slope": 1.0, "intercept": 0.0})
        _write_index(folder, kind)
        write_manifest(
            folder,
            Manifest(
                version=target.name,
                created="2026-01-01T00:00:00Z",
                dataset={"name": target.name},
                schema_hash=SCHEMA.hash,
                files=list_files(folder),
            ),
        )


def user_vectors(world: World, users: NDArray[np.int64]) -> Floats:
    """What the user tower of the bundle answers for whole histories: [n, d + 1]."""
    sums = [world.vectors[world.items[world.events_of(one)], :-1].sum(axis=0) for one in users.tolist()]
    directions = unit(np.stack(sums) + np.float32(START))
    return np.column_stack([SCALE * directions, np.ones(len(users))]).astype(np.float32)


def _write_items(folder: Path, world: World) -> None:
    records = list(titles(world.topic))
    write_strings(folder, artifacts.ITEM_IDS, [item_id(row) for row in range(len(world))])
    write_strings(folder, artifacts.ITEM_RECORDS, [orjson.dumps(record).decode() for record in records])
    directions = np.ascontiguousarray(world.vectors[:, :-1])
    np.save(folder / artifacts.ITEM_TOKENS, encode_records(SCHEMA.item_fields, records))
    np.save(
        folder / artifacts.ITEM_CREATED, NOW_MS - DAY_MS * (1 + np.arange(len(world), dtype=np.int64) % 365)
    )
    np.save(folder / artifacts.ITEM_AVAILABLE, np.ones(len(world), bool))
    np.save(folder / artifacts.ITEM_VECTORS, artifacts.half(world.vectors))
    np.save(folder / artifacts.PRERANK_VECTORS, artifacts.half(directions))
    np.save(folder / artifacts.RANK_VECTORS, artifacts.half(directions))
    np.save(folder / artifacts.POPULARITY, np.asarray(world.popularity)[None])
    build_lexical(folder / artifacts.LEXICAL, _column(records, "title"), _column(records, "department"))


def _write_retrieval(folder: Path, world: World, clusters: int) -> None:
    found = fit_clusters(np.asarray(world.vectors[:, :-1]), clusters, seed=1)
    np.save(folder / artifacts.CENTROIDS, found.centroids)
    np.save(folder / artifacts.ASSIGNMENT, found.assignment)
    newest = world.starts[world.event_users + 1] - np.arange(len(world.items)) <= _EVENTS_PER_USER
    near = build_neighbours(
        world.event_users[newest], np.asarray(world.items[newest]), len(world), _NEIGHBOURS
    )
    np.save(folder / artifacts.NEIGHBOUR_ROWS, near.rows)
    np.save(folder / artifacts.NEIGHBOUR_SCORES, near.scores)
    age_days = (NOW_MS - world.times_ms) / DAY_MS
    snapshot = build_snapshot(
        user_vectors(world, np.arange(world.users)),
        world.event_users,
        np.asarray(world.items),
        np.exp(-age_days / PLAN.tau_days).astype(np.float32),
        np.asarray(world.vectors),
        found.assignment,
        size=8,
        max_users=SNAPSHOT_USERS,
        seed=1,
    )
    np.save(folder / artifacts.SNAPSHOT_VECTORS, snapshot.vectors)
    np.save(folder / artifacts.SNAPSHOT_CLUSTERS, snapshot.clusters)
    np.save(folder / artifacts.SNAPSHOT_WEIGHTS, snapshot.weights)
    np.save(folder / artifacts.SNAPSHOT_CENTROIDS, snapshot.centroids)
    write_interest_labels(folder, list(titles(world.topic)), SCHEMA)


def _write_index(folder: Path, kind: str) -> None:
    source = IndexSource.open(folder)
    cheapest(source, Exam(source, RECALL_AT), kind, STATED, folder / artifacts.INDEX).write(folder)


def _column(records: Sequence[dict[str, Any]], name: str) -> list[str]:
    return [str(record[name]) for record in records]
