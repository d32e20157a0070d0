import json

import pytest

from models.plan import Plan


def test_json_and_back_is_the_same_plan():
    plan = Plan(candidates=7, quotas={"popular": 1.0}, event_weights={"buy": 3.0})
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_what_is_not_given_is_the_default():
    assert Plan.from_json({"ranked": 5}) == Plan(ranked=5)


def test_an_unknown_key_is_named_beside_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown plan keys \['candidate'\]; known are .*'candidates'"):
        Plan.from_json({"candidate": 5})


def test_plans_do_not_share_their_quotas():
    assert Plan().quotas is not Plan().quotas


@pytest.mark.parametrize("smoothing", ["both", "weights", "centroids", "none"])
@pytest.mark.parametrize("own_weight", [None, 0.0, 0.8])
def test_smoothing_survives_json(smoothing, own_weight):
    plan = Plan(smoothing=smoothing, own_weight=own_weight)
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert (again.smoothing, again.own_weight) == (smoothing, own_weight)
