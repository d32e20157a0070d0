import numpy as np
import pytest

from ranking.calibration import Calibration, calibrators
from ranking.choosing import LEAST_CLICKS, Samples, choose_kind, fit_calibration, judge_kinds
from ranking.platt import Platt
from ranking.temperature import Temperature

KINDS = sorted(calibrators)


def drawn(truth, count=20_000, seed=0):
    """Logits in order of time and labels by `truth` of them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-2, 1.5, count)
    return Samples(logits, (rng.random(count) < truth(logits)).astype(float))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_step_that_no_smooth_kind_fits_is_isotonic():
    samples = drawn(lambda logits: np.where(logits < -2, 0.02, 0.4))
    found, judged = fit_calibration(samples, KINDS)
    assert found.kind == "isotonic"
    assert judged["isotonic"].log_loss < judged["platt"].log_loss


def test_of_kinds_that_log_loss_cannot_tell_apart_the_least_ece_is_taken():
    samples = drawn(lambda logits: sigmoid(0.7 * logits - 0.5))
    older, later = samples.cut(12_000)
    judged = judge_kinds(older, later, KINDS)
    chosen = choose_kind(judged, later)
    # What ignores the shift is worse by far; the other three are alike.
    assert chosen != "temperature"
    assert judged["temperature"].log_loss > judged[chosen].log_loss + 0.005
    alike = [one for kind, one in judged.items() if kind != "temperature"]
    assert max(one.log_loss for one in alike) - min(one.log_loss for one in alike) < 0.002
    best = min(judged, key=lambda kind: judged[kind].log_loss)
    assert judged[chosen].ece <= judged[best].ece


def test_it_is_chosen_on_later_samples_and_not_on_those_of_the_fit():
    older = drawn(lambda logits: np.where(logits < -2, 0.02, 0.4), 4000)
    later = drawn(lambda logits: sigmoid(logits), 4000, seed=1)
    both = Samples(np.concatenate([older.logits, later.logits]), np.concatenate([older.labels, later.labels]))
    _, judged = fit_calibration(both, KINDS, cut=4000)
    # The world of the step has passed: what fitted it best is worst now.
    assert max(judged, key=lambda kind: judged[kind].log_loss) == "isotonic"


def test_a_placement_has_its_own_from_the_stated_clicks_on():
    rng = np.random.default_rng(5)
    count = 12_000
    logits = rng.normal(-2, 1, count)
    names = rng.choice(["feed", "top", "rare"], count, p=[0.6, 0.38, 0.02])
    shift = np.where(names == "top", 1.5, np.where(names == "rare", -1.5, 0.0))
    labels = (rng.random(count) < sigmoid(logits + shift)).astype(float)
    found, _ = fit_calibration(Samples(logits, labels, names), ["platt"])
    assert set(found.placements) == {"feed", "top"}
    assert labels[names == "rare"].sum() < LEAST_CLICKS
    for name in ("feed", "top"):
        here = names == name
        assert found.at(name)(logits[here]).sum() == pytest.approx(labels[here].sum(), rel=0.02)
    again = Calibration.from_json(found.to_json())
    np.testing.assert_array_equal(again.at("top")(logits), found.at("top")(logits))
    assert again.at("nowhere")(logits[:1]) == found.common(logits[:1])


def test_placements_that_are_alike_share_the_common_one():
    samples = drawn(sigmoid, 8000)
    names = np.random.default_rng(1).choice(["a", "b", "c", "d", "e", "f"], 8000)
    found, _ = fit_calibration(Samples(samples.logits, samples.labels, names), ["platt"])
    assert len(found.placements) < 6


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            {"kind": "platt", "slope": 1.0, "intercept": 0.0, "placements": {"top": {"kind": "platt"}}},
            "placements.top",
        ),
        (
            {
                "kind": "platt",
                "slope": 1.0,
                "intercept": 0.0,
                "placements": {"top": {"kind": "isotonic", "logits": [0, 1], "odds": [1, 0]}},
            },
            "placements.top: isotonic: .*no rising curve",
        ),
        ({"kind": "temperature", "temperature": 1.0, "previous": {"kind": "oracle"}}, "previous: unknown"),
        ({"kind": "temperature", "temperature": 1.0, "previous": []}, "previous"),
    ],
)
def test_a_part_that_is_no_calibrator_is_named(raw, said):
    with pytest.raises(ValueError, match=said):
        Calibration.from_json(raw)


def test_the_one_before_is_kept():
    found = Calibration(Platt(1.0, -1.0), previous=Calibration(Temperature(2.0)))
    again = Calibration.from_json(found.to_json())
    assert again == found
    assert again.kind == "platt"


def test_one_sample_is_enough_and_none_is_refused():
    found, _ = fit_calibration(Samples(np.array([0.5]), np.array([1.0])), KINDS)
    assert 0 < found(np.array([0.5]))[0] < 1
    with pytest.raises(ValueError, match="later sample|positive weight"):
        fit_calibration(Samples(np.zeros(0), np.zeros(0)), KINDS)
