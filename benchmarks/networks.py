"""A world's bundle with graphs of the default networks instead of plain arithmetic: what an answer costs.

The networks are not trained, which costs what trained ones cost; lists are meaningless.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.bundle import PLAN, SCHEMA
from benchmarks.scale import WRITTEN, Scale
from benchmarks.world import DIM
from models import artifacts
from models.artifacts import (
    Manifest,
    atomic_folder,
    list_files,
    read_manifest,
    write_bytes,
    write_json,
    write_manifest,
)
from models.encode import encode_records
from models.export.bundle import ports, recorded
from models.export.graphs import export_graphs
from models.export.ranker_graphs import sampled_ranges
from models.export.translate import Exported
from models.training.config import TrainConfig
from models.training.networks import Networks

CONFIG = TrainConfig.model_validate(
    {
        "tower": {"dim": DIM},
        "preranker": {"dim": DIM},
        "ranker": {"dim": 32, "experts": 4, "hidden": [128, 64]},
    }
)
INDEX = "pq4"
"""The kind of index: the quickest at 10^6 items, and the one that keeps least of it in memory."""
EXPORTED = 3
"""How graphs are exported; another number makes bundles anew. 2: the ranker's experts in 8 bits; 3: of the
tower's last block the newest place alone."""
_OF_INDEX = (artifacts.INDEX, artifacts.INDEX_CARD)
_BLOCK = 1 << 17


def networked(scale: Scale) -> Path:
    """The bundle, made if it is not there; everything but graphs and their tables is linked, not copied."""
    plain = scale.bundle
    target = scale.folder / f"networked-{WRITTEN}-{EXPORTED}-{scale.at(INDEX).name}" / plain.name
    if not target.is_dir():
        print(f"making the bundle of {scale.items:,} items with real networks", file=sys.stderr, flush=True)
        scale.index(INDEX)
        _write(plain, scale.at(INDEX), target)
    return target


def _write(plain: Path, index: Path, target: Path) -> None:
    tokens = encode_records(SCHEMA.item_fields, [{}, {}])
    networks = Networks.build(CONFIG, SCHEMA, tokens)
    graphs = export_graphs(networks, SCHEMA, 1, sampled_ranges(networks.ranker, SCHEMA))
    own = {f"{graph.name}.onnx" for graph in graphs} | {
        artifacts.PARITY,
        artifacts.MANIFEST,
        artifacts.SERVING,
        artifacts.PRERANK_VECTORS,
        artifacts.RANK_VECTORS,
    }
    with atomic_folder(target) as folder:
        for path in plain.rglob("*"):
            there = folder / path.relative_to(plain)
            if path.is_dir():
                there.mkdir(exist_ok=True)
            elif path.name not in own:
                os.link(index / path.name if path.name in _OF_INDEX else path, there)
        for graph in graphs:
            write_bytes(folder / f"{graph.name}.onnx", graph.onnx)
        np.savez(folder / artifacts.PARITY, allow_pickle=False, **recorded(graphs))
        write_json(folder / artifacts.SERVING, {"plan": PLAN.to_json()})
        items = len(np.load(plain / artifacts.PRERANK_VECTORS, mmap_mode="r"))
        _write_table(folder / artifacts.PRERANK_VECTORS, items, _width(graphs, "prerank"))
        _write_table(folder / artifacts.RANK_VECTORS, items, _width(graphs, "rank"))
        known = read_manifest(plain)
        write_manifest(
            folder,
            Manifest(
                version=target.name,
                created=known.created,
                dataset=known.dataset,
                schema_hash=known.schema_hash,
                files=list_files(folder),
                graphs={each.name: ports(each) for each in graphs},
            ),
        )


def _width(graphs: list[Exported], table: str) -> int:
    towers = next(graph for graph in graphs if f"{graph.name}.onnx" == artifacts.ITEM_TOWERS)
    return int(towers.outputs[table].shape[-1])


def _write_table(path: Path, items: int, width: int) -> None:
    """Vectors of length 1, but for chance, in half precision."""
    random = np.random.default_rng(2)
    table = np.lib.format.open_memmap(path, "w+", np.float16, (items, width))
    for start in range(0, items, _BLOCK):
        part = table[start : start + _BLOCK]
        part[:] = random.normal(scale=width**-0.5, size=part.shape)
    table.flush()
