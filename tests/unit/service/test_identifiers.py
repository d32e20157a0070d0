from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from models.artifacts import StringColumn, write_strings
from service.identifiers import Identifiers, hash_ids


def identifiers(folder: Path, ids: list[str]) -> Identifiers:
    write_strings(folder, "ids", ids)
    return Identifiers(StringColumn.open(folder, "ids"))


COLLIDING = ["plumless", "buckeroo"]
"""Two ids of one hash."""


def test_every_id_finds_its_row_and_back(tmp_path: Path) -> None:
    ids = [f"item-{i}" for i in range(500)] + ["ünï", "日本", " "]
    table = identifiers(tmp_path, ids)

    assert table.rows_of(ids).tolist() == list(range(len(ids)))
    assert [table[row] for row in range(len(ids))] == ids


def test_an_unknown_id_is_minus_one(tmp_path: Path) -> None:
    table = identifiers(tmp_path, ["a", "b"])

    assert table.rows_of(["b", "c", "", "\ud800", "a"]).tolist() == [1, -1, -1, -1, 0]
    assert table.rows_of([]).tolist() == []


def test_ids_of_one_hash_are_told_apart(tmp_path: Path) -> None:
    one, other = COLLIDING
    assert len(set(hash_ids(COLLIDING).tolist())) == 1
    table = identifiers(tmp_path, [one, "third", other])

    assert table.rows_of([other, one]).tolist() == [2, 0]
    assert sorted(table.rows_of_hashes(hash_ids([one])).tolist()) == [0, 2]


def test_an_unknown_id_of_a_known_hash_is_unknown(tmp_path: Path) -> None:
    one, other = COLLIDING
    assert identifiers(tmp_path, ["third", one]).rows_of([other]).tolist() == [-1]


def test_ids_of_one_hash_beside_others_and_unknown_ones(tmp_path: Path) -> None:
    """What is compared at once is told apart: known and not, of one hash, shorter and longer than another."""
    one, other = COLLIDING
    ids = ["", one, *(f"{i:b}" for i in range(300)), other]
    table = identifiers(tmp_path, ids)

    asked = [other, "x", "", "1" * 30, one, "101", "", other + " ", "日本"]
    assert table.rows_of(asked).tolist() == [302, -1, 0, -1, 1, 7, 0, -1, -1]


def test_ids_of_one_length_that_only_share_a_hash(tmp_path: Path) -> None:
    one, other = COLLIDING
    assert len(one) == len(other)
    table = identifiers(tmp_path, ["first", one, "last"])

    assert table.rows_of(["last", other, "first", other, one]).tolist() == [2, -1, 0, -1, 1]


def test_every_id_of_a_large_table_is_found(tmp_path: Path) -> None:
    ids = [f"{zlib.crc32(str(i).encode()):x}-{i}" for i in range(100_000)]
    table = identifiers(tmp_path, ids)

    assert np.array_equal(table.rows_of(ids), np.arange(len(ids)))
    assert (table.rows_of([item_id + "?" for item_id in ids]) == -1).all()
    found = table.rows_of_hashes(hash_ids(ids[::7]))
    assert set(range(0, len(ids), 7)) <= set(found.tolist())


def test_hashes_find_their_rows(tmp_path: Path) -> None:
    table = identifiers(tmp_path, [f"item-{i}" for i in range(100)])

    found = table.rows_of_hashes(hash_ids(["item-5", "nobody", "item-70"]))
    assert sorted(found.tolist()) == [5, 70]
    assert table.rows_of_hashes(hash_ids([])).tolist() == []


def test_no_item_at_all(tmp_path: Path) -> None:
    assert identifiers(tmp_path, []).rows_of(["a"]).tolist() == [-1]
