from __future__ import annotations

import numpy as np
import pytest

from service.cascade.candidates import Candidates
from service.cascade.scorers.found import FEATURES, Fused, Suiting, feature
from tests.support.queries import a_query

NAN = float("nan")


def batch(**columns: list[float]) -> Candidates:
    size = len(next(iter(columns.values())))
    rows = np.arange(size, 0, -1, dtype=np.int32)
    return Candidates.of(rows, **{name: np.array(values, np.float32) for name, values in columns.items()})


def fused(weights: dict[str, float], **columns: list[float]) -> list[float]:
    return [float(one) for one in Fused(weights, 1.0).score(a_query(), batch(**columns))]


def test_an_item_of_both_lists_beats_the_best_of_one() -> None:
    scores = fused({}, lexical_score=[9.0, 8.0, NAN], dense_score=[NAN, 0.5, 0.9])
    assert scores == pytest.approx([0.5, (1 / 3 + 1 / 3) / 1.0, 0.5])


def test_the_first_of_both_lists_has_the_whole_score() -> None:
    assert fused({"dense": 3.0}, lexical_score=[9.0, 8.0], dense_score=[0.9, 0.1])[0] == pytest.approx(1.0)


def test_a_list_has_its_weight() -> None:
    scores = fused({"lexical": 0.0}, lexical_score=[9.0, 1.0], dense_score=[0.1, 0.9])
    assert scores[1] > scores[0]


def test_a_source_that_is_absent_or_failed_has_no_say() -> None:
    alone = fused({}, lexical_score=[9.0, 8.0])
    assert alone[0] == pytest.approx(1.0)
    assert alone[1] < 1.0
    assert fused({}, tower=[1.0, 2.0]) == [1.0, 1.0]


def test_suiting_is_a_softmax_over_weighted_features() -> None:
    found = batch(relevance=[1.0, 0.5], lexical_score=[4.0, 2.0], rank=[0.0, 2.0])
    weights = {"relevance": 1.0, "lexical": 2.0, "rank": 0.5}
    logits = np.array([0.0 + 2.0 - 0.5, np.log(0.5) + 1.0 + 0.5])
    scores = Suiting("blend", weights).score(a_query(), found)

    np.testing.assert_allclose(scores, np.exp(logits - logits.max()), rtol=1e-5)


def test_a_stage_that_fell_back_changes_nothing() -> None:
    without = Suiting("blend", {"relevance": 1.0}).score(a_query(), batch(relevance=[1.0, 0.5]))
    fallen = Suiting("blend", {"relevance": 1.0, "rank": 9.0}).score(
        a_query(), batch(relevance=[1.0, 0.5], rank=[NAN, NAN])
    )
    assert without.tolist() == fallen.tolist()


def test_what_a_list_has_not_got_counts_as_its_least() -> None:
    assert feature("dense", batch(dense_score=[NAN, 1.0, 3.0])).tolist()[0] == pytest.approx(
        feature("dense", batch(dense_score=[1.0, 1.0, 3.0])).tolist()[0]
    )
    assert feature("lexical", batch(lexical_score=[NAN, 1.0, 2.0])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("values", [[], [NAN, NAN], [2.0, 2.0], [0.0, 0.0], [1e30, -1e30]])
def test_every_feature_is_finite_whatever_comes(name: str, values: list[float]) -> None:
    column = f"{name}_score" if name in ("lexical", "dense") else name
    found = feature(name, batch(**{column: values}))
    assert np.isfinite(found).all()
    scores = Suiting("blend", {name: 1.0}).score(a_query(), batch(**{column: values}))
    assert ((scores >= 0) & (scores <= 1)).all()
