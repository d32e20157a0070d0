"""ONNX graphs with the names and shapes of a real bundle, small enough to know their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.encode import CROSS, total_size, total_width
from models.schema import Schema
from tests.support.tiny_world import TASTES

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
SCALE = 10.0
HEEDED = -10.0
"""What a ranker that reads queries makes of them: the contrary, so that nothing else could have done it."""


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), [output], **attributes)


def write_user_tower(path: Path, dim: int) -> None:
    """`user` = SCALE * direction of the summed events (and a little of every direction), then 1."""
    nodes = [
        _node("Slice", ["events", "zero", "dim", "last"], "directions"),
        _node("ReduceSum", ["directions", "axis1"], "sum", keepdims=0),
        _node("Add", ["sum", "start"], "started"),
        _node("LpNormalization", ["started"], "unit", axis=-1, p=2),
        _node("Mul", ["unit", "scale"], "scaled"),
        _node("Slice", ["scaled", "zero", "one", "minus"], "column"),
        _node("Mul", ["column", "nought"], "nothing"),
        _node("Add", ["nothing", "unity"], "bias"),
        _node("Concat", ["scaled", "bias"], "user", axis=-1),
    ]
    constants = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "dim": np.array([dim]),
        "last": np.array([2]),
        "minus": np.array([1]),
        "axis1": np.array([1]),
        "start": np.full((1, dim), 0.01, np.float32),
        "scale": np.float32(SCALE),
        "nought": np.float32(0.0),
        "unity": np.float32(1.0),
    }
    _write(path, nodes, _history(dim + 1), [("user", FLOAT, ["B", dim + 1])], constants)


def write_preranker(path: Path, dim: int) -> None:
    """Two interests: the sum of all events, and the sum of the last session's."""
    nodes = [
        _node("ReduceSum", ["events", "axis1"], "all", keepdims=1),
        _node("Cast", ["recent"], "flag", to=FLOAT),
        _node("Unsqueeze", ["flag", "last"], "weight"),
        _node("Mul", ["events", "weight"], "session"),
        _node("ReduceSum", ["session", "axis1"], "short", keepdims=1),
        _node("Concat", ["all", "short"], "interests", axis=1),
    ]
    constants = {"axis1": np.array([1]), "last": np.array([-1])}
    _write(path, nodes, _history(dim), [("interests", FLOAT, ["B", 2, dim])], constants)


def write_ranker(path: Path, dim: int, reads: bool = False) -> None:
    """`logit` = candidate . summed events + 0.1 * sum of the cross features - 3.

    One that `reads` queries adds HEEDED * candidate . query to it.
    """
    asked = _asked(dim) if reads else _UNASKED
    nodes = [
        *asked.nodes,
        _node("MatMul", ["candidates", "sum"], "affinity"),
        _node("MatMul", ["cross", "weights"], "crossed"),
        _node("Add", ["affinity", "crossed"], "total"),
        _node("Add", ["total", "bias"], "logit"),
    ]
    constants = {
        "axis01": np.array([0, 1]),
        **asked.constants,
        "weights": np.full(len(CROSS), 0.1, np.float32),
        "bias": np.float32(-3.0),
    }
    inputs = [
        *_history(dim),
        ("candidates", FLOAT, ["N", dim]),
        ("cross", FLOAT, ["N", len(CROSS)]),
        *asked.inputs,
    ]
    _write(path, nodes, inputs, [("logit", FLOAT, ["N"])], constants)


def write_ranker_explain(path: Path, dim: int, reads: bool = False) -> None:
    """The logits of `write_ranker`; `attention` is candidate . event, `gate` its square.

    The two `experts` are the part of the events, and of the query, and that of the cross features.
    """
    asked = _asked(dim) if reads else _UNASKED
    nodes = [
        *asked.nodes,
        _node("MatMul", ["candidates", "sum"], "affinity"),
        _node("MatMul", ["cross", "weights"], "crossed"),
        _node("Add", ["affinity", "crossed"], "total"),
        _node("Add", ["total", "bias"], "logit"),
        _node("Unsqueeze", ["affinity", "axis1"], "first"),
        _node("Unsqueeze", ["crossed", "axis1"], "second"),
        _node("Concat", ["first", "second"], "experts", axis=1),
        _node("Squeeze", ["events", "axis0"], "alone"),
        _node("Transpose", ["alone"], "turned", perm=[1, 0]),
        _node("MatMul", ["candidates", "turned"], "attention"),
        _node("Mul", ["attention", "attention"], "gate"),
    ]
    constants = {
        "axis0": np.array([0]),
        "axis1": np.array([1]),
        "axis01": np.array([0, 1]),
        **asked.constants,
        "weights": np.full(len(CROSS), 0.1, np.float32),
        "bias": np.float32(-3.0),
    }
    inputs = [
        *_history(dim),
        ("candidates", FLOAT, ["N", dim]),
        ("cross", FLOAT, ["N", len(CROSS)]),
        *asked.inputs,
    ]
    outputs: list[tuple[str, int, list[Any]]] = [
        ("logit", FLOAT, ["N"]),
        ("experts", FLOAT, ["N", 2]),
        ("attention", FLOAT, ["N", "T"]),
        ("gate", FLOAT, ["N", "T"]),
    ]
    _write(path, nodes, inputs, outputs, constants)


@dataclass(frozen=True)
class _Asked:
    """The nodes that make `sum` [dim], what candidates are multiplied with, and what they read."""

    nodes: list[Any]
    inputs: list[tuple[str, int, list[Any]]]
    constants: dict[str, Any]


_UNASKED = _Asked([_node("ReduceSum", ["events", "axis01"], "sum", keepdims=0)], [], {})


def _asked(dim: int) -> _Asked:
    nodes = [
        _node("ReduceSum", ["events", "axis01"], "met", keepdims=0),
        _node("Slice", ["query", "from", "to", "along"], "direction"),
        _node("Squeeze", ["direction", "first_axis"], "words"),
        _node("Mul", ["words", "heeded"], "wanted"),
        _node("Add", ["met", "wanted"], "sum"),
    ]
    constants = {
        "from": np.array([0]),
        "to": np.array([dim]),
        "along": np.array([1]),
        "first_axis": np.array([0]),
        "heeded": np.float32(HEEDED),
    }
    return _Asked(nodes, [("query", FLOAT, [1, dim + 1])], constants)


def write_query_tower(path: Path, means: Mapping[int, np.ndarray[Any, Any]], dim: int, buckets: int) -> None:
    """`query` = the sum of what the words mean, by token; n-grams mean nothing."""
    table = np.zeros((buckets + 1, dim + 1), np.float32)
    for token, vector in means.items():
        table[token] = vector
    nodes = [
        _node("Gather", ["table", "words"], "meanings", axis=0),
        _node("ReduceSum", ["meanings", "axis1"], "meant", keepdims=0),
        _node("Gather", ["nothing", "grams"], "noises", axis=0),
        _node("ReduceSum", ["noises", "axis1"], "noise", keepdims=0),
        _node("Add", ["meant", "noise"], "query"),
    ]
    constants = {"table": table, "axis1": np.array([1]), "nothing": np.zeros_like(table)}
    inputs = [("words", INT, ["B", "W"]), ("grams", INT, ["B", "G"])]
    _write(path, nodes, inputs, [("query", FLOAT, ["B", dim + 1])], constants)


def write_item_towers(path: Path, schema: Schema, dim: int) -> None:
    """A new item lies in the direction of its genre, without bias; one vector for all three tables."""
    nodes = [
        _node("Gather", ["table", "tokens"], "embedded", axis=0),
        _node("ReduceSum", ["embedded", "axis1"], "sum", keepdims=0),
        _node("Add", ["sum", "start"], "started"),
        _node("LpNormalization", ["started"], "prerank", axis=-1, p=2),
        _node("Identity", ["prerank"], "rank"),
        _node("MatMul", ["prerank", "nought"], "bias"),
        _node("Concat", ["prerank", "bias"], "item", axis=-1),
    ]
    constants = {
        "table": _embeddings(schema, dim),
        "axis1": np.array([1]),
        "start": np.full((1, dim), 1e-3, np.float32),
        "nought": np.zeros((dim, 1), np.float32),
    }
    outputs: list[tuple[str, int, list[Any]]] = [
        ("item", FLOAT, ["n", dim + 1]),
        ("prerank", FLOAT, ["n", dim]),
        ("rank", FLOAT, ["n", dim]),
    ]
    tokens = [("tokens", INT, ["n", total_width(schema.item_fields)])]
    _write(path, nodes, tokens, outputs, constants)


def _embeddings(schema: Schema, dim: int) -> np.ndarray[Any, Any]:
    """Zero but for the genres' tokens, which are the tastes' directions."""
    table = np.zeros((total_size(schema.item_fields), dim), np.float32)
    offset = 0
    for field in schema.item_fields:
        if field.name == "genres":
            for taste, name in enumerate(TASTES):
                table[offset + field.token_of[name], taste] = 1.0
        offset += field.size
    return table


def _history(width: int) -> list[tuple[str, int, list[Any]]]:
    return [
        ("events", FLOAT, ["B", "T", width]),
        ("kind", INT, ["B", "T"]),
        ("gap", INT, ["B", "T"]),
        ("recent", BOOL, ["B", "T"]),
        ("mask", BOOL, ["B", "T"]),
        ("profile", INT, ["B", "P"]),
    ]


def _write(path: Path, nodes: Any, inputs: Any, outputs: Any, constants: dict[str, Any]) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*spec) for spec in inputs],
        [helper.make_tensor_value_info(*spec) for spec in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
