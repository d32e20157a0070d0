"""A small but real bundle folder: every file of the format, from a world whose right answers are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import Manifest, atomic_folder, list_files, write_json, write_manifest, write_strings
from models.encode import encode_records
from models.export.interest_labels import write_interest_labels
from models.plan import Plan
from models.text import encode_texts
from retrieval.clusters import fit_clusters
from retrieval.index import IndexSettings, build_index
from retrieval.index_card import IndexCard, Recall
from retrieval.lexical import build_lexical
from retrieval.neighbours import build_neighbours
from retrieval.snapshot import build_snapshot
from tests.support import tiny_graphs
from tests.support.tiny_world import DIM, SCHEMA, USERS, World, tiny_world

PLAN = Plan(candidates=60, ranked=30, interests=3, neighbours=8, smoothing="both")
"""Smoothing is on, so that every part of an interest is made."""
WORDS = 4096
"""Buckets of a query tower's words."""


def write_tiny_bundle(
    folder: Path,
    version: str = "tiny-1",
    created: str = "2024-01-01T00:00:00Z",
    clusters: int = 4,
    explains: bool = False,
    hears: Mapping[str, NDArray[np.float32]] | None = None,
) -> Path:
    """Write the bundle `folder / version` and return it; about a tenth of a second.

    One that `explains` has the graph that tells what its ranker goes by; one that `hears` words, each with
    its vector [DIM + 1], has a query tower and a ranker that reads its queries.
    """
    world = tiny_world()
    target = folder / version
    with atomic_folder(target) as temporary:
        _write_items(temporary, world)
        _write_retrieval(temporary, world, clusters)
        write_interest_labels(temporary, world.records, SCHEMA)
        _write_graphs(temporary, explains, hears is not None)
        if hears is not None:
            _write_query_tower(temporary, hears)
        write_json(temporary / artifacts.SCHEMA, SCHEMA.to_json())
        write_json(temporary / artifacts.SERVING, {"plan": PLAN.to_json()})
        write_json(temporary / artifacts.CALIBRATOR, {"kind": "platt", "slope": 1.0, "intercept": 0.0})
        _write_parity(temporary)
        write_manifest(
            temporary,
            Manifest(
                version=version,
                created=created,
                dataset={"name": "tiny"},
                schema_hash=SCHEMA.hash,
                files=list_files(temporary),
            ),
        )
    return target


def reseal(bundle: Path, **changes: Any) -> None:
    """Make the manifest agree with the files again, and change some of its keys."""
    raw = json.loads((bundle / artifacts.MANIFEST).read_bytes())
    raw["files"] = {
        name: {"sha256": entry.sha256, "bytes": entry.bytes} for name, entry in list_files(bundle).items()
    }
    write_json(bundle / artifacts.MANIFEST, {**raw, **changes})


def _write_items(folder: Path, world: World) -> None:
    write_strings(folder, artifacts.ITEM_IDS, world.ids)
    write_strings(folder, artifacts.ITEM_RECORDS, [json.dumps(record) for record in world.records])
    np.save(folder / artifacts.ITEM_TOKENS, encode_records(SCHEMA.item_fields, world.records))
    np.save(folder / artifacts.ITEM_CREATED, world.created)
    np.save(folder / artifacts.ITEM_AVAILABLE, world.available)
    np.save(folder / artifacts.ITEM_VECTORS, world.vectors)
    np.save(folder / artifacts.PRERANK_VECTORS, artifacts.half(world.vectors[:, :-1]))
    np.save(folder / artifacts.RANK_VECTORS, artifacts.half(world.vectors[:, :-1]))
    np.save(folder / artifacts.POPULARITY, world.popularity)


def _write_retrieval(folder: Path, world: World, count: int) -> None:
    clusters = fit_clusters(world.vectors[:, :-1], count, seed=1)
    np.save(folder / artifacts.CENTROIDS, clusters.centroids)
    np.save(folder / artifacts.ASSIGNMENT, clusters.assignment)
    near = build_neighbours(world.users, world.items, len(world.ids), 10)
    np.save(folder / artifacts.NEIGHBOUR_ROWS, near.rows)
    np.save(folder / artifacts.NEIGHBOUR_SCORES, near.scores)
    snapshot = build_snapshot(
        _user_vectors(world),
        world.users,
        world.items,
        np.ones(len(world.users), np.float32),
        world.vectors,
        clusters.assignment,
        size=3,
        max_users=USERS,
        seed=1,
    )
    np.save(folder / artifacts.SNAPSHOT_VECTORS, snapshot.vectors)
    np.save(folder / artifacts.SNAPSHOT_CLUSTERS, snapshot.clusters)
    np.save(folder / artifacts.SNAPSHOT_WEIGHTS, snapshot.weights)
    np.save(folder / artifacts.SNAPSHOT_CENTROIDS, snapshot.centroids)
    index = build_index(world.vectors, IndexSettings("flat"), seed=1)
    index.save(folder / artifacts.INDEX)
    IndexCard.of(index, IndexSettings("flat"), Recall(0.95, 1.0, queries=USERS), SCHEMA.hash).write(folder)
    titles = [record["title"] for record in world.records]
    build_lexical(folder / artifacts.LEXICAL, titles, [" ".join(r["genres"]) for r in world.records])


def _user_vectors(world: World) -> NDArray[np.float32]:
    sums = np.zeros((USERS, DIM), np.float32)
    np.add.at(sums, world.users, world.vectors[world.items, :-1])
    unit = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return np.column_stack([tiny_graphs.SCALE * unit, np.ones(USERS)]).astype(np.float32)


def _write_query_tower(folder: Path, hears: Mapping[str, NDArray[np.float32]]) -> None:
    tokens = {int(encode_texts([word], WORDS)[0][0, 0]): vector for word, vector in hears.items()}
    known = np.zeros((2, WORDS + 1), bool)
    known[0, list(tokens)] = True
    np.save(folder / artifacts.QUERY_TOKENS, known)
    tiny_graphs.write_query_tower(folder / artifacts.QUERY_TOWER, tokens, DIM, WORDS)


def _write_graphs(folder: Path, explains: bool, reads: bool) -> None:
    tiny_graphs.write_user_tower(folder / artifacts.USER_TOWER, DIM)
    tiny_graphs.write_preranker(folder / artifacts.PRERANKER, DIM)
    tiny_graphs.write_ranker(folder / artifacts.RANKER, DIM, reads)
    if explains:
        tiny_graphs.write_ranker_explain(folder / artifacts.RANKER_EXPLAIN, DIM, reads)
    tiny_graphs.write_item_towers(folder / artifacts.ITEM_TOWERS, SCHEMA, DIM)


def _write_parity(folder: Path) -> None:
    """Record what each graph answers to a few inputs, keys "<graph>/<input or output>"."""
    import onnxruntime

    rng = np.random.default_rng(3)
    recorded: dict[str, Any] = {}
    for name in sorted(path.name for path in folder.glob("*.onnx")):
        session = onnxruntime.InferenceSession(folder / name)
        feeds = {one.name: _example(one, rng) for one in session.get_inputs()}
        answers = session.run(None, feeds)
        outputs = zip([one.name for one in session.get_outputs()], answers, strict=True)
        for key, value in (*feeds.items(), *outputs):
            recorded[f"{Path(name).stem}/{key}"] = value
    np.savez(folder / artifacts.PARITY, **recorded)


def _example(wanted: Any, rng: np.random.Generator) -> NDArray[Any]:
    sizes = {"B": 1, "T": 3, "N": 4, "n": 2, "P": 1, "W": 2, "G": 3}
    shape = [sizes.get(axis, axis) for axis in wanted.shape]
    if wanted.type == "tensor(float)":
        return rng.normal(size=shape).astype(np.float32)
    if wanted.type == "tensor(bool)":
        return np.ones(shape, bool)
    return rng.integers(0, 3, shape)
