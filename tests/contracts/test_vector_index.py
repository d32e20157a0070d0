from pathlib import Path

import numpy as np
import pytest

from retrieval.index import KINDS, IndexSettings, VectorIndex, build_index, open_index
from tests.contracts.vector_index import VectorIndexSuite


class FaissSuite(VectorIndexSuite):
    settings: IndexSettings

    @classmethod
    def build(cls, vectors: np.ndarray) -> VectorIndex:
        return build_index(vectors, cls.settings, seed=5)

    @classmethod
    def reopen(cls, path: Path) -> VectorIndex:
        return open_index(path)


class TestFlat(FaissSuite):
    settings = IndexSettings("flat")


class TestInvertedLists(FaissSuite):
    settings = IndexSettings("ivf", lists=64, probes=24)
    least_recall = 0.95


class TestGraph(FaissSuite):
    settings = IndexSettings("hnsw", links=32, breadth=128)
    least_recall = 0.95


class TestAuto(FaissSuite):
    settings = IndexSettings("auto")


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_knows_its_kind(kind):
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert build_index(vectors, IndexSettings(kind), seed=0).kind == kind
