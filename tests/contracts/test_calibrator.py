import pytest

from ranking.calibration import calibrator_from_json, calibrators
from tests.contracts.calibrator import CalibratorSuite


class TestIsotonic(CalibratorSuite):
    kind = "isotonic"


class TestPlatt(CalibratorSuite):
    kind = "platt"


class TestBeta(CalibratorSuite):
    kind = "beta"


class TestTemperature(CalibratorSuite):
    kind = "temperature"
    shifts = False


def test_every_kind_is_under_contract():
    assert set(calibrators) == {suite.kind for suite in CalibratorSuite.__subclasses__()}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"kind": "oracle"},
        {"kind": "platt", "slope": 1.0},
        {"kind": "platt", "slope": -1.0, "intercept": 0.0},
        {"kind": "platt", "slope": None, "intercept": 0.0},
        {"kind": "temperature"},
        {"kind": "temperature", "temperature": 0.0},
        {"kind": "temperature", "temperature": float("inf")},
        {"kind": "beta", "below": 1.0, "above": 1.0},
        {"kind": "beta", "below": 1.0, "above": -0.1, "intercept": 0.0},
        {"kind": "beta", "below": float("nan"), "above": 1.0, "intercept": 0.0},
        {"kind": "isotonic"},
        {"kind": "isotonic", "logits": [], "odds": []},
        {"kind": "isotonic", "logits": [0, 1], "odds": [0]},
        {"kind": "isotonic", "logits": [0, 1], "odds": [1, 0]},
        {"kind": "isotonic", "logits": [0, "x"], "odds": [1, 2]},
        {"kind": "isotonic", "logits": [0, 1], "odds": [0, float("nan")]},
    ],
)
def test_json_that_makes_no_calibrator_is_refused(raw):
    with pytest.raises(ValueError, match=r"calibrator|platt|beta|temperature|isotonic|convert"):
        calibrator_from_json(raw)
