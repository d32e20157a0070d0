from __future__ import annotations

from typing import Any

import numpy as np

from service.cascade.candidates import Candidates
from service.cascade.merge import merge, names_of


def batch(rows: list[int], scores: list[float] | None = None, **columns: Any) -> Candidates:
    score = np.array(scores if scores is not None else range(len(rows), 0, -1), np.float32)
    return Candidates.of(np.array(rows, np.int32), score=score, **columns)


def test_any_head_holds_the_sources_in_proportion() -> None:
    found = {"a": batch(list(range(90))), "b": batch(list(range(100, 130)))}
    merged = merge(found, ("a", "b"), {"a": 0.6, "b": 0.2})

    for head in (8, 20, 40):
        from_b = int((merged.rows[:head] >= 100).sum())
        assert abs(from_b - head / 4) <= 1


def test_an_item_enters_at_its_best_place() -> None:
    found = {"a": batch([1, 2, 3, 4]), "b": batch([4])}
    merged = merge(found, ("a", "b"), {"a": 1.0, "b": 1.0})

    assert merged.rows.tolist() == [1, 4, 2, 3]
    assert merged["sources"].tolist() == [0b01, 0b11, 0b01, 0b01]
    assert names_of(0b11, ("a", "b")) == ["a", "b"]


def test_a_source_is_ordered_by_its_score_whatever_order_it_came_in() -> None:
    merged = merge({"a": batch([5, 6, 7, 8], [1.0, np.nan, 3.0, 1.0])}, ("a",), {"a": 1.0})

    assert merged.rows.tolist() == [7, 5, 8, 6]


def test_columns_are_kept_and_filled() -> None:
    found = {
        "a": batch([1, 2], [0.5, 0.4], interest_index=np.array([3, 4], np.int32)),
        "b": batch([2, 9], [7.0, 6.0]),
    }
    merged = merge(found, ("a", "b"), {"a": 1.0, "b": 1.0})
    at = {row: i for i, row in enumerate(merged.rows.tolist())}

    assert merged["interest_index"][[at[1], at[2], at[9]]].tolist() == [3, 4, -1]
    np.testing.assert_array_equal(merged["a_score"][[at[1], at[9]]], np.array([0.5, np.nan], np.float32))
    np.testing.assert_array_equal(merged["b_score"][[at[1], at[2]]], np.array([np.nan, 7.0], np.float32))


def test_nothing_merges_to_nothing() -> None:
    assert len(merge({}, ("a",), {"a": 1.0})) == 0
    assert merge({"a": batch([])}, ("a",), {"a": 1.0})["sources"].tolist() == []
