import threading

import faiss
import numpy as np
import pytest

from models.artifacts import BundleError
from retrieval.index import IndexSettings, build_index, open_index
from retrieval.threads import bound_threads

VECTORS = np.random.default_rng(0).normal(size=(300, 9)).astype(np.float32)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused_by_name(tmp_path, kind, keep):
    path = tmp_path / "index.faiss"
    build_index(VECTORS, IndexSettings(kind), seed=0).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(BundleError, match=r"index\.faiss: not a readable FAISS index"):
        open_index(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(BundleError, match="nothing"):
        open_index(tmp_path / "nothing")


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'tree'.*flat.*hnsw.*ivf"):
        build_index(VECTORS, IndexSettings("tree"), seed=0)


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        build_index(np.full((3, 2), np.nan, np.float32), IndexSettings("flat"), seed=0)


def test_probes_and_breadth_survive_the_file(tmp_path):
    path = tmp_path / "index"
    build_index(VECTORS, IndexSettings("ivf", lists=20, probes=7), seed=0).save(path)
    assert open_index(path)._index.nprobe == 7


def test_the_bound_holds_in_the_thread_that_asked():
    found: list[int] = []

    def ask() -> None:
        bound_threads(1)
        found.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [1]
