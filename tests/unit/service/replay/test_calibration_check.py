from __future__ import annotations

import numpy as np
import pytest

from service.replay.calibration_check import OWN, Scored, check, figures, tell

CANDIDATES = 50


def scored(requests: int, shift: float, seed: int = 2) -> Scored:
    """Users who click less often than the bundle says, by `shift` in log-odds."""
    rng = np.random.default_rng(seed)
    request = np.repeat(np.arange(requests), CANDIDATES)
    logits = rng.normal(-2.0, 1.0, len(request))
    chances = 1 / (1 + np.exp(-logits))
    labels = rng.random(len(request)) < 1 / (1 + np.exp(shift - logits))
    return Scored(request, request % (requests // 2), logits, chances, labels.astype(float))


def test_what_is_honest_is_told_from_what_is_not() -> None:
    honest, rosy = (figures(one, one.chances, 0) for one in (scored(300, 0.0), scored(300, 1.0)))
    assert honest["COPC low"] <= 1 <= honest["COPC high"]
    assert honest["ECE"] < 2 * honest["ECE by chance"]
    assert rosy["COPC low"] > 1.5
    assert rosy["ECE low"] > 5 * rosy["ECE by chance"]


def test_few_users_have_wide_intervals_and_the_text_says_so() -> None:
    many, few = check(scored(400, 0.0)), check(scored(20, 0.0))
    width = [one["all"][OWN]["COPC high"] - one["all"][OWN]["COPC low"] for one in (many, few)]
    assert 2 < width[1] / width[0] < 10
    told = [tell({"bundle": "b", "dataset": "d", "kind": "platt", **one}) for one in (many, few)]
    assert "cannot be told" in told[1]
    assert "Bundle b (platt) on d, all 400 test requests: 20,000 ranked candidates" in told[0]


def test_a_refit_mends_what_is_too_rosy() -> None:
    newer = check(scored(300, 1.0))["newer"]
    assert newer["platt, refitted"]["COPC low"] <= 1 <= newer["platt, refitted"]["COPC high"]
    assert newer[OWN]["COPC low"] > 1


def test_without_clicks_there_is_nothing_to_judge_by() -> None:
    one = scored(20, 0.0)
    with pytest.raises(ValueError, match="no click among its candidates"):
        check(Scored(one.request, one.user, one.logits, one.chances, np.zeros_like(one.labels)))
