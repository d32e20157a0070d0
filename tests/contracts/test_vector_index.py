from pathlib import Path

import numpy as np
import pytest

from retrieval.clusters import fit_clusters
from retrieval.index import KINDS, IndexSettings, VectorIndex, build_index, check_finite, open_index
from retrieval.scan import Scan
from tests.contracts.vector_index import VectorIndexSuite, planted


class FaissSuite(VectorIndexSuite):
    settings: IndexSettings

    @classmethod
    def build(cls, vectors: np.ndarray, names: list[str] | None = None) -> VectorIndex:
        return build_index(vectors, cls.settings, seed=5, names=names)

    @classmethod
    def reopen(cls, path: Path) -> VectorIndex:
        return open_index(path, cls.settings)


class TestFlat(FaissSuite):
    settings = IndexSettings("flat")


class TestScan(FaissSuite):
    """Vectors that are searched as they are; of a row whose vector is not finite nobody asks the builder."""

    settings = IndexSettings("flat")

    @classmethod
    def build(cls, vectors: np.ndarray, names: list[str] | None = None) -> VectorIndex:
        check_finite(vectors, names)
        return Scan(vectors)


class TestInvertedLists(FaissSuite):
    settings = IndexSettings("ivf", lists=64, probes=24)
    least_recall = 0.95


class TestHalves(FaissSuite):
    settings = IndexSettings("half", lists=64, probes=24)
    least_recall = 0.95
    tolerance = 0.02


class TestInvertedListsInClusters(FaissSuite):
    """Cells that somebody else made, of fewer components than the vectors."""

    settings = IndexSettings("ivf", probes=24)
    least_recall = 0.95

    @classmethod
    def build(cls, vectors: np.ndarray, names: list[str] | None = None) -> VectorIndex:
        clusters = fit_clusters(planted(len(vectors))[:, :-1], 64, seed=3).centroids
        return build_index(vectors, cls.settings, seed=5, names=names, clusters=clusters)


class TestGraph(FaissSuite):
    settings = IndexSettings("hnsw", links=32, breadth=128)
    least_recall = 0.95


class TestProductCodes(FaissSuite):
    settings = IndexSettings("ivfpq", lists=64, probes=24, refine=8)
    least_recall = 0.95


class TestFourBitCodes(FaissSuite):
    settings = IndexSettings("pq4", lists=64, probes=24, refine=8)
    least_recall = 0.95


class TestEightBitCodes(FaissSuite):
    settings = IndexSettings("sq8", lists=64, probes=24)
    least_recall = 0.95
    tolerance = 0.25


class TestAuto(FaissSuite):
    settings = IndexSettings("auto")


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_knows_its_kind(kind):
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert build_index(vectors, IndexSettings(kind), seed=0).kind == kind
