"""What every vector index must do. A kind's test subclasses this suite and says how it is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.index import IndexSettings, NotFinite, VectorIndex

WIDTH = 17


def planted(items: int, seed: int = 0) -> np.ndarray:
    """Vectors around forty directions, with an uneven length, as item tables have them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, WIDTH))
    vectors = centres[rng.integers(0, 40, items)] + rng.normal(0, 0.6, (items, WIDTH))
    return (vectors * rng.uniform(0.8, 1.2, (items, 1))).astype(np.float32)


def queries(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def maps() -> str:
    """What this process has mapped into its memory."""
    return Path("/proc/self/maps").read_text()


class VectorIndexSuite(ABC):
    """`least_recall` is the share of the exact 50 best that a search for 50 must find.

    `tolerance` is how far a score may be from the inner product; without codes, rounding apart, 0.
    """

    least_recall = 1.0
    tolerance = 0.0

    @classmethod
    @abstractmethod
    def build(cls, vectors: np.ndarray, names: list[str] | None = None) -> VectorIndex:
        """An index over `vectors`, called `names` in errors."""

    @classmethod
    @abstractmethod
    def reopen(cls, path: Path) -> VectorIndex:
        """An index from the file that `save` wrote."""

    @pytest.fixture(scope="class")
    @classmethod
    def vectors(cls) -> np.ndarray:
        return planted(3000)

    @pytest.fixture(scope="class")
    @classmethod
    def index(cls, vectors: np.ndarray) -> VectorIndex:
        return cls.build(vectors)

    def test_recall_against_exact_search(self, index, vectors):
        asked = queries(40)
        exact = np.argsort(-(asked @ vectors.T), axis=1)[:, :50]
        _, rows = index.search(asked, 50)
        hits = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), rows.tolist(), strict=True)]
        assert np.mean(hits) / 50 >= self.least_recall

    def test_scores_are_the_inner_products_of_distinct_rows_best_first(self, index, vectors):
        asked = queries(5)
        scores, rows = index.search(asked, 30)
        assert scores.dtype == np.float32
        assert rows.dtype == np.int32
        assert scores.shape == rows.shape == (5, 30)
        for query, row_scores, found in zip(asked, scores, rows, strict=True):
            found = found[found >= 0]
            assert len(set(found.tolist())) == len(found)
            np.testing.assert_allclose(
                row_scores[: len(found)], vectors[found] @ query, rtol=1e-4, atol=1e-4 + self.tolerance
            )
            assert (np.diff(row_scores[: len(found)]) <= 0).all()

    def test_a_batch_answers_like_its_single_queries(self, index):
        asked = queries(30)
        _, together = index.search(asked, 10)
        alone = np.concatenate([index.search(query[None], 10)[1] for query in asked])
        assert (together == alone).mean() > 0.99

    def test_more_than_there_is_gets_padded(self):
        index = self.build(planted(7))
        scores, rows = index.search(queries(2), 12)
        assert rows.shape == (2, 12)
        assert (np.isneginf(scores) == (rows < 0)).all()
        assert (np.sort(rows, axis=1)[:, -7:] == np.arange(7)).all()

    def test_fewer_items_than_cells_links_and_code_words(self):
        for count in (1, 2, 5, 20):
            index, asked = self.build(planted(count)), queries(3)
            scores, rows = index.search(asked, count)
            assert (np.sort(rows, axis=1) == np.arange(count)).all()
            assert np.isfinite(scores).all()

    @pytest.mark.parametrize("k", [1500, 2990, 3000, 3001])
    def test_a_full_answer_however_much_is_asked(self, index, k):
        """Cells that were not read and islands of a graph are no excuse."""
        scores, rows = index.search(queries(3), k)
        for found, row_scores in zip(rows, scores, strict=True):
            assert len(set(found[found >= 0].tolist())) == min(k, 3000)
            assert np.isfinite(row_scores[found >= 0]).all()
            assert (np.diff(row_scores[found >= 0]) <= 0).all()

    def test_items_that_are_equal_may_stand_for_each_other(self):
        """Every vector three times: which twin is found is left open, how good the list is, is not."""
        vectors = np.repeat(planted(1000), 3, axis=0)
        index, asked = self.build(vectors), queries(20)
        best = -np.sort(-(asked @ vectors.T), axis=1)[:, :50]
        _, rows = index.search(asked, 50)
        found = np.einsum("qd,qkd->qk", asked, vectors[rows])
        assert all(len(set(each)) == 50 for each in rows.tolist())
        assert (found >= best[:, -1:] - 1e-4).mean() >= self.least_recall

    def test_items_that_are_all_the_same(self):
        index = self.build(np.ones((300, WIDTH), np.float32))
        _, rows = index.search(queries(2), 200)
        assert all(len(set(each)) == 200 for each in rows.tolist())
        assert (rows >= 0).all()

    def test_what_it_is(self, index):
        assert (index.size, index.dim, index.metric) == (3000, WIDTH, "inner_product")

    @pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
    def test_a_vector_that_is_not_finite_never_enters_and_is_named(self, poison):
        vectors = planted(300)
        vectors[[17, 40], 3] = poison
        with pytest.raises(NotFinite, match=r"item 'i-17' \(row 17\).*2 of 300"):
            self.build(vectors, names=[f"i-{row}" for row in range(300)])
        with pytest.raises(NotFinite, match=rf"row 17 .*{poison}"):
            self.build(vectors)

    def test_large_values_are_finite(self):
        vectors = planted(30)
        vectors[5] = 1e30
        assert self.build(vectors).size == 30

    def test_a_query_of_another_dimension_is_refused_with_both(self, index):
        with pytest.raises(ValueError, match=f"{WIDTH + 1} components, the index has {WIDTH}"):
            index.search(np.zeros((2, WIDTH + 1), np.float32), 5)

    @pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
    def test_a_query_that_is_not_finite_is_refused(self, index, poison):
        asked = queries(2)
        asked[1, 3] = poison
        with pytest.raises(ValueError, match="not finite"):
            index.search(asked, 5)

    def test_no_query_and_no_neighbour_wanted(self, index):
        assert index.search(queries(0), 5)[1].shape[0] == 0
        assert index.search(queries(2), 0)[1].shape == (2, 0)

    def test_queries_need_not_be_contiguous_or_float32(self, index):
        asked = queries(4)
        _, expected = index.search(asked, 10)
        _, strided = index.search(np.repeat(asked, 2, axis=0)[::2].astype(np.float64), 10)
        np.testing.assert_array_equal(strided, expected)

    def test_building_again_gives_the_same_answers(self, index, vectors):
        asked = queries(10)
        np.testing.assert_array_equal(self.build(vectors).search(asked, 20)[1], index.search(asked, 20)[1])

    def test_a_saved_index_answers_the_same_and_its_file_stays_as_it_was(self, index, tmp_path):
        path = tmp_path / "index"
        index.save(path)
        before = path.read_bytes()
        path.chmod(0o444)
        opened = self.reopen(path)
        assert (opened.size, opened.kind) == (index.size, index.kind)
        for mine, theirs in zip(opened.search(queries(20), 30), index.search(queries(20), 30), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert path.read_bytes() == before

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
    def test_an_opened_index_is_mapped_not_read(self, index, tmp_path):
        path = tmp_path / "index"
        index.save(path)
        assert str(path) not in maps()
        opened = self.reopen(path)
        opened.search(queries(5), 30)
        assert str(path) in maps()

    def test_another_thoroughness_leaves_the_index_as_it_was(self, index):
        asked = queries(10)
        before = index.search(asked, 20)[1]
        thin = index.searching(IndexSettings(probes=1, breadth=1, refine=1))
        assert (thin.size, thin.kind) == (index.size, index.kind)
        thin.search(asked, 20)
        np.testing.assert_array_equal(index.search(asked, 20)[1], before)

    def test_threads_search_side_by_side(self, index):
        asked = queries(40)
        expected = np.concatenate([index.search(query[None], 10)[1] for query in asked])
        with ThreadPoolExecutor(4) as pool:
            found = np.concatenate(list(pool.map(lambda query: index.search(query[None], 10)[1], asked)))
        np.testing.assert_array_equal(found, expected)
