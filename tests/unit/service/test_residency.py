from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from models.artifacts import StringColumn, half, write_strings
from service.residency import release, release_freed
from service.tables import Table


def resident(path: Path) -> int:
    """Bytes of a file that are mapped into this process and resident."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            counts = words[-1] == str(path)
        elif counts and words[0] == "Rss:":
            total += int(words[1]) * 1024
    return total


def test_pages_that_were_read_are_let_go_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    np.save(path, np.arange(1 << 20, dtype=np.float32))
    table = np.asarray(np.load(path, mmap_mode="r"))
    total = float(table.sum(dtype=np.float64))
    assert resident(path) >= 1 << 22

    release(table)

    assert resident(path) < 1 << 20
    assert float(table.sum(dtype=np.float64)) == total


def test_a_string_column_can_be_let_go(tmp_path: Path) -> None:
    write_strings(tmp_path, "ids", [f"item-{i:09}" for i in range(100_000)])
    column = StringColumn.open(tmp_path, "ids")
    everything = column.tolist()
    assert resident(tmp_path / "ids.blob.npy") > 10 * mmap.PAGESIZE

    for array in column.arrays:
        release(array)

    assert resident(tmp_path / "ids.blob.npy") + resident(tmp_path / "ids.offsets.npy") == 0
    assert column[99_999] == everything[-1]


def test_what_is_in_memory_only_stays() -> None:
    table = np.ones(10)
    release(table)
    release_freed()
    assert table.tolist() == [1.0] * 10


def test_a_table_of_halves_is_read_in_single_precision() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    table = Table(half(vectors), vectors[:2])
    rows = np.array([[3, 50], [49, 51]])

    assert table.take(rows).dtype == np.float32
    np.testing.assert_allclose(table.take(rows)[:, 0], vectors[[3, 49]], rtol=2**-10)
    np.testing.assert_array_equal(table.take(rows)[:, 1], vectors[:2])
    assert Table.of(half(vectors)).take(np.array([1])).dtype == np.float32


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e6])
def test_halves_refuse_what_they_cannot_hold(bad: float) -> None:
    with pytest.raises(ValueError, match="65,504"):
        half(np.array([[1.0, bad]], np.float32))
