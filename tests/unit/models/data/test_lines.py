import gzip

import pytest

from models.data.lines import as_id, read_columns, read_item_lists, read_lines, text_file
from models.data.problems import DataError


def test_a_compressed_file_reads_like_the_plain_one(tmp_path):
    text = "1 5 6\r\n\n2 7\n"
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.txt", "b.txt"):
        path = text_file(tmp_path, name, "get it there")
        assert list(read_lines(path)) == [(1, "1 5 6"), (3, "2 7")]
        users, items = read_item_lists(path)
        assert users.tolist() == [1, 1, 2]
        assert items.tolist() == [5, 6, 7]


def test_a_missing_file_says_where_it_is_to_be_had(tmp_path):
    with pytest.raises(DataError, match=r"x\.txt: no such file, nor x\.txt\.gz; get it there"):
        text_file(tmp_path, "x.txt", "get it there")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"0 1\n1 two\n", r"a\.txt:2: expected a user and items, all of them numbers from 0, found '1 two'"),
        (b"0 1\n1 -2\n", r"a\.txt:2: expected"),
        (b"0 1.5\n", r"a\.txt:1: expected"),
        (b"0 " + b"9" * 19 + b"\n", r"a\.txt:1: expected"),
        (b"0 1\n\n0 2\n", r"a\.txt:3: user 0 has line 1 already"),
        (b"0 1\n\xff\n", r"a\.txt:\d: not UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, said):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_item_lists(tmp_path / "a.txt")


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"0 1 2\n"])
def test_a_damaged_archive_is_to_be_fetched_again(tmp_path, damage):
    (tmp_path / "a.txt.gz").write_bytes(damage(gzip.compress(b"0 1 2\n" * 99)))
    with pytest.raises(DataError, match=r"a\.txt\.gz: cannot be unpacked, fetch it again"):
        list(read_lines(tmp_path / "a.txt.gz"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a.csv:1: expected the header 'x y'"),
        ("x,y\n1,2\n", "a.csv:1: expected the header 'x y'"),
        ("x\ty\n1\t2\n3\n", "a.csv:3: expected 2 columns, found '3'"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, text, said):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        list(read_columns(path, ("x", "y")))


def test_a_number_that_is_none_is_named_with_its_column(tmp_path):
    assert as_id(tmp_path, 4, "time", "17") == 17
    with pytest.raises(DataError, match=r":4: expected time: a whole number from 0, found '1e3'"):
        as_id(tmp_path, 4, "time", "1e3")
