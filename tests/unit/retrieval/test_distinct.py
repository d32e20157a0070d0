import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.distinct import first_occurrences, locate, perhaps_among, representatives

ITEMS = 60
row_lists = st.lists(st.integers(0, ITEMS - 1), max_size=200).map(lambda rows: np.array(rows, np.int32))


@given(row_lists)
def test_equal_rows_share_their_first_position(rows):
    leader = representatives(rows, ITEMS)
    assert leader.tolist() == [rows.tolist().index(row) for row in rows]
    assert sorted(rows[first_occurrences(rows, ITEMS)]) == np.unique(rows).tolist()


@given(row_lists, row_lists)
def test_locate_finds_exactly_what_is_there(wanted, among):
    among = np.unique(among)
    positions = locate(wanted, among, ITEMS)
    places = {row: place for place, row in enumerate(among.tolist())}
    assert positions.tolist() == [places.get(row, -1) for row in wanted.tolist()]


far_lists = st.lists(st.integers(-1, 2**31 - 1) | st.integers(0, 9), max_size=50)


@given(far_lists, far_lists)
def test_whatever_is_among_others_is_perhaps_among_them(rows, others):
    found = perhaps_among(np.array(rows, np.int32), np.array(others, np.int32)).tolist()
    assert found == sorted(set(found))
    assert {place for place, row in enumerate(rows) if row in others} <= set(found)


def test_hardly_any_other_row_is_perhaps_among_them():
    rng = np.random.default_rng(0)
    rows, others = np.arange(20_000, dtype=np.int32) * 37, rng.integers(0, 10**6, 100).astype(np.int32)
    assert len(perhaps_among(rows, others)) < len(rows) / 20


def test_leftovers_of_a_larger_call_do_no_harm():
    representatives(np.arange(1000, dtype=np.int32), 1000)
    assert locate(np.array([3, 999], np.int32), np.array([999], np.int32), 1000).tolist() == [-1, 0]


def test_threads_do_not_share_their_scratch():
    wrong: list[int] = []

    def work(offset: int) -> None:
        rng = np.random.default_rng(offset)
        for _ in range(200):
            rows = rng.integers(0, 50, 300).astype(np.int32)
            if not np.array_equal(rows[representatives(rows, 50)], rows):
                wrong.append(offset)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
