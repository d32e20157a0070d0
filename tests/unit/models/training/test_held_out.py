from dataclasses import replace

import numpy as np
import pytest

from models.data.splits import known_items
from models.training.config import SplitConfig
from models.training.held_out import held_out
from models.training.timeline import Timeline
from tests.unit.models.data.tiny import events_dataset

USERS = [0, 0, 1, 0, 0, 0, 1, 2, 2]
ITEMS = [0, 1, 1, 2, 3, 0, 4, 4, 1]
PARTS = [0, 0, 0, 1, 2, 2, 2, 2, 2]
"""User 0 has three earlier events and goes back to item 0, user 2 has none, nobody was at 3 and 4 before."""


@pytest.fixture(params=["given", "global-time"])
def asked(request):
    """Data set, split and requests; the split is the same under both protocols."""
    dataset = events_dataset(USERS, ITEMS, range(9))
    if request.param == "given":
        dataset = replace(dataset, event_part=np.array(PARTS, np.int8), order="none")
    config = SplitConfig(protocol=request.param, test=5 / 9, validation=1 / 9)
    split = config.apply(dataset)
    assert split.test.tolist() == [4, 5, 6, 7, 8]
    return dataset, split, held_out(Timeline(dataset), split.test)


def test_a_user_asks_once_for_all_test_items_that_are_new_to_him(asked):
    _, _, requests = asked
    assert requests.user.tolist() == [0, 1, 2]
    assert requests.relevant.tolist() == [[3, -1], [4, -1], [1, 4]]


def test_the_history_is_all_of_training_and_validation(asked):
    dataset, _, requests = asked
    item = Timeline(dataset).item
    histories = [item[low:high].tolist() for low, high in zip(requests.begin, requests.end, strict=True)]
    assert histories == [[0, 1, 2], [1], []]
    assert requests.now_ms.tolist() == [4, 6, 7]


def test_cold_users_and_cold_items_are_told_apart(asked):
    dataset, split, requests = asked
    assert requests.warm.tolist() == [True, True, False]
    cold = requests.cold_items(known_items(dataset, split.train_and_validation))
    assert cold.tolist() == [[True, False], [True, False], [False, True]]


def test_after_the_last_event_a_warm_user_asks_earlier_and_for_the_same(asked):
    dataset, split, requests = asked
    earlier = held_out(Timeline(dataset), split.test, after_last=True)
    assert earlier.now_ms.tolist() == [3, 2, 7]
    assert earlier.relevant.tolist() == requests.relevant.tolist()
    assert earlier.end.tolist() == requests.end.tolist()


def test_a_user_whose_test_items_are_all_old_does_not_ask():
    dataset = events_dataset([0, 0, 0, 1, 1], [0, 1, 0, 0, 1], range(5))
    parted = replace(dataset, event_part=np.array([0, 1, 2, 0, 2], np.int8))
    split = SplitConfig(protocol="given").apply(parted)
    assert held_out(Timeline(dataset), split.test).user.tolist() == [1]


def test_a_choice_of_requests_keeps_its_columns_together(asked):
    _, _, requests = asked
    some = requests.at(np.array([2, 0]))
    assert len(some) == 2
    assert some.user.tolist() == [2, 0]
    assert some.relevant.tolist() == [[1, 4], [3, -1]]
    assert some.now_ms.tolist() == [7, 4]
    assert some.warm.tolist() == [False, True]


def test_trainers_see_the_same_moments_and_histories(asked):
    dataset, _, requests = asked
    timeline = Timeline(dataset)
    known = requests.requests()
    assert known.user.tolist() == [0, 1, 2]
    assert known.target.tolist() == [3, 4, 1]
    assert known.now_ms.tolist() == [4, 6, 7]
    assert [seen.tolist() for seen in timeline.seen(known)] == [[0, 1, 2], [1], []]
