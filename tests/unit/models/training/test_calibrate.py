import numpy as np
import pytest

from models.encode import CROSS
from models.training.calibrate import fit_calibrator, labelled
from models.training.funnel import Pool
from retrieval.metrics import log_loss

WIDTH = len(CROSS)


def pool(rows: int, place: int) -> Pool:
    return Pool(
        np.arange(rows, dtype=np.int32),
        np.zeros((rows, WIDTH), np.float32),
        np.zeros(WIDTH, np.float32),
        place,
    )


def world(slope: float = 1.0, requests: int = 600, seed: int = 0):
    """Lists of ten with one goal each, drawn by the softmax of slope * logit."""
    random = np.random.default_rng(seed)
    logits = random.normal(-2, 1.5, (requests, 10)).astype(np.float32)
    chance = np.exp(slope * logits)
    places = [random.choice(10, p=row / row.sum()) for row in chance.astype(np.float64)]
    return list(logits), [pool(10, int(place)) for place in places]


def test_a_candidate_is_labelled_1_where_it_was_gone_for():
    logits = [np.zeros(3, np.float32), np.ones(2, np.float32), np.ones(2, np.float32)]
    values, labels, request = labelled(logits, [pool(5, 1), pool(5, 4), pool(5, -1)])
    assert values.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert labels.tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert request.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_auto_takes_a_kind_that_later_requests_like():
    logits, pools = world()
    calibration, tried = fit_calibrator("auto", logits, pools)
    assert set(tried) == {"beta", "isotonic", "platt", "temperature"}
    least = min(one.log_loss for one in tried.values())
    assert tried[calibration.kind].log_loss < least * 1.01
    # Logits of a softmax of ten are far from log-odds: one that only scales cannot mend that.
    assert calibration.kind != "temperature"


def test_a_named_kind_is_taken_and_tried():
    calibration, tried = fit_calibrator("platt", *world())
    assert calibration.kind == "platt"
    assert list(tried) == ["platt"]


def test_probabilities_add_up_to_what_happened():
    logits, pools = world(slope=0.5)
    calibrator, _ = fit_calibrator("auto", logits, pools)
    values, labels, _ = labelled(logits, pools)
    assert calibrator(values).sum() == pytest.approx(labels.sum(), rel=0.02)


def test_a_kind_is_judged_on_requests_that_its_fit_did_not_see():
    logits, pools = world(requests=40)
    calibrator, tried = fit_calibrator("isotonic", logits, pools)
    values, labels, _ = labelled(logits, pools)
    later = slice(240, None)  # the candidates of the newest 16 of 40 requests
    assert tried["isotonic"].log_loss > 1.02 * log_loss(labels[later], calibrator(values[later]))


def test_the_newest_requests_judge_whatever_the_order():
    logits, pools = world(requests=200)
    times = np.arange(200)
    _, straight = fit_calibrator("platt", logits, pools, times)
    mixed = np.random.default_rng(3).permutation(200)
    _, shuffled = fit_calibrator("platt", [logits[r] for r in mixed], [pools[r] for r in mixed], times[mixed])
    assert shuffled["platt"].log_loss == straight["platt"].log_loss
    _, reversed_ = fit_calibrator("platt", logits, pools, -times)
    assert reversed_["platt"].log_loss != straight["platt"].log_loss


def test_a_placement_with_clicks_enough_has_a_calibrator_of_its_own():
    logits, pools = world(requests=900)
    there, elsewhere = world(requests=40, seed=1)
    # At "home" two of three clicks stay out.
    random = np.random.default_rng(2)
    names = ["home" if one else "default" for one in random.random(900) < 0.5]
    shown = [
        pool(10, -1 if name == "home" and random.random() < 2 / 3 else each.place)
        for name, each in zip(names, pools, strict=True)
    ]
    names += ["rare"] * 40
    calibration, _ = fit_calibrator("platt", logits + there, shown + elsewhere, np.arange(940), names)
    assert "rare" not in calibration.placements
    assert calibration.at("rare") is calibration.common
    assert "default" in calibration.placements
    here = [r for r, name in enumerate(names) if name == "default"]
    values, labels, _ = labelled([logits[r] for r in here], [shown[r] for r in here])
    assert calibration.at("default")(values).sum() == pytest.approx(labels.sum(), rel=0.02)
    assert calibration.common(values).sum() < 0.9 * labels.sum()


def test_an_unknown_kind_is_refused_beside_the_known_ones():
    known = "known are auto, beta, isotonic, platt, temperature"
    with pytest.raises(ValueError, match=f"unknown calibration 'oracle'; {known}"):
        fit_calibrator("oracle", *world(requests=4))
