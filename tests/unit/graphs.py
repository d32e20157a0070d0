"""Tiny ONNX graphs whose answers can be computed by hand."""

from __future__ import annotations

from onnx import TensorProto, helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
EVENTS = helper.make_tensor_value_info("events", FLOAT, ["B", "T", "d"])
AXIS = helper.make_tensor("axis", INT64, [1], [1])


def summed_events() -> bytes:
    """`user` [B, d] = the sum of the events."""
    node = helper.make_node("ReduceSum", ["events", "axis"], ["user"], keepdims=0)
    return _model([node], [EVENTS], "user", ["B", "d"])


def each_event() -> bytes:
    """`interests` [B, T, d] = the events."""
    return _model(
        [helper.make_node("Identity", ["events"], ["interests"])], [EVENTS], "interests", ["B", "T", "d"]
    )


def candidate_products() -> bytes:
    """`logit` [N] = candidate . sum of the events + sum of the cross features."""
    nodes = [
        helper.make_node("ReduceSum", ["events", "axis"], ["sum"], keepdims=0),
        helper.make_node("Transpose", ["sum"], ["column"], perm=[1, 0]),
        helper.make_node("MatMul", ["candidates", "column"], ["products"]),
        helper.make_node("ReduceSum", ["cross", "axis"], ["bonus"], keepdims=1),
        helper.make_node("Add", ["products", "bonus"], ["both"]),
        helper.make_node("Squeeze", ["both", "axis"], ["logit"]),
    ]
    inputs = [
        EVENTS,
        helper.make_tensor_value_info("candidates", FLOAT, ["N", "d"]),
        helper.make_tensor_value_info("cross", FLOAT, ["N", "X"]),
    ]
    return _model(nodes, inputs, "logit", ["N"])


def _model(nodes: list, inputs: list, output: str, shape: list) -> bytes:
    outputs = [helper.make_tensor_value_info(output, FLOAT, shape)]
    graph = helper.make_graph(nodes, output, inputs, outputs, initializer=[AXIS])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()
