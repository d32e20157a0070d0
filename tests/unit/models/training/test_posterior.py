from __future__ import annotations

import numpy as np
import pytest

from models.training.funnel import Pool
from models.training.posterior import PRIORS, fit_counts, fit_posterior
from ranking.platt import Platt


def counts(prior: float, per_event: float, items: int = 4000, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    events = rng.exponential(20.0, items)
    predicted = rng.exponential(8.0, items) + 0.5
    shape = prior + per_event * events
    clicks = rng.poisson(predicted * rng.gamma(shape, 1 / shape)).astype(np.float64)
    return clicks, predicted, events


@pytest.mark.parametrize(("prior", "per_event"), [(0.5, 0.1), (2.0, 0.02), (5.0, 0.0)])
def test_a_planted_spread_is_found_again(prior: float, per_event: float) -> None:
    found = fit_counts(*counts(prior, per_event))
    for events in (0.0, 20.0, 60.0):
        planted = prior + per_event * events
        assert float(found.shape(np.array(events))) == pytest.approx(planted, rel=0.3)


def test_where_clicks_are_as_predicted_there_is_nothing_to_explore() -> None:
    clicks, predicted, events = counts(1e9, 0.0)
    assert 1 / np.sqrt(fit_counts(clicks, predicted, events).shape(np.zeros(1)))[0] < 0.1
    assert fit_counts(predicted, predicted, events).prior == PRIORS[-1]


def test_requests_are_put_together_by_item_and_placement() -> None:
    """Item 0 is taken as often as predicted, item 1 always at one placement and never at the other."""
    logits = [np.zeros(3, np.float32) for _ in range(80)]
    pools = [
        Pool(np.arange(5, dtype=np.int32), np.zeros((5, 1), np.float32), np.zeros(1, np.float32), place)
        for place in [1] * 20 + [0] * 20 + [2] * 20 + [0] * 20
    ]
    placements = np.repeat([0, 1], 40)
    popularity = np.zeros((2, 5), np.float32)
    uneven = fit_posterior(Platt(1.0, -0.7), logits, pools, placements, popularity)
    same = fit_posterior(Platt(1.0, -0.7), logits, pools, np.zeros(80, np.int64), popularity)
    assert uneven.prior < same.prior
