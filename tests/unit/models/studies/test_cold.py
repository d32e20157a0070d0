from __future__ import annotations

import numpy as np
import pytest

from models.studies.cold import LIST, METRICS, after_first, judged, most_popular, study, unprofiled
from models.studies.towers import Trial, lists, run
from models.training.config import SplitConfig
from models.training.held_out import HeldOut, held_out
from tests.unit.models.studies.worlds import CONFIG, STRANGERS, split_world, strangers_world


@pytest.fixture(scope="module")
def trial() -> Trial:
    return run(strangers_world(), CONFIG, 0, "final")


@pytest.fixture(scope="module")
def strangers(trial: Trial) -> HeldOut:
    requests = held_out(trial.features.timeline, trial.split.test)
    return requests.at(np.flatnonzero(~requests.warm))


def test_both_situations_are_judged_for_the_users_without_a_past(trial: Trial) -> None:
    found = judged(trial)["situations"]
    assert list(found) == ["nothing is known", "after the first event"]
    events = strangers_world().event_user
    assert found["nothing is known"]["users"] == len(np.unique(events[events < STRANGERS]))
    for situation in found.values():
        assert list(situation["methods"]) == [
            "towers",
            "towers, profiles hidden",
            "popularity",
            "popularity of the last 90 days",
        ]
        for line in situation["methods"].values():
            assert all(0 <= line[metric] <= 1 for metric in METRICS)
        towers, other = situation["methods"]["towers"], situation["methods"]["popularity"]
        assert other["towers are better by"] == pytest.approx(towers["Recall@20"] - other["Recall@20"])
        assert (towers["towers are better by"], towers["p"]) == (0.0, 1.0)


def test_hiding_profiles_makes_all_strangers_alike(trial: Trial, strangers: HeldOut) -> None:
    features = trial.features
    known = lists(trial.towers, features, strangers, LIST)
    hidden = lists(trial.towers, unprofiled(features), strangers, LIST)
    assert len(np.unique(features.profiles[strangers.user], axis=0)) > 1
    assert len(np.unique(hidden, axis=0)) == 1
    assert len(np.unique(known, axis=0)) > 1


def test_users_who_were_left_out_are_judged_by_their_profiles() -> None:
    split = SplitConfig(protocol="leave-users-out", test=0.2)
    config = CONFIG.model_copy(update={"split": split})
    (told,) = study(split_world(), config, [0], fit="final")["trials"]
    assert told["situations"]["nothing is known"]["users"] == len(
        np.unique(split_world().event_user[split.apply(split_world()).test])
    )


def test_the_first_event_is_history_and_no_longer_relevant(trial: Trial, strangers: HeldOut) -> None:
    asked = after_first(trial.features.timeline, strangers)
    before = dict(zip(strangers.user.tolist(), strangers.relevant.tolist(), strict=True))
    assert 0 < len(asked) <= len(strangers)
    assert (asked.end - asked.begin == 1).all()
    for r in range(len(asked)):
        first = int(trial.features.timeline.item[asked.begin[r]])
        rest = set(asked.relevant[r].tolist()) - {-1}
        assert rest | {first} == set(before[int(asked.user[r])]) - {-1}
        assert first not in rest


def test_popularity_is_by_hand_and_leaves_out_the_history(trial: Trial, strangers: HeldOut) -> None:
    dataset = trial.features.dataset
    known = trial.split.train_and_validation
    assert not (dataset.event_user[known] < STRANGERS).any()
    counts = np.bincount(dataset.event_item[known], minlength=dataset.items)
    asked = after_first(trial.features.timeline, strangers)
    for row, begin in zip(most_popular(trial, asked, None), asked.begin.tolist(), strict=True):
        held = row[row >= 0]
        assert trial.features.timeline.item[begin] not in held
        assert (np.diff(counts[held]) <= 0).all()
        assert len(held) == min(LIST, dataset.items - 1)
    recent = most_popular(trial, asked, 1.0)
    assert not np.array_equal(recent, most_popular(trial, asked, None))


def test_without_strangers_it_says_so() -> None:
    with pytest.raises(ValueError, match="0 users without a history, 2 are needed"):
        study(split_world(), CONFIG, [0], fit="final")
