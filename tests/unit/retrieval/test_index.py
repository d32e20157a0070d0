import threading
from dataclasses import replace

import faiss
import numpy as np
import pytest

from models.artifacts import BundleError
from retrieval.cells import centres
from retrieval.exact import index_recall
from retrieval.index import KINDS, IndexSettings, build_index, open_index
from retrieval.index_settings import RECALL_AT
from retrieval.threads import bound_threads

VECTORS = np.random.default_rng(0).normal(size=(300, 9)).astype(np.float32)


@pytest.mark.parametrize("kind", sorted(KINDS))
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


def asked() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(40, 9)).astype(np.float32)


@pytest.mark.parametrize(
    ("built", "thorough"),
    [
        (IndexSettings("ivf", lists=30, probes=1), {"probes": 30}),
        (IndexSettings("sq8", lists=30, probes=1), {"probes": 30}),
        (IndexSettings("ivfpq", lists=30, probes=1, refine=4), {"probes": 30}),
        (IndexSettings("ivfpq", lists=2, probes=2, refine=1, code_bytes=1), {"refine": 20}),
        (IndexSettings("pq4", lists=30, probes=1, refine=4), {"probes": 30}),
        (IndexSettings("pq4", lists=2, probes=2, refine=1, code_bytes=1), {"refine": 20}),
        (IndexSettings("hnsw", links=4, effort=8, breadth=1), {"breadth": 200}),
    ],
)
def test_how_thorough_a_search_is_can_be_said_at_the_opening(tmp_path, built, thorough):
    path = tmp_path / "index"
    build_index(VECTORS, built, seed=0).save(path)
    as_built = index_recall(open_index(path), VECTORS, asked(), 10)
    better = index_recall(open_index(path, replace(built, **thorough)), VECTORS, asked(), 10)
    assert as_built < 0.9
    assert better > as_built + 0.05


def test_auto_scans_a_few_and_has_cells_for_many():
    assert IndexSettings().resolved(20_000).kind == "flat"
    assert IndexSettings().resolved(20_001).kind == "pq4"
    assert IndexSettings("sq8").resolved(10).kind == "sq8"


@pytest.mark.parametrize("kind", ["ivfpq", "pq4"])
def test_a_list_deeper_than_what_is_refined_comes_by_code_and_has_what_a_refined_one_finds(kind):
    random = np.random.default_rng(1)
    vectors, queries = (random.normal(size=(count, 16)).astype(np.float32) for count in (3000, 10))
    index = build_index(vectors, IndexSettings(kind, lists=20, probes=20, refine=2), seed=0)
    scores, refined = index.search(queries, RECALL_AT)
    coded, found = index.search(queries, 2 * RECALL_AT + 1)
    kept = [np.isin(best, wide).mean() for best, wide in zip(refined, found, strict=True)]
    assert np.mean(kept) > 0.99
    exact = np.einsum("qd,qkd->qk", queries, vectors[found])
    assert not np.allclose(coded, exact, atol=1e-4)
    assert np.corrcoef(coded.ravel(), exact.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", queries, vectors[refined]), rtol=1e-4)


def test_an_index_without_settings_refines_as_it_was_built_to(tmp_path):
    random = np.random.default_rng(1)
    vectors, queries = (random.normal(size=(count, 16)).astype(np.float32) for count in (3000, 10))
    settings = IndexSettings("pq4", lists=20, probes=7, refine=3)
    built = build_index(vectors, settings, seed=0)
    built.save(tmp_path / "index")
    opened = open_index(tmp_path / "index")
    for k in (RECALL_AT, 3 * RECALL_AT + 1):
        for one, other in zip(opened.search(queries, k), built.search(queries, k), strict=True):
            np.testing.assert_array_equal(one, other)


def test_codes_of_four_bits_rank_well_where_a_few_components_make_most_of_a_score():
    random = np.random.default_rng(1)
    spread = np.geomspace(4.0, 0.05, 16).astype(np.float32)
    vectors, queries = (random.normal(size=(count, 16)).astype(np.float32) * spread for count in (3000, 30))
    index = build_index(vectors, IndexSettings("pq4", lists=20, probes=20, refine=1), seed=0)
    coded, found = index.search(queries, RECALL_AT + 100)
    exact = np.einsum("qd,qkd->qk", queries, vectors[found])
    alike = [np.corrcoef(one, other)[0, 1] for one, other in zip(coded, exact, strict=True)]
    assert np.mean(alike) > 0.96


def test_settings_survive_json():
    settings = IndexSettings("hnsw", links=7, breadth=9)
    assert IndexSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"probe": 3}, "probe"),
        ({"probes": -1}, "probes is -1"),
        ({"probes": True}, "True"),
        ({"kind": 3}, "kind"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(raw, words):
    with pytest.raises(ValueError, match=words):
        IndexSettings.from_json(raw)


@pytest.mark.parametrize(
    ("clusters", "lists", "cells"),
    [(17, 0, 17), (7, 0, 7), (21, 0, 21), (6, 0, 17), (22, 0, 17), (5, 5, 5), (17, 5, 5)],
)
def test_clusters_become_cells_where_their_number_suits(clusters, lists, cells):
    """sqrt(300) is 17.3: 0.4 to 1.25 times as many suit, or just as many as are asked for."""
    centroids = np.random.default_rng(2).normal(size=(clusters, 8)).astype(np.float32)
    found = centres(VECTORS, lists, 0, centroids)
    assert found.shape == (cells, 9)
    shared = clusters == cells
    assert np.array_equal(found[:clusters, :-1], centroids) == shared
    assert (found[:, -1] == 0).all() == shared


def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def many_threads():
    """The main thread may use three, whatever the machine or the environment says."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield
    faiss.omp_set_num_threads(before)


def test_a_bound_that_the_main_thread_sets_does_not_reach_a_worker(many_threads):
    """Why every search bounds the thread it runs in: FAISS's own setting is per calling thread."""
    in_thread(lambda: faiss.omp_set_num_threads(2))
    assert faiss.omp_get_max_threads() == 3
    faiss.omp_set_num_threads(7)
    assert in_thread(faiss.omp_get_max_threads) != 7


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_search_bounds_the_worker_that_it_runs_in(many_threads, kind):
    index = build_index(VECTORS, IndexSettings(kind), seed=0, threads=1)

    def work() -> tuple[int, int]:
        faiss.omp_set_num_threads(4)
        before = faiss.omp_get_max_threads()
        index.search(asked(), 5)
        return before, faiss.omp_get_max_threads()

    assert in_thread(work) == (4, 1)


def test_a_new_worker_is_bounded_though_another_was_before():
    for count in (1, 2, 1):
        assert in_thread(lambda count=count: (bound_threads(count), faiss.omp_get_max_threads())[1]) == count
