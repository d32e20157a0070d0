from dataclasses import replace

import numpy as np
import pytest

from models.encode import bucket_span
from models.schema import Schema
from models.training.held_out import held_out
from models.training.timeline import Timeline, newest_per_user
from tests.unit.models.data.tiny import events_dataset

MINUTE = 60_000


def schema(length: int) -> Schema:
    return Schema(item_fields=(), user_fields=(), event_kinds=("view", "buy"), history_length=length)


def one_user(items, times=None):
    return events_dataset([0] * len(items), items, range(len(items)) if times is None else times)


def random_world(seed=0, events=400):
    rng = np.random.default_rng(seed)
    return events_dataset(
        rng.integers(0, 12, events), rng.integers(0, 40, events), np.sort(rng.integers(0, 10**9, events))
    )


def items_of(timeline, requests, r):
    return timeline.item[requests.begin[r] : requests.end[r]].tolist()


class TestRequests:
    def test_everything_earlier_of_the_user_is_history(self):
        timeline = Timeline(events_dataset([0, 1, 0, 1, 0], [3, 5, 4, 6, 7], [10, 20, 30, 40, 50]))
        requests = timeline.requests(np.array([4, 0, 3]))
        assert requests.user.tolist() == [0, 0, 1]
        assert requests.target.tolist() == [7, 3, 6]
        assert requests.now_ms.tolist() == [50, 10, 40]
        assert [items_of(timeline, requests, r) for r in range(3)] == [[3, 4], [], [5]]
        assert [seen.tolist() for seen in timeline.seen(requests)] == [[3, 4], [], [5]]

    def test_of_equal_times_the_earlier_row_of_the_file_is_history(self):
        timeline = Timeline(one_user([1, 2, 3], times=[7, 7, 7]))
        assert items_of(timeline, timeline.requests(np.array([1])), 0) == [1]

    def test_no_request_is_for_an_item_that_was_seen(self):
        timeline = Timeline(events_dataset([0, 1, 0, 0, 1], [3, 3, 3, 4, 5], range(5)))
        requests = timeline.requests(np.arange(5))
        assert requests.target.tolist() == [3, 3, 4, 5]
        assert requests.user.tolist() == [0, 1, 0, 1]
        assert items_of(timeline, requests, 2) == [3, 3]

    def test_ahead_a_user_asks_once_for_all_of_his_events(self):
        timeline = Timeline(events_dataset([0, 1, 0, 0, 1, 0], [3, 5, 4, 3, 6, 7], [10, 20, 30, 40, 50, 60]))
        requests = timeline.requests(np.array([5, 2, 4, 3]), ahead=True)
        assert requests.user.tolist() == [0, 0, 1]
        assert requests.target.tolist() == [4, 7, 6]
        assert requests.now_ms.tolist() == [30, 30, 50]
        assert [items_of(timeline, requests, r) for r in range(3)] == [[3], [3], [5]]

    def test_ahead_the_moment_is_the_first_event_be_its_item_new_or_not(self):
        timeline = Timeline(one_user([3, 3, 4], times=[10, 20, 30]))
        requests = timeline.requests(np.array([1, 2]), ahead=True)
        assert (requests.target.tolist(), requests.now_ms.tolist()) == ([4], [20])
        assert items_of(timeline, requests, 0) == [3]

    def test_ahead_the_requests_are_those_of_the_test(self):
        dataset = random_world()
        timeline, late = Timeline(dataset), np.arange(dataset.events // 2, dataset.events)
        judged, asked = held_out(timeline, late), timeline.requests(late, ahead=True)
        for r in range(len(judged)):
            own = asked.at(asked.user == judged.user[r])
            assert set(own.target) == set(judged.relevant[r]) - {-1}
            assert set(own.end) == {judged.end[r]}
            assert set(own.now_ms) == {judged.now_ms[r]}

    def test_no_history_holds_anything_as_late_as_the_request(self):
        dataset = random_world()
        timeline = Timeline(dataset)
        requests = timeline.requests(np.arange(dataset.events))
        for r in range(len(requests)):
            part = slice(int(requests.begin[r]), int(requests.end[r]))
            assert (timeline.user[part] == requests.user[r]).all()
            assert (timeline.time_ms[part] <= requests.now_ms[r]).all()
            earlier = (dataset.event_user == requests.user[r]) & (dataset.event_time_ms < requests.now_ms[r])
            assert set(dataset.event_item[earlier]) <= set(timeline.item[part])

    def test_a_request_knows_its_placement(self):
        dataset = replace(one_user([0, 1, 2]), event_placement=np.array([0, 1, 0], np.int16))
        assert Timeline(dataset).requests(np.arange(3)).placement.tolist() == [0, 1, 0]

    def test_a_slice_of_requests_keeps_its_columns_together(self):
        timeline = Timeline(random_world())
        requests = timeline.requests(np.arange(100))
        some = requests.at(np.array([5, 2]))
        assert len(some) == 2
        assert items_of(timeline, some, 1) == items_of(timeline, requests, 2)
        assert some.target.tolist() == requests.target[[5, 2]].tolist()


class TestHistories:
    def test_the_newest_events_stand_on_the_right(self):
        timeline = Timeline(one_user([4, 5, 6, 7, 8]))
        history = timeline.histories(schema(3), timeline.requests(np.array([4, 1, 0])))
        assert history.rows.tolist() == [[5, 6, 7], [0, 0, 4], [0, 0, 0]]
        assert history.mask.tolist() == [[True] * 3, [False, False, True], [False] * 3]
        assert history.kind.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]

    def test_times_are_seen_from_the_request(self):
        timeline = Timeline(one_user([0, 1, 2], times=[0, MINUTE, 11 * MINUTE]))
        history = timeline.histories(schema(2), timeline.requests(np.array([2])))
        assert history.gap[0].tolist() == bucket_span(np.array([MINUTE, 10 * MINUTE])).tolist()
        assert history.age[0].tolist() == bucket_span(np.array([11 * MINUTE, 10 * MINUTE])).tolist()

    def test_a_later_now_makes_events_older_but_adds_none(self):
        timeline = Timeline(one_user([0, 1, 2], times=[0, MINUTE, 2 * MINUTE]))
        requests = timeline.requests(np.array([2]))
        later = timeline.histories(schema(4), requests, now_ms=requests.now_ms + 1000 * MINUTE)
        assert later.rows[0].tolist() == [0, 0, 0, 1]
        assert later.age[0, -1] == bucket_span(np.array([1001 * MINUTE]))[0]

    def test_kinds_are_tokens(self):
        dataset = replace(one_user([0, 1, 2]), event_kind=np.array([1, 0, 1], np.int16))
        timeline = Timeline(dataset)
        history = timeline.histories(schema(2), timeline.requests(np.array([2])))
        assert history.kind.tolist() == [[2, 1]]


class TestWindows:
    def test_the_target_at_each_place_is_the_next_item(self):
        windows = Timeline(one_user([4, 5, 6, 7])).windows(schema(5), np.arange(4))
        assert windows.history.rows.tolist() == [[0, 0, 4, 5, 6]]
        assert windows.target[0, 2:].tolist() == [5, 6, 7]
        assert windows.target[0, 0] == -1
        assert windows.target[0, 1] in (4, 5, 6, 7)
        assert windows.history.mask.tolist() == [[False, False, True, True, True]]

    def test_only_the_given_events_are_read(self):
        windows = Timeline(one_user([4, 5, 6, 7, 8])).windows(schema(5), np.array([0, 1, 3]))
        assert windows.history.rows[0, -2:].tolist() == [4, 5]
        assert windows.target[0, -2:].tolist() == [5, 7]

    def test_long_users_are_cut_from_the_newest_back_with_a_quarter_of_overlap(self):
        windows = Timeline(one_user(list(range(30)))).windows(schema(8), np.arange(30))
        ends = windows.target.max(axis=1).tolist()
        assert ends[0] == 29
        assert (-np.diff(ends)).tolist() == [7] * (len(ends) - 1)
        first, second = windows.history.rows[:2]
        assert first.tolist() == list(range(21, 29))
        assert second.tolist() == list(range(14, 22))

    @pytest.mark.parametrize("length", [2, 5, 8, 50])
    def test_every_place_but_a_users_first_is_a_target(self, length):
        dataset = events_dataset([0] * 23 + [1] * 9, list(range(32)), range(32))
        windows = Timeline(dataset).windows(schema(length), np.arange(32))
        real = windows.history.mask & (windows.target >= 0)
        assert set(windows.target[real].tolist()) == set(range(32)) - {0, 23}
        nothing = windows.target[~windows.history.mask & (windows.target >= 0)]
        assert len(nothing) == (2 if length == 50 else len(nothing))

    def test_one_event_is_found_from_nothing(self):
        windows = Timeline(one_user([4, 5])).windows(schema(3), np.arange(2))
        assert windows.target[0, 0] == -1
        assert windows.target[0, 1] in (4, 5)
        assert windows.target[0, 2] == 5
        assert windows.history.mask.tolist() == [[False, False, True]]

    def test_a_window_that_begins_later_has_nothing_to_find_from_nothing(self):
        windows = Timeline(one_user([4, 5, 6, 7])).windows(schema(5), np.arange(1, 4))
        assert windows.target.tolist() == [[-1, -1, -1, 6, 7]]

    def test_inputs_and_targets_are_neighbours_of_one_user(self):
        dataset = random_world()
        timeline = Timeline(dataset)
        windows = timeline.windows(schema(6), np.arange(dataset.events))
        after = {
            (int(timeline.user[p]), int(timeline.item[p]), int(timeline.item[p + 1]))
            for p in range(dataset.events - 1)
            if timeline.user[p] == timeline.user[p + 1]
        }
        owned = set(zip(timeline.user.tolist(), timeline.item.tolist(), strict=True))
        for user, rows, mask, following in zip(
            windows.user, windows.history.rows, windows.history.mask, windows.target, strict=True
        ):
            opening = following[~mask]
            assert (opening[:-1] < 0).all()
            assert all((int(user), int(target)) in owned for target in opening[-1:] if target >= 0)
            for row, target in zip(rows[mask], following[mask], strict=True):
                assert target < 0 or (int(user), int(row), int(target)) in after

    def test_an_item_seen_before_is_no_target_and_a_window_without_one_is_dropped(self):
        timeline = Timeline(events_dataset([0, 0, 0, 1, 1], [3, 3, 4, 5, 5], range(5)))
        windows = timeline.windows(schema(4), np.arange(5))
        assert windows.user.tolist() == [0, 1]
        assert windows.target.tolist() == [[-1, 3, -1, 4], [-1, -1, 5, -1]]
        assert windows.history.rows[0, -2:].tolist() == [3, 3]
        late = timeline.windows(schema(4), np.array([0, 1, 2, 4]))
        assert late.user.tolist() == [0]

    def test_a_single_event_makes_no_window(self):
        windows = Timeline(events_dataset([0, 1, 1], [0, 1, 2], range(3))).windows(schema(4), np.arange(3))
        assert windows.user.tolist() == [1]

    def test_gaps_lead_to_the_target(self):
        timeline = Timeline(one_user([0, 1, 2], times=[0, MINUTE, 1000 * MINUTE]))
        windows = timeline.windows(schema(2), np.arange(3))
        assert windows.history.gap[0].tolist() == bucket_span(np.array([MINUTE, 999 * MINUTE])).tolist()


class TestSets:
    def test_every_event_is_a_target_once_and_is_found_at_its_own_place(self):
        dataset = events_dataset([0] * 23 + [1] * 10, list(range(33)), range(33))
        windows = Timeline(dataset).sets(schema(8), np.arange(33))
        real = windows.history.mask
        assert sorted(windows.target[real].tolist()) == list(range(33))
        assert (windows.target[real] == windows.history.rows[real]).all()

    def test_one_event_is_also_found_from_nothing(self):
        dataset = events_dataset([0] * 3 + [1] * 9, list(range(12)), range(12))
        windows = Timeline(dataset).sets(schema(4), np.arange(12))
        opening = windows.target[~windows.history.mask]
        assert len(opening[opening >= 0]) == 1
        assert opening.max() in (0, 1, 2)

    def test_what_is_found_from_nothing_is_any_event_of_the_user_and_stays_the_same(self):
        dataset = events_dataset(np.repeat(np.arange(300), 4), np.tile(np.arange(4), 300), range(1200))
        drawn = []
        for windows in (Timeline(dataset).windows(schema(6), np.arange(1200)) for _ in range(2)):
            drawn.append(windows.target[~windows.history.mask & (windows.target >= 0)])
        assert drawn[0].tolist() == drawn[1].tolist()
        assert len(drawn[0]) == 300
        assert np.bincount(drawn[0], minlength=4).min() > 50

    def test_an_item_met_again_is_read_but_not_looked_for(self):
        windows = Timeline(one_user([4, 5, 4])).sets(schema(4), np.arange(3))
        assert windows.history.rows[0, 1:].tolist() == [4, 5, 4]
        assert windows.target[0, 1:].tolist() == [4, 5, -1]
        assert windows.target[0, 0] in (4, 5)


class TestNewestPerUser:
    def test_the_newest_of_each_user_but_two(self):
        dataset = events_dataset([0, 0, 1, 0, 1, 1, 0, 2], range(8), range(8))
        chosen = newest_per_user(Timeline(dataset), np.arange(8), 1)
        assert chosen.tolist() == [5, 6]

    def test_two_older_events_are_left(self):
        dataset = events_dataset([0, 0, 0, 1, 1], range(5), range(5))
        assert newest_per_user(Timeline(dataset), np.arange(5), 4).tolist() == [2]

    def test_indices_are_into_the_given_events(self):
        dataset = events_dataset([0] * 6, range(6), range(6))
        events = np.array([0, 2, 3, 5])
        assert newest_per_user(Timeline(dataset), events, 1).tolist() == [3]
