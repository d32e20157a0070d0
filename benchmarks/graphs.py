"""The graphs of a benchmark bundle: the names and shapes of trained ones, with known arithmetic.

Retrieval needs a user tower whose vectors point to where the user's items are, which no untrained network
does; so the tower is what the `mean` encoder does: the direction of the summed events. Pre-ranker and ranker
are a few products. Their time is not that of trained networks and is no subject of these benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models import artifacts
from models.encode import CROSS, total_size, total_width
from models.schema import Schema

_FLOAT, _INT, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
SCALE = 10.0
"""Length of a user vector, and so the weight of direction against bias."""
START = 0.01
"""Added to every direction, so that an empty history has one."""
_OPSET = 18
_IR = 10

Port = tuple[str, int, list[Any]]


def write_graphs(folder: Path, schema: Schema, dim: int) -> None:
    """Write the four graphs of a bundle with item vectors of `dim` dimensions, and their parity file."""
    _user_tower(folder / artifacts.USER_TOWER, dim)
    _preranker(folder / artifacts.PRERANKER, dim)
    _ranker(folder / artifacts.RANKER, dim)
    _item_towers(folder / artifacts.ITEM_TOWERS, schema, dim)
    _parity(folder)


def _user_tower(path: Path, dim: int) -> None:
    """`user` = 10 * direction of the summed events, then the bias weight 1."""
    nodes = [
        _node("Slice", ["events", "zero", "dim", "last"], "directions"),
        _node("ReduceSum", ["directions", "axis1"], "sum", keepdims=0),
        _node("Add", ["sum", "start"], "started"),
        _node("LpNormalization", ["started"], "unit", axis=-1, p=2),
        _node("Mul", ["unit", "scale"], "scaled"),
        _node("Pad", ["scaled", "one_more", "unity"], "user"),
    ]
    constants = {
        "zero": np.array([0]),
        "dim": np.array([dim]),
        "last": np.array([2]),
        "axis1": np.array([1]),
        "start": np.full((1, dim), START, np.float32),
        "scale": np.float32(SCALE),
        "one_more": np.array([0, 0, 0, 1]),
        "unity": np.float32(1.0),
    }
    _write(path, nodes, _history(dim + 1), [("user", _FLOAT, ["B", dim + 1])], constants)


def _preranker(path: Path, dim: int) -> None:
    """Two interests: the sum of all events and the sum of the last session's."""
    nodes = [
        _node("ReduceSum", ["events", "axis1"], "all", keepdims=1),
        _node("Cast", ["recent"], "flag", to=_FLOAT),
        _node("Unsqueeze", ["flag", "last"], "weight"),
        _node("Mul", ["events", "weight"], "session"),
        _node("ReduceSum", ["session", "axis1"], "short", keepdims=1),
        _node("Concat", ["all", "short"], "interests", axis=1),
    ]
    constants = {"axis1": np.array([1]), "last": np.array([-1])}
    _write(path, nodes, _history(dim), [("interests", _FLOAT, ["B", 2, dim])], constants)


def _ranker(path: Path, dim: int) -> None:
    """`logit` = candidate . summed events + 0.1 * sum of the cross features - 3."""
    nodes = [
        _node("ReduceSum", ["events", "axis01"], "sum", keepdims=0),
        _node("MatMul", ["candidates", "sum"], "affinity"),
        _node("MatMul", ["cross", "weights"], "crossed"),
        _node("Add", ["affinity", "crossed"], "total"),
        _node("Add", ["total", "bias"], "logit"),
    ]
    constants = {
        "axis01": np.array([0, 1]),
        "weights": np.full(len(CROSS), 0.1, np.float32),
        "bias": np.float32(-3.0),
    }
    inputs = [*_history(dim), ("candidates", _FLOAT, ["N", dim]), ("cross", _FLOAT, ["N", len(CROSS)])]
    _write(path, nodes, inputs, [("logit", _FLOAT, ["N"])], constants)


def _item_towers(path: Path, schema: Schema, dim: int) -> None:
    """A new item lies in a direction of its tokens, without bias; one vector for all three tables."""
    nodes = [
        _node("Gather", ["table", "tokens"], "embedded", axis=0),
        _node("ReduceSum", ["embedded", "axis1"], "sum", keepdims=0),
        _node("LpNormalization", ["sum"], "prerank", axis=-1, p=2),
        _node("Identity", ["prerank"], "rank"),
        _node("Pad", ["prerank", "one_more"], "item"),
    ]
    table = np.random.default_rng(0).standard_normal((total_size(schema.item_fields), dim), np.float32)
    constants = {"table": table, "axis1": np.array([1]), "one_more": np.array([0, 0, 0, 1])}
    outputs: list[Port] = [
        ("item", _FLOAT, ["n", dim + 1]),
        ("prerank", _FLOAT, ["n", dim]),
        ("rank", _FLOAT, ["n", dim]),
    ]
    tokens: list[Port] = [("tokens", _INT, ["n", total_width(schema.item_fields)])]
    _write(path, nodes, tokens, outputs, constants)


def _history(width: int) -> list[Port]:
    return [
        ("events", _FLOAT, ["B", "T", width]),
        ("kind", _INT, ["B", "T"]),
        ("gap", _INT, ["B", "T"]),
        ("recent", _BOOL, ["B", "T"]),
        ("mask", _BOOL, ["B", "T"]),
        ("profile", _INT, ["B", "P"]),
    ]


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), [output], **attributes)


def _write(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    constants: dict[str, Any],
) -> None:
    graph = helper.make_graph(
        list(nodes),
        path.stem,
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _parity(folder: Path) -> None:
    """Record what each graph answers to a few inputs, keys "<graph>/<input or output>"."""
    rng = np.random.default_rng(3)
    recorded: dict[str, Any] = {}
    for name in (artifacts.USER_TOWER, artifacts.PRERANKER, artifacts.RANKER, artifacts.ITEM_TOWERS):
        session = onnxruntime.InferenceSession(folder / name)
        feeds = {one.name: _example(one, rng) for one in session.get_inputs()}
        outputs = [one.name for one in session.get_outputs()]
        answers = dict(zip(outputs, session.run(None, feeds), strict=True))
        recorded.update({f"{Path(name).stem}/{key}": value for key, value in (feeds | answers).items()})
    np.savez(folder / artifacts.PARITY, **recorded)


def _example(wanted: Any, rng: np.random.Generator) -> NDArray[Any]:
    sizes = {"B": 1, "T": 3, "N": 4, "n": 2, "P": 1}
    shape = [sizes.get(axis, axis) for axis in wanted.shape]
    if wanted.type == "tensor(float)":
        return rng.normal(size=shape).astype(np.float32)
    if wanted.type == "tensor(bool)":
        return np.ones(shape, bool)
    return rng.integers(0, 3, shape)
