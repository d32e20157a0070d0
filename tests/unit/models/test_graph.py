import subprocess
import sys

import numpy as np
import pytest

from models.artifacts import BundleError
from models.encode import History
from models.graph import Graph, gather, history_inputs
from tests.unit.graphs import candidate_products, summed_events


def history(rows, mask) -> History:
    rows, mask = np.array(rows, np.int32), np.array(mask)
    tokens = np.ones(rows.shape, np.int64)
    return History(rows=rows, kind=tokens, gap=tokens, age=tokens, recent=mask, mask=mask)


TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


class Split:
    """Rows from two arrays."""

    def take(self, rows):
        return np.concatenate([TABLE[:2], TABLE[2:]])[rows]


def test_only_the_inputs_that_the_graph_has_are_fed():
    graph = Graph.open(summed_events())
    assert graph.inputs == ("events",)
    inputs = history_inputs(history([[1, 2]], [[True, True]]), np.zeros((1, 1), np.int64), TABLE)
    assert graph.run(**inputs).tolist() == [[9, 11, 13]]
    assert list(graph.run_all(**inputs)) == ["user"]


def test_a_missing_input_is_named():
    with pytest.raises(KeyError, match="candidates"):
        Graph.open(candidate_products()).run(events=np.zeros((1, 1, 3), np.float32))


def test_masked_events_are_zero():
    inputs = history_inputs(history([[0, 2]], [[False, True]]), np.zeros((1, 1), np.int64), TABLE)
    assert inputs["events"].tolist() == [[[0, 0, 0], [6, 7, 8]]]
    assert inputs["events"].dtype == np.float32
    assert set(inputs) == {"events", "kind", "gap", "age", "recent", "mask", "profile"}


def test_vectors_come_from_arrays_memory_maps_and_tables_alike(tmp_path):
    np.save(tmp_path / "table.npy", TABLE)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    rows = np.array([[3, 0], [1, 1]], np.int32)
    for table in (TABLE, mapped, Split()):
        np.testing.assert_array_equal(gather(table, rows), TABLE[rows])


def test_what_is_no_graph_is_refused_by_name(tmp_path):
    path = tmp_path / "ranker.onnx"
    with pytest.raises(BundleError, match=r"ranker\.onnx"):
        Graph.open(path)
    path.write_bytes(summed_events()[:40])
    with pytest.raises(BundleError, match=r"ranker\.onnx: not a readable ONNX graph"):
        Graph.open(path)


def test_a_session_starts_no_threads():
    code = (
        "import os, sys; from models.graph import Graph; from tests.unit.graphs import summed_events;"
        "count = lambda: len(os.listdir('/proc/self/task'));"
        "before = count(); graph = Graph.open(summed_events()); sys.exit(count() - before)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
