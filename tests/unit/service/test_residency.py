from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.artifacts import StringColumn, half, write_strings
from service.residency import release, release_freed
from service.tables import Table
from tests.support.tiny_bundle import write_tiny_bundle


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


_HEAPS = """
import ctypes, sys, threading
from service.residency import share_heap

if sys.argv[1] == "shared":
    share_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
met = threading.Barrier(8)

def allocate():
    libc.malloc(1000)
    met.wait()  # so that all are alive at once: a thread that ends leaves its heap to the next

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="a C library without malloc_info")
def test_threads_share_a_heap() -> None:
    def heaps(how: str) -> int:
        run = subprocess.run([sys.executable, "-c", _HEAPS, how], capture_output=True, text=True, check=True)
        return run.stdout.count("<heap nr=")

    assert heaps("shared") == 1
    assert heaps("apart") > 1


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


_SETTLED = """
import gc, sys, weakref
from pathlib import Path
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.query import Request
from service.engine import Engine
from service.metrics import Metrics
from service.residency import settle

class Ring:
    def __init__(self):
        self.itself = self

bundle = Bundle.open(Path(sys.argv[1]))
engine = Engine.build(bundle, Metrics())
answered = engine.run(engine.hydrate(Request(), None, Moment("one", 1_700_000_000_000)))
assert len(answered.rows)
ring, vectors = weakref.ref(Ring()), weakref.ref(bundle.item_vectors)
assert ring() is not None
settle()
print("garbage of before", ring() is not None)
settled = len(gc.get_objects())
print("looked at", settled < gc.get_freeze_count() / 100)
del bundle, engine, answered
print("bundle", vectors() is not None)
ring = weakref.ref(Ring())
gc.collect()
print("garbage of after", ring() is not None)
"""


def test_what_settled_is_freed_when_nothing_refers_to_it_and_not_looked_at_otherwise(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path)
    command = [sys.executable, "-c", _SETTLED, str(bundle)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "garbage of before False",
        "looked at True",
        "bundle False",
        "garbage of after False",
    ]
