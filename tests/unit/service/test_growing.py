from __future__ import annotations

import numpy as np

from service.growing import Growing


def rows(*values: float) -> np.ndarray:
    return np.array([[value, -value] for value in values], np.float32)


def test_an_earlier_table_does_not_see_what_a_later_one_has() -> None:
    first = Growing.of(rows(1, 2))
    second = first.put([2, 3], rows(3, 4))
    third = second.put([0], rows(9))
    assert first.values[:, 0].tolist() == [1, 2]
    assert second.values[:, 0].tolist() == [1, 2, 3, 4]
    assert third.values[:, 0].tolist() == [9, 2, 3, 4]


def test_two_tables_that_grow_from_one_do_not_meet() -> None:
    common = Growing.of(rows(1)).put([1], rows(2))
    one, other = common.put([2], rows(3)), common.put([2], rows(4))
    assert one.values[:, 0].tolist() == [1, 2, 3]
    assert other.values[:, 0].tolist() == [1, 2, 4]
    assert len(common) == 2


def test_appending_copies_rarely() -> None:
    table = Growing.of(np.zeros((0, 2), np.float32))
    buffers = set()
    for number in range(2000):
        table = table.put([number], rows(number))
        buffers.add(id(table.values.base))
    assert table.values[:, 0].tolist() == list(range(2000))
    assert len(buffers) < 15


def test_taking_keeps_the_order_that_is_asked_for() -> None:
    assert Growing.of(rows(1, 2, 3)).take([2, 0]).values[:, 0].tolist() == [3, 1]
