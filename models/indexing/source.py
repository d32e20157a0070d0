"""What an index is made from and asked with, read from a training run or a bundle: they name files alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import BundleError, StringColumn
from models.plan import Plan
from models.schema import Schema
from retrieval.index import METRIC, VectorIndex, build_index, open_index
from retrieval.index_card import IndexCard, Recall, measured
from retrieval.index_queries import open_snapshot, real_queries
from retrieval.index_settings import IndexSettings
from retrieval.snapshot import Snapshot

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


@dataclass(frozen=True)
class IndexSource:
    """m items, C clusters; arrays are memory maps."""

    folder: Path
    vectors: Floats
    centroids: Floats
    assignment: Rows
    snapshot: Snapshot
    plan: Plan
    schema_hash: str

    @classmethod
    def open(cls, folder: Path) -> IndexSource:
        """Open a folder that `cascada train` or `cascada export` wrote.

        Raises:
            BundleError: a file is missing or cannot be read; the message says which.
        """
        try:
            return cls(
                folder,
                np.load(folder / artifacts.ITEM_VECTORS, mmap_mode="r"),
                np.load(folder / artifacts.CENTROIDS),
                np.load(folder / artifacts.ASSIGNMENT),
                open_snapshot(folder),
                Plan.from_json(json.loads((folder / artifacts.SERVING).read_bytes())["plan"]),
                Schema.from_json(json.loads((folder / artifacts.SCHEMA).read_bytes())).hash,
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{folder}: neither a training run nor a bundle: {error}") from error

    @property
    def is_bundle(self) -> bool:
        """A bundle is never changed; a run is."""
        return (self.folder / artifacts.MANIFEST).is_file()

    @cached_property
    def queries(self) -> list[Floats]:
        """What the users of the snapshot ask, [M, d + 1] each."""
        return real_queries(self.vectors, self.centroids, self.assignment, self.snapshot, self.plan)

    def build(self, settings: IndexSettings, seed: int, *, threads: int = 1) -> VectorIndex:
        """Index the items; the clusters may serve as cells.

        Raises:
            NotFinite: names the item by its id.
        """
        names = StringColumn.open(self.folder, artifacts.ITEM_IDS).tolist()
        return build_index(
            self.vectors, settings, seed, threads=threads, clusters=self.centroids, names=names
        )

    def measure(self, index: VectorIndex, promise: Recall, *, threads: int = 1) -> Recall:
        """The promise with what the index reaches on real queries."""
        return measured(index, self.vectors, self.queries, promise, threads=threads)

    def judged(self) -> IndexCard:
        """The card of the index in the folder, measured anew.

        Raises:
            BundleError: card, index and item vectors are not of one another; names both values.
            MissedRecall: the index finds less than it states.
        """
        card = IndexCard.read(self.folder)
        path = self.folder / artifacts.INDEX
        index = open_index(path, card.settings)
        card.check(path, kind=index.kind, metric=index.metric, dim=index.dim, items=index.size)
        card.check(self.folder / artifacts.ITEM_VECTORS, metric=METRIC, dim=self.vectors.shape[1])
        card.check(self.folder / artifacts.ITEM_VECTORS, items=len(self.vectors))
        card.check(self.folder / artifacts.SCHEMA, schema_hash=self.schema_hash)
        judged = card.with_recall(self.measure(index, card.recall))
        judged.recall.check(self.folder)
        return judged
