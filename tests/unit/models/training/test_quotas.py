from __future__ import annotations

import numpy as np

from models.training import quotas as quotas_module
from models.training.quotas import best_quotas, recall_of, union
from service.cascade.candidates import Candidates
from service.cascade.merge import merge

LISTS = {
    "one": [np.array([3, 1, 4, 5, 9], np.int32), np.array([2, 6], np.int32)],
    "two": [np.array([7, 3, 8], np.int32), np.array([6, 0, 1], np.int32)],
}


def test_the_union_is_the_one_that_serving_makes():
    quotas = {"one": 0.75, "two": 0.5}
    found = union(LISTS, quotas, 4)
    for r in range(2):
        served = merge(
            {
                name: Candidates.of(
                    rows[: int(np.ceil(4 * quotas[name]))],
                    score=-np.arange(len(rows[: int(np.ceil(4 * quotas[name]))]), dtype=np.float32),
                )
                for name, rows in ((name, lists[r]) for name, lists in LISTS.items())
            },
            ("one", "two"),
            quotas,
        )
        assert found[r].tolist() == served.rows[:4].tolist()


def test_a_source_without_a_quota_proposes_nothing():
    assert [rows.tolist() for rows in union(LISTS, {"one": 1.0, "two": 0.0}, 4)] == [[3, 1, 4, 5], [2, 6]]


def test_recall_is_the_share_of_what_was_relevant():
    relevant = np.array([[4, 9], [6, -1]], np.int32)
    assert recall_of(LISTS["one"], relevant, 3).tolist() == [0.5, 1.0]
    assert recall_of(LISTS["one"], relevant, 1).tolist() == [0.0, 0.0]
    assert recall_of(LISTS["one"], relevant, 5).tolist() == [1.0, 1.0]


def test_the_quotas_are_those_that_find_most(monkeypatch):
    monkeypatch.setattr(quotas_module, "GRID", {"one": (0.0, 1.0), "two": (0.0, 1.0), "absent": (1.0,)})
    quotas, found = best_quotas(LISTS, np.array([[7, 8], [0, -1]], np.int32), 4)
    assert (quotas, found) == ({"one": 0.0, "two": 1.0}, 1.0)
