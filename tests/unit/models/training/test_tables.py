from dataclasses import replace

import faiss
import numpy as np
import pytest

from models.training.config import RetrievalConfig
from models.training.tables import HALF_LIFE_SHARE, Space, Tables, decayed_popularity
from retrieval.index import NotFinite
from tests.unit.models.data.tiny import events_dataset


def test_an_event_counts_half_after_a_quarter_of_the_time():
    dataset = events_dataset([0, 0, 0, 0], [0, 1, 2, 0], [0, 75, 100, 100])
    popularity = decayed_popularity(dataset, np.arange(4))
    assert HALF_LIFE_SHARE == 0.25
    np.testing.assert_allclose(popularity[0], [1 + 0.5**4, 0.5, 1.0], rtol=1e-6)


def test_only_the_given_events_count_and_they_set_the_clock():
    dataset = events_dataset([0, 0, 0], [0, 1, 2], [0, 50, 100])
    popularity = decayed_popularity(dataset, np.array([0, 1]))
    np.testing.assert_allclose(popularity[0], [0.5**4, 1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("order", ["sequence", "none"])
def test_events_of_made_up_times_all_count_the_same(order):
    dataset = replace(events_dataset([0, 0, 0, 0], [0, 1, 2, 0], [0, 75, 100, 100]), order=order)
    assert decayed_popularity(dataset, np.arange(4))[0].tolist() == [2, 1, 1]


def test_each_placement_has_counts_of_its_own():
    dataset = replace(
        events_dataset([0, 0, 0], [0, 1, 1], [5, 5, 5]), event_placement=np.array([0, 1, 1], np.int16)
    )
    popularity = decayed_popularity(dataset, np.arange(3))
    assert popularity.dtype == np.float32
    assert popularity.tolist() == [[1, 0], [0, 2]]


@pytest.mark.parametrize("events", [[], [1]])
def test_few_events_or_one_moment_have_a_popularity(events):
    dataset = events_dataset([0, 0], [0, 1], [3, 3])
    popularity = decayed_popularity(dataset, np.array(events, np.int64))
    assert popularity.sum() == len(events)


def test_tables_are_counted_from_the_given_events_only():
    dataset = events_dataset([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 3], range(6))
    tables = Tables.of(dataset, np.arange(4), RetrievalConfig(neighbours=2, neighbour_method="cooccurrence"))
    assert tables.neighbours.rows.tolist() == [[1, -1], [0, -1], [-1, -1], [-1, -1]]
    assert (tables.popularity[0] > 0).tolist() == [True, True, False, False]


def test_clusters_are_of_directions_and_the_index_of_whole_vectors():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 5)).astype(np.float32)
    vectors[:, :-1] /= np.linalg.norm(vectors[:, :-1], axis=1, keepdims=True)
    space = Space.of(vectors, RetrievalConfig(clusters=4), seed=1, threads=1)
    assert space.clusters.centroids.shape == (4, 4)
    assert space.index.size == 60
    query = random.normal(size=(1, 5)).astype(np.float32)
    assert space.index.search(query, 1)[1][0, 0] == np.argmax(vectors @ query[0])
    louder = np.column_stack([vectors[:, :-1], vectors[:, -1] + 100]).astype(np.float32)
    again = Space.of(louder, RetrievalConfig(clusters=4), seed=1, threads=1)
    np.testing.assert_array_equal(again.clusters.assignment, space.clusters.assignment)


def test_an_item_whose_vector_is_not_finite_is_named():
    vectors = np.ones((30, 5), np.float32)
    vectors[7, 2] = np.nan
    with pytest.raises(NotFinite, match=r"item 'i7' \(row 7\)"):
        Space.of(vectors, RetrievalConfig(clusters=4), 1, 1, [f"i{row}" for row in range(30)])


@pytest.mark.parametrize(("clusters", "cells"), [(150, 150), (20, 141)])
def test_the_clusters_are_the_cells_where_their_number_suits(clusters, cells):
    vectors = np.random.default_rng(0).normal(size=(20_001, 5)).astype(np.float32)
    space = Space.of(vectors, RetrievalConfig(clusters=clusters), 1, 1)
    assert space.index.kind == "pq4"
    assert faiss.extract_index_ivf(space.index._index).nlist == cells
