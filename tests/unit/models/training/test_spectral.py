import numpy as np
import pytest
import scipy.sparse

from models.training import spectral
from models.training.spectral import SPREAD, item_graph, spectral_vectors

BLOCKS, USERS, ITEMS = 4, 30, 15


def planted(seed: int = 0, strangers: int = 2) -> scipy.sparse.csr_matrix:
    """Users of four camps, each with about 40% of the camp's items and now and then another; at the end items
    that nobody met."""
    rng = np.random.default_rng(seed)
    camp_of_user, camp_of_item = np.arange(BLOCKS * USERS) % BLOCKS, np.arange(BLOCKS * ITEMS) % BLOCKS
    chance = np.where(camp_of_user[:, None] == camp_of_item, 0.4, 0.01)
    met = rng.random(chance.shape) < chance
    return scipy.sparse.csr_matrix(np.pad(met, ((0, 0), (0, strangers))).astype(np.float32))


def same_camp() -> np.ndarray:
    camp = np.arange(BLOCKS * ITEMS) % BLOCKS
    return camp[:, None] == camp


def nothing(users: int, items: int) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix((users, items), dtype=np.float32)


class TestVectors:
    def test_rows_are_as_long_as_those_of_a_random_start(self):
        vectors = spectral_vectors(planted(), 8, 0)
        assert vectors.shape == (BLOCKS * ITEMS + 2, 8)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors[:-2], axis=1), SPREAD * 8**0.5, rtol=1e-5)

    def test_with_lengths_an_ideal_low_pass_filter_comes_of_them(self):
        """A row against all vectors is a row of the projection onto the spectrum, times D_i^1/2; lengths are
        on average those of a random start."""
        seen = planted()
        vectors = spectral_vectors(seen, 8, 0, lengths=True)
        length = np.linalg.norm(vectors[:-2], axis=1)
        assert length.mean() == pytest.approx(SPREAD * 8**0.5, rel=1e-5)
        met = seen.toarray()
        damped_users = met.sum(1, keepdims=True) + spectral.DAMPING
        damped_items = met.sum(0) + spectral.DAMPING
        assert np.corrcoef(length, damped_items[:-2])[0, 1] > 0.3
        basis = np.linalg.svd(met / np.sqrt(damped_users) / np.sqrt(damped_items))[2][:8].T
        wanted = (basis @ basis.T) * np.sqrt(damped_items)
        scores = spectral_vectors(seen, 8, 0) @ vectors.T
        for item in (0, 1, 2):
            np.testing.assert_allclose(
                scores[item] / np.abs(scores[item]).max(),
                wanted[item] / np.abs(wanted[item]).max(),
                atol=1e-4,
            )

    def test_items_of_the_same_users_are_close_and_others_are_not(self):
        vectors = spectral_vectors(planted(), BLOCKS, 0)[:-2].astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = vectors @ vectors.T
        other = ~np.eye(len(cosine), dtype=bool)
        assert cosine[same_camp() & other].min() > 0.7
        assert np.abs(cosine[~same_camp()]).mean() < 0.3

    def test_its_seed_repeats_it(self):
        one, same = spectral_vectors(planted(), 8, 3), spectral_vectors(planted(), 8, 3)
        np.testing.assert_array_equal(one, same)

    def test_an_item_that_nobody_met_has_no_direction(self):
        assert (spectral_vectors(planted(strangers=3), 8, 0)[-3:] == 0).all()
        assert (spectral_vectors(planted(strangers=3), 8, 0, lengths=True)[-3:] == 0).all()

    @pytest.mark.parametrize("lengths", [False, True])
    def test_without_any_event_everything_is_zero(self, lengths):
        assert (spectral_vectors(nothing(5, 7), 4, 0, lengths=lengths) == 0).all()

    def test_dimensions_beyond_the_rank_are_zero(self):
        """Three kinds of users make rank three: what rounding leaves of a fourth is no direction."""
        kinds = scipy.sparse.csr_matrix(np.kron(np.eye(3), np.ones((10, 5))).astype(np.float32))
        vectors = spectral_vectors(kinds, 8, 0)
        assert (vectors[:, 3:] == 0).all()
        assert (np.abs(vectors[:, :3]).sum(axis=0) > 0).all()

    def test_more_dimensions_than_users_are_padded(self):
        vectors = spectral_vectors(planted()[:4], 16, 0)
        assert (vectors[:, 3:] == 0).all()
        assert np.isfinite(vectors).all()

    @pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (4, 6), (30, 20)])
    @pytest.mark.parametrize("filled", [False, True])
    def test_the_smallest_worlds_are_finite(self, shape, filled):
        seen = scipy.sparse.csr_matrix(np.ones(shape, np.float32)) if filled else nothing(*shape)
        vectors = spectral_vectors(seen, 4, 0)
        assert vectors.shape == (shape[1], 4)
        assert np.isfinite(vectors).all()
        assert filled or not vectors.any()


class TestGraph:
    def test_rows_sum_to_one_or_are_empty_and_no_item_is_its_own_neighbour(self):
        graph = item_graph(planted(), 6)
        assert graph.shape == (BLOCKS * ITEMS + 2,) * 2
        np.testing.assert_allclose(np.asarray(graph.sum(1)).ravel()[:-2], 1, rtol=1e-5)
        assert graph[-2:].nnz == 0
        assert graph[:, -2:].nnz == 0
        assert not graph.diagonal().any()
        assert graph.dtype == np.float32

    @pytest.mark.parametrize("count", [1, 6, 500])
    def test_there_are_at_most_so_many_neighbours(self, count):
        per_item = item_graph(planted(), count).getnnz(axis=1)
        assert per_item.max() <= count
        assert (per_item[:-2] >= min(count, ITEMS - 1)).all()

    def test_neighbours_are_of_the_same_camp_and_the_strongest(self):
        graph = item_graph(planted(), 6).toarray()[:-2, :-2]
        assert graph[~same_camp()].sum() < 0.05 * graph.sum()
        every = item_graph(planted(), 500).toarray()[:-2, :-2]
        for row in range(len(graph)):
            kept = graph[row] > 0
            assert every[row][kept].min() >= every[row][~kept].max() - 1e-7

    def test_it_is_the_dense_formula(self):
        seen = planted().toarray().astype(np.float64)
        users, items = seen.sum(1) + spectral.DAMPING, seen.sum(0) + spectral.DAMPING
        scaled = seen / np.sqrt(items)
        expected = scaled.T @ (scaled / users[:, None])
        np.fill_diagonal(expected, 0)
        expected /= np.maximum(expected.sum(1, keepdims=True), 1e-12)
        np.testing.assert_allclose(item_graph(planted(), 500).toarray(), expected, atol=1e-6)

    @pytest.mark.parametrize("block", [1, 7, 31])
    def test_blocks_change_nothing(self, monkeypatch, block):
        whole = item_graph(planted(), 6)
        monkeypatch.setattr(spectral, "_BLOCK", block)
        parts = item_graph(planted(), 6)
        np.testing.assert_array_equal(parts.indptr, whole.indptr)
        np.testing.assert_array_equal(parts.indices, whole.indices)
        np.testing.assert_allclose(parts.data, whole.data, rtol=1e-6)

    @pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (4, 6)])
    @pytest.mark.parametrize("filled", [False, True])
    def test_the_smallest_worlds_have_a_graph(self, shape, filled):
        seen = scipy.sparse.csr_matrix(np.ones(shape, np.float32)) if filled else nothing(*shape)
        graph = item_graph(seen, 3)
        assert graph.shape == (shape[1], shape[1])
        assert (graph.nnz > 0) == (filled and shape[1] > 1)
