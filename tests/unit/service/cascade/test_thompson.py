"""Pages that are left to chance, and how probable each of them says it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ranking.thompson import Posterior
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, ItemId, Outcome, Request, SessionEvent
from service.engine import Engine
from service.errors import OperatorError
from service.features.store import ItemChange
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS

COMEDY = tuple(SessionEvent(ItemId(f"item-{row}"), "like") for row in (0, 4, 8, 12, 16))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    opened = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    return replace(opened, posterior=Posterior(4.0, 0.5))


def engine(bundle: Bundle, fresh: int = 0, **plan: Any) -> Engine:
    """With so many new westerns, of which somebody who likes comedies would see nothing."""
    changes = [
        ItemChange(str(n), ItemId(f"new-{n}"), {"genres": ["western"], "created_at": NOW_MS})
        for n in range(fresh)
    ]
    built = Engine.build(bundle, NullObserver(), plan=replace(bundle.plan, **{"explore": 0.0, **plan}))
    return built.with_changes(changes, NOW_MS) if changes else built


def answer(engine: Engine, number: int, count: int = 6, **request: Any) -> Outcome:
    query = engine.hydrate(
        Request(session=COMEDY, count=count, **request), None, Moment(f"r-{number}", NOW_MS)
    )
    outcome = engine.run(query)
    assert outcome.degraded == ()
    return outcome


def told_and_seen(engine: Engine, pages: int, **request: Any) -> tuple[list[float], list[float]]:
    """What propensities say of each item in its place, on average, and how often it was there."""
    told: dict[tuple[int, int], list[float]] = {}
    seen: Counter[tuple[int, int]] = Counter()
    for number in range(pages):
        outcome = answer(engine, number, **request)
        for place, row in enumerate(outcome.rows.tolist()):
            seen[place, row] += 1
            told.setdefault((place, row), []).append(float(outcome.columns["propensity"][place]))
    often = [key for key, count in seen.items() if count > pages / 20]
    return [float(np.mean(told[key])) for key in often], [seen[key] / pages for key in often]


def test_a_list_that_is_not_left_to_chance_has_no_propensity(bundle: Bundle) -> None:
    assert "propensity" not in answer(engine(bundle), 0).columns
    assert "propensity" not in answer(engine(bundle, explore=0.05), 0).columns
    assert "propensity" not in answer(engine(bundle, fresh=3, explore=0.5), 0).columns


def test_a_request_has_its_page_and_requests_differ(bundle: Bundle) -> None:
    one = engine(bundle, thompson=1.0)
    pages = [answer(one, number).rows.tolist() for number in range(20)]
    assert pages == [answer(one, number).rows.tolist() for number in range(20)]
    assert len({tuple(page) for page in pages}) > 10


def test_a_width_of_next_to_nothing_is_the_order_of_scores(bundle: Bundle) -> None:
    plain = answer(engine(bundle), 0)
    drawn = answer(engine(bundle, thompson=1e-6), 0)
    assert drawn.rows.tolist() == plain.rows.tolist()
    np.testing.assert_allclose(drawn.columns["propensity"], 1.0)


@pytest.mark.parametrize(
    ("plan", "request_", "pages", "error"),
    [
        pytest.param({"thompson": 1.0}, {}, 400, 0.02, id="alone"),
        pytest.param({"thompson": 1.0, "diversity": 0.5}, {}, 200, 0.05, id="of diverse pages"),
        pytest.param({"thompson": 1.0}, {"caps": [Cap("genres", 4)]}, 200, 0.05, id="under caps"),
        pytest.param({"thompson": 1.0, "explore": 0.25, "fresh": 2}, {}, 200, 0.05, id="with fresh places"),
        pytest.param({"explore": 0.25, "fresh": 2}, {}, 400, 0.001, id="of fresh places"),
    ],
)
def test_what_propensities_say_is_how_often_it_happens(
    bundle: Bundle, plan: dict[str, Any], request_: dict[str, Any], pages: int, error: float
) -> None:
    told, seen = told_and_seen(engine(bundle, **plan), pages, **request_)
    assert len(told) >= 6
    chance = np.sqrt(0.25 / pages)
    np.testing.assert_allclose(told, seen, atol=4 * chance + error)
    assert abs(np.mean(told) - np.mean(seen)) < error + chance / 2


def test_inverse_propensities_count_each_place_once_for_everything_that_could_stand_there(
    bundle: Bundle,
) -> None:
    """Sum over pages of [item in place] / propensity = pages, for each item that is there often enough."""
    one = engine(bundle, thompson=1.0)
    weights: Counter[tuple[int, int]] = Counter()
    seen: Counter[tuple[int, int]] = Counter()
    for number in range(400):
        outcome = answer(one, number, count=3)
        for place, (row, chance) in enumerate(
            zip(outcome.rows.tolist(), outcome.columns["propensity"].tolist(), strict=True)
        ):
            weights[place, row] += 1 / chance
            seen[place, row] += 1
    often = [key for key, count in seen.items() if count >= 40]
    assert len(often) >= 5
    for key in often:
        share = seen[key] / 400
        assert weights[key] / 400 == pytest.approx(1.0, abs=5 * np.sqrt((1 - share) / share / 400) + 0.02), (
            key
        )


def test_the_two_outcomes_of_a_rounded_share_are_told_exactly(bundle: Bundle) -> None:
    """A quarter of 6 places is 1 or 2, each as often, and the better of two new items comes first."""
    one = engine(bundle, fresh=2, explore=0.25)
    for number in range(20):
        outcome = answer(one, number)
        new = np.flatnonzero(outcome.rows >= ITEMS).tolist()
        assert new in ([5], [4, 5])
        np.testing.assert_allclose(outcome.columns["propensity"][:4], 1.0)
        np.testing.assert_allclose(outcome.columns["propensity"][4:], 0.5)


def test_without_probabilities_there_is_nothing_to_doubt(bundle: Bundle) -> None:
    with pytest.raises(OperatorError, match="depth 'prerank'"):
        engine(bundle, thompson=1.0, depth="prerank")
    with pytest.raises(OperatorError, match="no posterior"):
        engine(replace(bundle, posterior=None), thompson=1.0)
    with pytest.raises(OperatorError, match="no width"):
        engine(bundle, thompson=-1.0)


def test_a_ranker_that_fails_leaves_nothing_to_chance(bundle: Bundle) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("no ranker today")

    broken: Any = Broken()
    one = engine(replace(bundle, ranker=broken), thompson=1.0)
    query = one.hydrate(Request(session=COMEDY, count=6), None, Moment("r-1", NOW_MS))
    outcome = one.run(query)
    assert "rank" in outcome.degraded
    assert "propensity" not in outcome.columns
    assert len(outcome.rows) == 6
