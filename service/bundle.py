"""A bundle in memory: opened, checked against its manifest and its recorded answers, then only read."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import BundleError, Manifest, StringColumn, read_manifest
from models.graph import Graph
from models.plan import Plan
from models.schema import Schema
from ranking.calibration import Calibration
from ranking.thompson import Posterior
from retrieval.complements import LOOKED_AT, Complements
from retrieval.factors import Factors
from retrieval.index import METRIC, VectorIndex, open_index
from retrieval.index_card import IndexCard
from retrieval.interests import InterestModel
from retrieval.lexical import LexicalIndex
from retrieval.neighbours import Neighbours
from retrieval.pairs import PairScorer
from retrieval.query_tower import QueryTower
from retrieval.snapshot import Snapshot
from service import bundle_files as files
from service.interest_labels import InterestLabels
from service.overlay import NewVectors
from service.parity import check_parity, check_texts
from service.residency import release
from service.tokens import encode_leniently

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Bundle:
    """One version of everything; m items, shapes as in `models.artifacts`. Arrays are memory maps."""

    folder: Path
    manifest: Manifest
    schema: Schema
    plan: Plan
    item_ids: StringColumn
    item_records: StringColumn
    created: NDArray[np.int64]
    available: NDArray[np.bool_]
    item_vectors: Floats
    prerank_vectors: NDArray[np.floating[Any]]
    rank_vectors: NDArray[np.floating[Any]]
    popularity: Floats
    centroids: Floats
    assignment: Rows
    interest_labels: InterestLabels
    neighbours: Neighbours
    pairs: PairScorer | None
    """None: neighbours are summed, the same for all users."""
    factors: Factors | None
    complements: Complements | None
    """None: what goes together is told by co-occurrence alone."""
    snapshot: Snapshot
    index_card: IndexCard
    index: VectorIndex
    lexical: LexicalIndex
    user_tower: Graph
    preranker: Graph
    ranker: Graph
    ranker_explain: Graph | None
    """None in an older bundle, whose ranker cannot say how it came to a logit."""
    item_towers: Graph
    query_tower: QueryTower | None
    """None in a bundle that searches by words alone."""
    calibrator: Calibration
    posterior: Posterior | None = None
    """None in a bundle of a time when nobody fitted one: it cannot explore by Thompson sampling."""
    _interest_models: dict[str, InterestModel] = field(default_factory=dict, repr=False, compare=False)
    _by_plan: deque[tuple[Plan, InterestModel]] = field(
        default_factory=lambda: deque(maxlen=4), repr=False, compare=False
    )

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True, threads: int = 1) -> Bundle:
        """Open a bundle folder; `threads` bounds each ONNX run and each index search.

        `verify` False skips the hashes, which read every byte, and nothing else.

        Raises:
            BundleError: a file is missing, differs from its hash, cannot be read or does not fit the
            others, or a graph does not repeat its recorded answers; the message names the file or the tensor.
        """
        manifest = files.verified_manifest(folder) if verify else read_manifest(folder)
        bundle = cls(
            folder=folder,
            manifest=manifest,
            schema=files.schema(folder, manifest),
            plan=files.plan(folder),
            item_ids=(item_ids := files.strings(folder, artifacts.ITEM_IDS)),
            item_records=files.strings(folder, artifacts.ITEM_RECORDS),
            created=files.mapped(folder, artifacts.ITEM_CREATED),
            available=files.mapped(folder, artifacts.ITEM_AVAILABLE),
            item_vectors=files.mapped(folder, artifacts.ITEM_VECTORS),
            prerank_vectors=files.mapped(folder, artifacts.PRERANK_VECTORS),
            rank_vectors=files.mapped(folder, artifacts.RANK_VECTORS),
            popularity=files.mapped(folder, artifacts.POPULARITY),
            centroids=files.mapped(folder, artifacts.CENTROIDS),
            assignment=files.mapped(folder, artifacts.ASSIGNMENT),
            interest_labels=InterestLabels.open(
                folder, files.mapped(folder, artifacts.CENTROIDS), len(item_ids)
            ),
            neighbours=Neighbours(
                files.mapped(folder, artifacts.NEIGHBOUR_ROWS),
                files.mapped(folder, artifacts.NEIGHBOUR_SCORES),
            ),
            pairs=files.pairs(folder),
            factors=files.factors(folder, threads),
            complements=files.complements(folder, threads),
            snapshot=Snapshot(
                files.mapped(folder, artifacts.SNAPSHOT_VECTORS),
                files.mapped(folder, artifacts.SNAPSHOT_CLUSTERS),
                files.mapped(folder, artifacts.SNAPSHOT_WEIGHTS),
                files.mapped(folder, artifacts.SNAPSHOT_CENTROIDS),
            ),
            index_card=(card := IndexCard.read(folder)),
            index=open_index(folder / artifacts.INDEX, card.settings, threads=threads),
            lexical=LexicalIndex.open(folder / artifacts.LEXICAL),
            user_tower=Graph.open(folder / artifacts.USER_TOWER, threads=threads),
            preranker=Graph.open(folder / artifacts.PRERANKER, threads=threads),
            ranker=Graph.open(folder / artifacts.RANKER, threads=threads),
            ranker_explain=files.optional_graph(folder / artifacts.RANKER_EXPLAIN, threads),
            item_towers=Graph.open(folder / artifacts.ITEM_TOWERS, threads=threads),
            query_tower=QueryTower.open(folder, threads=threads),
            calibrator=files.calibrator(folder),
            posterior=files.posterior(folder),
        )
        bundle._check_sizes()
        bundle._check_numbers()
        bundle._check_graphs()
        bundle._check_index()
        check_parity(folder / artifacts.PARITY, bundle.graphs)
        if bundle.query_tower is not None and (encoder := bundle.query_tower.encoder) is not None:
            check_texts(folder / artifacts.PARITY, encoder)
        return bundle

    @property
    def version(self) -> str:
        """The bundle's name in answers, logs and metrics."""
        return self.manifest.version

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """The graphs by the stem of their files."""
        optional = {
            artifacts.QUERY_TOWER: None if self.query_tower is None else self.query_tower.graph,
            artifacts.RANKER_EXPLAIN: self.ranker_explain,
        }
        return {Path(name).stem: graph for name, graph in optional.items() if graph is not None} | {
            Path(artifacts.USER_TOWER).stem: self.user_tower,
            Path(artifacts.PRERANKER).stem: self.preranker,
            Path(artifacts.RANKER).stem: self.ranker,
            Path(artifacts.ITEM_TOWERS).stem: self.item_towers,
        }

    def interest_model(self, plan: Plan) -> InterestModel:
        """The interest model under a plan, made once per plan: it copies the snapshot's directions."""
        # Each change of the catalogue assembles the cascades anew, under the very same plan.
        for known, model in self._by_plan:
            if known is plan:
                return model
        key = json.dumps(plan.to_json(), sort_keys=True)
        if key not in self._interest_models:
            self._interest_models[key] = InterestModel(
                self.item_vectors, self.centroids, self.assignment, self.snapshot, plan
            )
        self._by_plan.append((plan, self._interest_models[key]))
        return self._interest_models[key]

    def encode_items(self, records: Sequence[Mapping[str, Any]]) -> NewVectors:
        """The vectors of items that the bundle does not know, from their attributes."""
        found = self.item_towers.run_all(tokens=encode_leniently(self.schema.item_fields, records))
        return NewVectors(found["item"], found["prerank"], found["rank"], *self._dual(found["item"]))

    def _dual(self, vectors: Floats) -> tuple[Floats, Floats]:
        """IN and OUT vectors [n, d] of new items with item `vectors` [n, d + 1], by their nearest items."""
        if self.complements is None:
            none = np.zeros((len(vectors), 0), np.float32)
            return none, none
        directions = vectors.copy()
        directions[:, -1] = 0.0
        closeness, near = self.index.search(directions, min(LOOKED_AT, self.index.size))
        return self.complements.inferred(near, closeness)

    def _check_sizes(self) -> None:
        """Refuse tables that do not all have the same items."""
        sizes = {
            artifacts.ITEM_RECORDS: len(self.item_records),
            artifacts.ITEM_CREATED: len(self.created),
            artifacts.ITEM_AVAILABLE: len(self.available),
            artifacts.ITEM_VECTORS: len(self.item_vectors),
            artifacts.PRERANK_VECTORS: len(self.prerank_vectors),
            artifacts.RANK_VECTORS: len(self.rank_vectors),
            artifacts.POPULARITY: self.popularity.shape[-1],
            artifacts.ASSIGNMENT: len(self.assignment),
            artifacts.NEIGHBOUR_ROWS: len(self.neighbours.rows),
            artifacts.NEIGHBOUR_SCORES: len(self.neighbours.scores),
            artifacts.INDEX: self.index.size,
        }
        if self.factors is not None:
            sizes[artifacts.FACTORS] = len(self.factors.vectors)
            sizes[artifacts.FACTOR_INDEX] = self.factors.index.size
        if self.complements is not None:
            sizes[artifacts.COMPLEMENT_IN] = len(self.complements.inward)
            sizes[artifacts.COMPLEMENT_OUT] = len(self.complements.outward)
            sizes[artifacts.COMPLEMENT_INDEX] = self.complements.index.size
        count = len(self.item_ids)
        for name, size in sizes.items():
            if size != count:
                raise BundleError(f"{self.folder / name}: {size} items; {artifacts.ITEM_IDS} has {count}")
        placements = len(self.schema.placements)
        if len(self.popularity) != placements:
            raise BundleError(
                f"{self.folder / artifacts.POPULARITY}: {len(self.popularity)} placements; "
                f"{artifacts.SCHEMA} has {placements}"
            )

    def _check_numbers(self) -> None:
        """Refuse a vector table of half precision with anything that is no number: requests do not look."""
        for name, table in (
            (artifacts.ITEM_VECTORS, self.item_vectors),
            (artifacts.PRERANK_VECTORS, self.prerank_vectors),
            (artifacts.RANK_VECTORS, self.rank_vectors),
        ):
            if table.dtype != np.float16:
                continue
            if not artifacts.is_finite(table):
                raise BundleError(f"{self.folder / name}: a component is not finite; export the bundle again")
            release(table)

    def _check_graphs(self) -> None:
        """Refuse a graph that does not have the inputs and outputs that the manifest says (older ones do
        not)."""
        for name, ports in self.manifest.graphs.items():
            if (graph := self.graphs.get(name)) is None:
                raise BundleError(f"{self.folder}: no {name}.onnx, the manifest lists it")
            for side in ("inputs", "outputs"):
                found, stated = sorted(getattr(graph, side)), sorted(ports[side])
                if found != stated:
                    raise BundleError(
                        f"{self.folder / name}.onnx: {side} are {', '.join(found)}; the manifest says "
                        f"{', '.join(stated)}"
                    )

    def _check_index(self) -> None:
        """Refuse an index that is not the one of its card, or not of these towers and items."""
        index, card = self.folder / artifacts.INDEX, self.index_card
        card.check(
            index, kind=self.index.kind, metric=self.index.metric, dim=self.index.dim, items=self.index.size
        )
        card.check(self.folder / artifacts.USER_TOWER, metric=METRIC, dim=self.user_tower.width)
        vectors = self.folder / artifacts.ITEM_VECTORS
        card.check(vectors, dim=self.item_vectors.shape[1], items=len(self.item_vectors))
        card.check(self.folder / artifacts.MANIFEST, schema_hash=self.manifest.schema_hash)
