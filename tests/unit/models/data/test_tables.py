import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.data.problems import DataError, Problems
from models.data.tables import find_table, read_table


def write(path, content):
    path.write_bytes(content)
    return path


def test_lines_are_those_of_the_file_even_after_quoted_line_breaks(tmp_path):
    path = write(tmp_path / "t.csv", b'id,text\n1,"two\nlines"\n\n2,plain\n')
    table = read_table(path, Problems())
    assert table.columns["text"].to_pylist() == ["two\nlines", "plain"]
    assert table.lines.tolist() == [2, 5]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    table = read_table(write(tmp_path / "t.csv", b"\xef\xbb\xbfid\n1\n"), Problems())
    assert list(table.columns) == ["id"]


def test_broken_rows_are_reported_and_left_out(tmp_path):
    path = write(tmp_path / "t.csv", b'a,b\n1,2\n1,2,3\n\xff\xfe,2\n"x"y,2\n3,4\n')
    problems = Problems()
    table = read_table(path, problems)
    assert table.columns["a"].to_pylist() == ["1", "3"]
    assert problems.rows == 3
    listing = problems.listing()
    assert listing[0] == f"{path}:3: row: expected 2 columns, found 3"
    assert listing[1] == f"{path}:4: row: not UTF-8"
    assert listing[2].startswith(f"{path}:5: row:")


def test_twenty_bad_rows_are_listed_and_all_are_counted(tmp_path):
    path = write(tmp_path / "t.csv", b"a,b\n" + b"1\n" * 50)
    problems = Problems()
    read_table(path, problems)
    listing = problems.listing()
    assert len(listing) == 21
    assert listing[0].startswith(f"{path}:2:")
    assert listing[19].startswith(f"{path}:21:")
    assert listing[-1] == "50 bad rows in all"


def test_an_empty_cell_is_null_and_tabs_separate_tsv(tmp_path):
    table = read_table(write(tmp_path / "t.tsv", b"a\tb\n\tx\n"), Problems())
    assert table.columns["a"].to_pylist() == [None]
    assert table.columns["b"].to_pylist() == ["x"]


def test_parquet_columns_keep_their_types_and_count_rows_from_one(tmp_path):
    columns = {"n": pa.array([1, 2]), "c": pa.array(["x", "y"]).dictionary_encode()}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", Problems())
    assert table.columns["n"].type == pa.int64()
    assert table.columns["c"].to_pylist() == ["x", "y"]
    assert table.lines.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "expected a header line"),
        ("t.csv", b"a,a\n", "distinct column names"),
        ("t.parquet", b"not parquet", "not a readable Parquet file"),
        ("t.json", b"{}", r"expected a file named \*.csv"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / name, content), Problems())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        read_table(tmp_path / "gone.csv", Problems())


def test_parquet_is_preferred_to_csv(tmp_path):
    write(tmp_path / "events.csv", b"a\n")
    assert find_table(tmp_path, "events").suffix == ".csv"
    write(tmp_path / "events.parquet", b"")
    assert find_table(tmp_path, "events").suffix == ".parquet"
    assert find_table(tmp_path, "items") is None
