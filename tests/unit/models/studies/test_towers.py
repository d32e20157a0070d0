import json
from dataclasses import replace

import numpy as np
import pytest

from models.data.columns import Dataset
from models.data.splits import known_items
from models.studies import towers
from models.studies.towers import METRICS, Trial, judged, lists, run, study
from models.training.held_out import held_out
from tests.unit.models.studies.worlds import COLD, CONFIG, split_world


@pytest.fixture
def dataset() -> Dataset:
    return split_world()


@pytest.fixture(scope="module")
def trial() -> Trial:
    return run(split_world(), CONFIG, 0, "refit")


def test_lists_hold_no_seen_item_no_duplicate_and_all_there_is(trial):
    requests = held_out(trial.features.timeline, trial.split.test)
    ranked = lists(trial.towers, trial.features, requests, 100)
    assert ranked.shape == (len(requests), 100)
    for row, seen in zip(ranked, trial.features.timeline.seen(requests.requests()), strict=True):
        held = row[row >= 0]
        assert len(held) == trial.features.dataset.items - len(np.unique(seen))
        assert len(np.unique(held)) == len(held)
        assert not np.isin(held, seen).any()
        assert (row[len(held) :] == -1).all()


def test_lists_are_in_the_order_of_the_towers(trial):
    requests = held_out(trial.features.timeline, trial.split.test)
    ranked = lists(trial.towers, trial.features, requests, 5)
    scores = (
        trial.towers.user_vectors(trial.features.batch(requests.requests())) @ trial.towers.item_vectors().T
    )
    own = np.take_along_axis(scores, ranked.astype(np.int64), axis=1)
    assert (np.diff(own, axis=1) <= 0).all()


def test_blocks_of_requests_change_nothing(trial, monkeypatch):
    requests = held_out(trial.features.timeline, trial.split.test)
    whole = lists(trial.towers, trial.features, requests, 20)
    monkeypatch.setattr(towers, "_BLOCK", 17)
    parts = lists(trial.towers, trial.features, requests, 20)
    assert (whole == parts).mean() > 0.99  # other shapes may round another way


def test_cold_items_are_counted_by_hand(trial, dataset):
    found = judged(trial)
    requests = held_out(trial.features.timeline, trial.split.test)
    relevant = requests.relevant[requests.warm]
    known = set(dataset.event_item[dataset.event_part < 2].tolist())
    cold = [[item for item in row if item >= 0 and item not in known] for row in relevant.tolist()]
    assert found["users"] == len(relevant)
    assert found["users with cold items"] == sum(1 for each in cold if each) > 0
    assert found["cold items"] == sum(len(each) for each in cold)
    assert 0 <= found["cold Recall@20"] <= found["cold Recall@100"] <= 1
    assert known_items(dataset, trial.split.train_and_validation)[:COLD].sum() == 0


def test_without_cold_items_nothing_is_said_of_them(trial, monkeypatch):
    everything = np.ones(trial.features.dataset.items, bool)
    monkeypatch.setattr(towers, "known_items", lambda dataset, events: everything)
    assert not [key for key in judged(trial) if "cold" in key]


def test_a_refit_knows_the_validation_events(dataset):
    """An item that validation alone touches is known to refitted towers, and has only content without."""
    only = int(dataset.event_item[dataset.event_part == 2][-1])
    item = dataset.event_item.copy()
    item[(dataset.event_part == 0) & (item == only)] = (only + 1) % dataset.items
    item[np.flatnonzero(dataset.event_part == 1)[0]] = only
    changed = replace(dataset, event_item=item)
    for refit in (False, True):
        found = run(changed, CONFIG, 0, "refit" if refit else "validate").towers
        vector = found.item_vectors()[only]
        as_new = found.items.new(found.items.tokens[only : only + 1]).detach().numpy()[0]
        assert np.allclose(vector, as_new, atol=1e-5) != refit


def test_the_figures_of_a_study_are_complete_plain_and_repeat(dataset):
    found = study(dataset, CONFIG, [0, 1])
    assert set(found) == {"dataset", "protocol", "fit", "config", "trials"}
    assert (found["protocol"], found["fit"]) == ("given", "refit")
    assert found["config"]["tower"]["dim"] == 8
    one, other = found["trials"]
    expected = {"seed", "validation NDCG@10", "seconds", "peak GB", "users"}
    expected |= {key for name in METRICS for key in (name, f"{name} error")}
    expected |= {"users with cold items", "cold items", "cold Recall@20", "cold Recall@100"}
    assert set(one) == expected
    assert (one["seed"], other["seed"]) == (0, 1)
    assert one["HR@100"] == 1.0  # of 90 items none is missed
    again = study(dataset, CONFIG, [0])["trials"][0]
    measured = expected - {"seconds", "peak GB"}
    assert {key: again[key] for key in measured} == {key: one[key] for key in measured}
    assert any(other[name] != one[name] for name in METRICS)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("users", [0, 1])
def test_a_test_with_hardly_anybody_is_refused_before_training(dataset, users, monkeypatch):
    part = np.zeros(dataset.events, np.int8)
    asked = dataset.event_user[np.flatnonzero(dataset.event_part == 2)[:users]]
    part[np.isin(dataset.event_user, asked) & (dataset.event_part == 2)] = 2
    monkeypatch.setattr(towers, "train_towers", None)
    with pytest.raises(ValueError, match=rf"given leaves {users} test users with a history .* 2 are needed"):
        study(replace(dataset, event_part=part), CONFIG, [0])
