from dataclasses import replace

import numpy as np
import pytest

from models.data.splits import given, global_time, known_items, leave_last_out, leave_users_out, warmth
from tests.unit.models.data.tiny import events_dataset


def test_the_last_event_is_test_and_the_one_before_it_validation():
    dataset = events_dataset(users=[0, 1, 0, 1, 0, 1, 0], items=range(7), times=range(7))
    split = leave_last_out(dataset)
    assert split.test.tolist() == [5, 6]
    assert split.validation.tolist() == [3, 4]
    assert split.train.tolist() == [0, 1, 2]


def test_of_equal_times_the_later_row_of_the_file_is_the_last():
    dataset = events_dataset(users=[0, 0, 0, 0], items=[0, 1, 2, 3], times=[1, 5, 5, 5])
    split = leave_last_out(dataset)
    assert dataset.event_item[split.test].tolist() == [3]
    assert dataset.event_item[split.validation].tolist() == [2]


def test_users_of_fewer_than_three_events_only_train():
    dataset = events_dataset(users=[0, 0, 1, 2, 2, 2], items=range(6), times=range(6))
    split = leave_last_out(dataset)
    assert split.train.tolist() == [0, 1, 2, 3]
    assert split.test.tolist() == [5]


def test_train_and_validation_together_are_in_order_of_time():
    dataset = events_dataset(users=[0, 0, 0, 1, 1, 1, 1], items=range(7), times=range(7))
    split = leave_last_out(dataset)
    assert split.train_and_validation.tolist() == [0, 1, 3, 4, 5]


def test_global_time_cuts_the_last_share_and_the_one_before():
    dataset = events_dataset(users=np.zeros(100, int), items=range(100), times=range(100))
    split = global_time(dataset, test=0.1, validation=0.2)
    assert (len(split.train), len(split.validation), len(split.test)) == (70, 20, 10)
    assert split.train[-1] < split.validation[0] < split.test[0]


def test_events_of_one_time_are_never_parted():
    times = [0] * 5 + [1] * 5
    split = global_time(events_dataset(np.zeros(10, int), range(10), times), test=0.2, validation=0.0)
    assert len(split.test) == 5
    assert len(split.validation) == 0


def test_users_who_are_left_out_are_left_out_whole():
    rng = np.random.default_rng(0)
    dataset = events_dataset(
        rng.integers(0, 200, 2000), rng.integers(0, 30, 2000), np.sort(rng.integers(0, 50, 2000))
    )
    split = leave_users_out(dataset, test=0.2, validation=0.1)
    train, validation, test = (
        set(dataset.event_user[part].tolist()) for part in (split.train, split.validation, split.test)
    )
    assert not train & validation
    assert not (train | validation) & test
    assert (len(test), len(validation)) == (pytest.approx(40, abs=2), pytest.approx(20, abs=2))
    assert len(split.train) + len(split.validation) + len(split.test) == dataset.events


@pytest.mark.parametrize("shares", [{"test": 0.0}, {"test": 0.6, "validation": 0.4}])
def test_leaving_out_nobody_or_everybody_is_refused(shares):
    dataset = events_dataset(users=np.arange(50), items=range(50), times=range(50))
    with pytest.raises(ValueError, match="leave none to train on, or none to test on"):
        leave_users_out(dataset, **{"validation": 0.1, **shares})


def test_every_event_is_in_exactly_one_part():
    rng = np.random.default_rng(0)
    dataset = events_dataset(
        rng.integers(0, 9, 200), rng.integers(0, 30, 200), np.sort(rng.integers(0, 50, 200))
    )
    for split in (leave_last_out(dataset), global_time(dataset)):
        together = np.concatenate([split.train, split.validation, split.test])
        assert np.array_equal(np.sort(together), np.arange(200))


@pytest.mark.parametrize("shares", [(0.6, 0.4), (-0.1, 0.1)])
def test_impossible_shares_are_refused(shares):
    dataset = events_dataset([0, 0], [0, 1], [0, 1])
    with pytest.raises(ValueError, match="leave nothing to train on"):
        global_time(dataset, *shares)


def test_a_set_of_one_moment_cannot_be_split_by_time():
    with pytest.raises(ValueError, match="use leave-last-out"):
        global_time(events_dataset([0, 1, 2], [0, 1, 2], [7, 7, 7]))


def test_warmth_tells_known_users_from_known_items():
    dataset = events_dataset(users=[0, 1, 0, 2], items=[0, 1, 2, 0], times=range(4))
    known = warmth(dataset, train=np.array([0, 1]), events=np.array([2, 3]))
    assert known.warm_user.tolist() == [True, False]
    assert known.warm_item.tolist() == [False, True]


def parted(users, parts, **columns):
    dataset = events_dataset(users, range(len(users)), range(len(users)))
    return replace(dataset, event_part=np.array(parts, np.int8), **columns)


class TestGiven:
    def test_the_parts_of_the_events_are_followed(self):
        split = given(parted([0, 1, 0, 1, 0, 2], [0, 0, 1, 2, 2, 2]))
        assert split.train.tolist() == [0, 1]
        assert split.validation.tolist() == [2]
        assert split.test.tolist() == [3, 4, 5]

    def test_events_without_parts_are_refused_with_what_to_do(self):
        with pytest.raises(
            ValueError, match="tiny: the protocol is given, but the events have no column `part`"
        ):
            given(events_dataset([0, 0], [0, 1], [0, 1]))

    @pytest.mark.parametrize(
        ("parts", "said"),
        [
            ([0, 2, 1, 0], "user 'u0' has a validation event after a test event"),
            ([0, 1, 0, 0], "user 'u0' has a train event after a validation event"),
        ],
    )
    def test_a_user_whose_test_is_followed_by_training_is_refused(self, parts, said):
        with pytest.raises(ValueError, match=said):
            given(parted([0, 0, 0, 1], parts))


@pytest.mark.parametrize("order", ["sequence", "none"])
def test_made_up_times_cannot_be_cut_at_one_time(order):
    dataset = replace(events_dataset(np.zeros(9, int), range(9), range(9)), order=order)
    with pytest.raises(ValueError, match=f"global-time wants real times.*'{order}'"):
        global_time(dataset)
    assert len(leave_last_out(dataset).test) == 1


def test_known_items_are_those_that_training_touched():
    dataset = events_dataset(users=[0, 1, 0, 2], items=[0, 1, 2, 0], times=range(4))
    assert known_items(dataset, np.array([1, 3])).tolist() == [True, True, False]
