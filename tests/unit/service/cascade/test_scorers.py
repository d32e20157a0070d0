from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.plan import Plan
from retrieval.preferences import Preferences
from service.cascade.candidates import Candidates
from service.cascade.hydrators.user_interests import UserInterests
from service.cascade.recent import recent_events
from service.cascade.scorers.boost import Boost
from service.cascade.scorers.relevance import Blend
from service.cascade.selectors.best import AsTheyCame, Best
from tests.support.queries import a_query, a_user

NAN = float("nan")


def batch(**columns: list[float]) -> Candidates:
    size = len(next(iter(columns.values())))
    floats = {name: np.array(values, np.float32) for name, values in columns.items()}
    return Candidates.of(np.arange(size, 0, -1, dtype=np.int32), **floats)


def test_recent_events_come_newest_first_with_decay() -> None:
    plan = Plan(similar_events=3, similar_decay=0.5)
    rows, weights = recent_events(a_query(user=a_user((1, 2, 99, 4))), plan, item_count=50)

    assert rows.tolist() == [4, 2]
    assert weights.tolist() == [1.0, 0.25]


@pytest.mark.parametrize(
    ("base", "scores"),
    [
        ([0.5, 0.25, 0.1], [0.5, 0.5, 0.1]),
        ([0.5, NAN, 0.1], [0.5, 0.0, 0.1]),
        ([NAN, NAN, NAN], [1.0, 1.0, 1 / 3]),
    ],
)
def test_a_boost_multiplies_whatever_score_there_is(base: list[float], scores: list[float]) -> None:
    factors = np.array([9.0, 1.0, 2.0, 1.0], np.float32)  # rows are 3, 2, 1
    found = Boost("pctr").score(a_query(boost=factors), batch(pctr=base))

    assert found.tolist() == pytest.approx(scores)


def test_without_a_boost_the_score_is_the_base() -> None:
    assert Boost("pctr").score(a_query(), batch(pctr=[0.5, 0.25])).tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("columns", "blended"),
    [
        ({"rank": [3.0, 1.0, 2.0], "prerank": [0.0, 9.0, 1.0]}, [1.5, 0.5, 0.75]),
        ({"rank": [NAN, NAN, NAN], "prerank": [0.0, 9.0, 1.0]}, [1.0, 1.0, 0.75]),
        ({"rank": [NAN, NAN, NAN], "prerank": [NAN, NAN, NAN]}, [1.0, 0.5, 0.5]),
        ({"rank": [NAN, 1.0, 2.0], "prerank": [0.0, 9.0, 1.0]}, [1.0, 0.75, 1.0]),
    ],
)
def test_a_blend_adds_the_users_own_order(columns: dict[str, list[float]], blended: list[float]) -> None:
    found = Blend(0.5).score(a_query(), batch(relevance=[1.0, 0.5, 0.5], **columns))

    assert found.tolist() == pytest.approx(blended)


@pytest.mark.parametrize(
    ("scores", "then", "positions"),
    [
        ([1.0, 3.0, 2.0], [0.0, 0.0, 0.0], [1, 2]),
        ([1.0, 1.0, 1.0], [0.0, 2.0, 1.0], [1, 2]),
        ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [2, 1]),
        ([NAN, 1.0, float("inf")], [0.0, 0.0, 9.0], [1, 2]),
        ([NAN, NAN, NAN], [0.0, 1.0, 2.0], [0, 1]),
    ],
)
def test_the_best_by_score_then_tie_breaker_then_row(
    scores: list[float], then: list[float], positions: list[int]
) -> None:
    picked = Best("score", ("rank",)).pick(a_query(), batch(score=scores, rank=then), 2)

    assert picked.tolist() == positions


def test_as_they_came_is_the_head() -> None:
    assert AsTheyCame().pick(a_query(), batch(score=[1.0, 2.0, 3.0]), 2).tolist() == [0, 1]
    assert AsTheyCame().pick(a_query(), batch(score=[1.0]), 5).tolist() == [0]


def test_ages_reach_the_interests_in_days() -> None:
    seen: dict[str, Any] = {}

    def interests(vector: Any, rows: Any, weights: Any, ages: Any, preferences: Any) -> Any:
        seen.update(rows=rows.tolist(), weights=weights.tolist(), ages=ages)
        seen.update(preferences=preferences)

    model: Any = SimpleNamespace(interests=interests)
    schema: Any = SimpleNamespace(event_kinds=("view", "click"))
    hydrator = UserInterests.of(model, schema, Plan(event_weights={"view": 0.25}))
    wishes = Preferences.of(muted=[3])
    hydrator.hydrate(a_query(user=a_user((5, 6)), preferences=wishes))

    assert seen["rows"] == [5, 6]
    assert seen["weights"] == [0.25, 0.25]
    assert seen["preferences"] is wishes
    np.testing.assert_allclose(seen["ages"], [2 / 1440, 1 / 1440], rtol=1e-6)
