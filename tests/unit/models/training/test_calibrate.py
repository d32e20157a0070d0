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


def test_auto_takes_the_kind_that_loses_least_on_requests_held_out():
    logits, pools = world()
    calibrator, losses = fit_calibrator("auto", logits, pools)
    assert set(losses) == {"isotonic", "platt"}
    assert calibrator.kind == min(losses, key=losses.__getitem__)


def test_a_named_kind_is_taken_and_tried():
    calibrator, losses = fit_calibrator("platt", *world())
    assert calibrator.kind == "platt"
    assert list(losses) == ["platt"]


def test_probabilities_add_up_to_what_happened():
    logits, pools = world(slope=0.5)
    calibrator, _ = fit_calibrator("auto", logits, pools)
    values, labels, _ = labelled(logits, pools)
    assert calibrator(values).sum() == pytest.approx(labels.sum(), rel=0.02)


def test_a_kind_is_judged_on_requests_that_its_fit_did_not_see():
    logits, pools = world(requests=40)
    calibrator, losses = fit_calibrator("isotonic", logits, pools)
    values, labels, _ = labelled(logits, pools)
    assert losses["isotonic"] > 1.02 * log_loss(labels, calibrator(values))


def test_an_unknown_kind_is_refused_beside_the_known_ones():
    with pytest.raises(ValueError, match="unknown calibration 'beta'; known are auto, isotonic, platt"):
        fit_calibrator("beta", *world(requests=4))
