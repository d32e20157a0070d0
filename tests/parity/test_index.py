"""The bundle's index finds what exact search finds, ties allowed, at the recall that the manifest states."""

import numpy as np
import pytest

from models.artifacts import read_manifest
from retrieval.exact import RECALL_AT, exact_search, index_recall
from retrieval.index import KINDS, IndexSettings, build_index
from service.bundle import Bundle


@pytest.fixture(scope="module")
def bundle(trained_bundle) -> Bundle:
    return Bundle.open(trained_bundle)


def test_the_manifest_states_the_recall(bundle):
    queries = np.ascontiguousarray(bundle.snapshot.vectors)
    found = index_recall(bundle.index, bundle.item_vectors, queries, RECALL_AT)
    assert found == 1.0
    assert read_manifest(bundle.folder).metrics["index"] == {f"recall@{RECALL_AT}": found, "stated": 0.95}
    assert bundle.index_card.recall.measured == found
    assert bundle.index_card.recall.queries > len(queries)


def test_scores_are_those_of_exact_search(bundle):
    queries = np.ascontiguousarray(bundle.snapshot.vectors[:50])
    scores, rows = bundle.index.search(queries, 40)
    expected, _ = exact_search(bundle.item_vectors, queries, 40)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        np.einsum("qd,qkd->qk", queries, bundle.item_vectors[rows]), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_items_that_are_equal_may_stand_for_each_other(bundle, kind):
    """Every item twice: which twin is found is left open, how good the list is, is not."""
    twins = np.repeat(np.asarray(bundle.item_vectors), 2, axis=0)
    index = build_index(twins, IndexSettings(kind, lists=8, probes=8), seed=0)
    queries = np.ascontiguousarray(bundle.snapshot.vectors[:50])
    assert index_recall(index, twins, queries, 41) > (0.999 if kind == "flat" else 0.96)
