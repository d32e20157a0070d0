from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fusion import reciprocal_ranks

NAN = float("nan")


def fuse(weights: dict[str, float], k: float = 60.0, **lists: list[float]) -> list[float]:
    scores = {name: np.array(values, np.float32) for name, values in lists.items()}
    return [float(one) for one in reciprocal_ranks(scores, weights, k)]


def test_the_formula() -> None:
    scores = fuse({"a": 2.0}, 10.0, a=[3.0, 1.0, 2.0], b=[NAN, 5.0, 4.0])
    best = 3 / 11
    assert scores == pytest.approx(
        [2 / 11 / best, (2 / 13 + 1 / 11) / best, (2 / 12 + 1 / 12) / best], rel=1e-6
    )


def test_of_equal_scores_the_earlier_ranks_better() -> None:
    assert fuse({}, 1.0, a=[1.0, 1.0]) == pytest.approx([1.0, 2 / 3])


def test_a_list_of_weight_nought_or_below_says_nothing() -> None:
    assert fuse({"b": 0.0}, a=[1.0, 2.0], b=[9.0, 1.0]) == fuse({"b": -3.0}, a=[1.0, 2.0], b=[9.0, 1.0])
    assert fuse({"a": 0.0}, a=[1.0, 2.0]) == [0.0, 0.0]


def test_nothing_to_fuse() -> None:
    assert fuse({}) == []
    assert fuse({}, a=[]) == []


@given(
    st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), max_size=30),
    st.floats(0, 10),
    st.floats(1, 100),
)
def test_scores_are_within_nought_and_one(pairs: list[tuple[float, float]], weight: float, k: float) -> None:
    scores = fuse({"a": weight}, k, a=[one for one, _ in pairs], b=[other for _, other in pairs])
    assert len(scores) == len(pairs)
    assert all(0.0 <= score <= 1.0 + 1e-6 for score in scores)
