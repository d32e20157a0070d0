from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from models.data.checked import CheckedTable
from models.data.problems import DataError, Problems
from models.data.tables import Table


def checked(values, kind=None):
    problems = Problems()
    column = pa.array(values, kind or pa.string())
    table = Table("t.csv", {"c": column}, np.arange(2, len(column) + 2))
    return CheckedTable(table, problems), problems


def reasons(problems):
    return {cell.line: cell.reason for cell in problems.cells}


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\x85b", "control character"),
        ("x" * 257, "longer than 256"),
    ],
)
def test_a_bad_id_is_noted_and_its_neighbours_stay_good(identifier, reason):
    table, problems = checked(["ok", identifier, "é" * 256])
    table.ids("c")
    assert table.good.tolist() == [True, False, True]
    assert reason in reasons(problems)[3]


def test_whole_number_ids_of_parquet_become_strings():
    table, _ = checked([1, 22], pa.int64())
    assert table.ids("c").to_pylist() == ["1", "22"]


def test_a_repeated_id_is_bad_from_the_second_on():
    table, problems = checked(["a", "b", "a", "a"])
    table.unique_ids("c")
    assert table.good.tolist() == [True, True, False, False]
    assert "duplicate id: 'a'" in reasons(problems)[4]


def test_an_id_whose_first_row_is_bad_already_may_come_again():
    table, _ = checked(["a", "b", "a"])
    table.reject("c", np.array([True, False, False]), "bad for another reason")
    table.unique_ids("c")
    assert table.good.tolist() == [False, True, True]


def test_numbers_are_read_and_the_empty_cell_is_nan():
    table, problems = checked(["1", " -2.5 ", "+3e2", ".5", None])
    np.testing.assert_array_equal(table.numbers("c"), [1, -2.5, 300, 0.5, np.nan])
    assert table.good.all()
    assert not problems.cells


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-inf", "1e999", "1e39", "0x10", "1,5", "1_000", "abc", "--1"]
)
def test_what_is_no_finite_number_is_bad(text):
    table, problems = checked(["1", text])
    table.numbers("c")
    assert table.good.tolist() == [True, False]
    assert "not a finite number" in reasons(problems)[3]


def test_infinity_in_parquet_is_bad_and_nan_is_absent():
    table, _ = checked([1.0, np.inf, np.nan, None], pa.float64())
    assert np.isnan(table.numbers("c")[2:]).all()
    assert table.good.tolist() == [True, False, True, True]


def test_integers_refuse_fractions_and_negatives():
    table, _ = checked(["3", "2.5", "-1", None, "3.0"])
    assert table.integers("c", absent=-1)[[0, 3, 4]].tolist() == [3, -1, 3]
    assert table.good.tolist() == [True, False, False, True, True]


@pytest.mark.parametrize(
    ("text", "unit", "time_ms"),
    [
        ("1700000000123", "ms", 1700000000123),
        ("1700000000.25", "s", 1700000000250),
        ("2024-01-02", "iso", 1704153600000),
        ("2024-01-02T03:04:05Z", "iso", 1704164645000),
        ("2024-01-02 03:04:05.5+02:00", "iso", 1704157445500),
    ],
)
def test_times_become_milliseconds_whatever_their_unit(text, unit, time_ms):
    table, _ = checked([text])
    assert table.times("c", unit).tolist() == [time_ms]
    assert table.good.all()


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("yesterday", "iso"),
        ("2024-13-01", "iso"),
        ("-5", "ms"),
        ("1e30", "ms"),
        ("1700000000000", "s"),
        (None, "ms"),
    ],
)
def test_a_time_that_cannot_be_is_bad(text, unit):
    table, _ = checked([text])
    table.times("c", unit)
    assert table.good.tolist() == [False]


def test_a_time_before_1970_in_iso_is_bad():
    table, problems = checked(["1969-12-31T23:59:59Z"])
    table.times("c", "iso")
    assert "before 1970" in reasons(problems)[2]


def test_timestamps_of_parquet_need_no_unit():
    table, _ = checked([datetime(2024, 1, 2, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    assert table.times("c", "s").tolist() == [1704153600000]


def test_sets_are_split_cleaned_and_free_of_repeats():
    table, _ = checked(["b| a |b||", None, "|"])
    assert table.sets("c", "|") == [["b", "a"], None, None]
    lists, _ = checked([["b", "b", ""], [], None], pa.list_(pa.string()))
    assert lists.sets("c", "|") == [["b"], None, None]


def test_flags_take_a_few_words_and_refuse_others():
    table, _ = checked(["true", "NO", "1", None, "maybe"])
    assert table.flags("c", default=True)[:4].tolist() == [True, False, True, True]
    assert table.good.tolist() == [True, True, True, True, False]


def test_a_row_with_two_bad_columns_counts_once():
    problems = Problems()
    columns = {"a": pa.array([None, "x"], pa.string()), "b": pa.array(["?", "1"], pa.string())}
    table = CheckedTable(Table("t.csv", columns, np.array([2, 3])), problems)
    table.ids("a")
    table.numbers("b")
    table.finish()
    assert problems.rows == 1
    assert len(problems.cells) == 2


def test_a_column_of_a_strange_type_is_bad_rows_and_no_crash():
    table, problems = checked([1, 2], pa.timestamp("ns"))
    table.numbers("c")
    assert not table.good.any()
    assert "1970-01-01" in reasons(problems)[2]


def test_a_missing_column_lists_those_that_are_there():
    table, _ = checked(["x"])
    with pytest.raises(DataError, match=r"no column 'd'; it has \['c'\]"):
        table.ids("d")
