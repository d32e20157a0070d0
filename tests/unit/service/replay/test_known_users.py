from __future__ import annotations

import numpy as np
import pytest

from service.replay.judge import Lists, known_users


def lists() -> dict[str, Lists]:
    """Four requests for item 0: the final list has it first, then second, and twice not; the other first."""
    relevant = np.zeros((4, 1), np.int32)
    final = np.array([[0, 1], [1, 0], [1, 2], [2, 1]], np.int32)
    return {
        "final list": Lists.of(final, relevant),
        "other": Lists.of(np.array([[0, 1]] * 4, np.int32), relevant),
    }


def test_users_with_a_history_are_judged_apart() -> None:
    found = known_users(lists(), np.array([True, True, False, False]), 3)
    assert found is not None
    assert found["requests"] == 2
    assert found["lists"]["final list"]["HR@10"] == 1.0
    assert found["lists"]["final list"]["NDCG@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    against = found["final list against"]["other"]
    assert against["NDCG@10 difference"] == pytest.approx((1 / np.log2(3) - 1) / 2)


@pytest.mark.parametrize("known", [[True] * 4, [False] * 4, [True, False, False, False]])
def test_where_all_or_hardly_any_have_one_there_is_nothing_apart(known: list[bool]) -> None:
    assert known_users(lists(), np.array(known), 3) is None
