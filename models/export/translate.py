"""One torch module as an ONNX graph, with recorded inputs and the answers that torch gives them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

OPSET = 20
TOLERANCE = 1e-4
"""Largest relative difference between torch and ONNX Runtime that a graph may have, unless it rounds."""

_TALKATIVE = ("torch.onnx", "onnxscript", "onnx_ir")
"""Loggers of the exporter, which warns of its own internals: what it writes is proven by parity."""

Axes = dict[str, dict[int, Any]]
"""The dynamic axes of each input: number -> `torch.export.Dim`."""


@dataclass(frozen=True)
class Blueprint:
    """A module to export: example inputs, their dynamic axes, and names of what it returns, in order."""

    name: str
    module: nn.Module
    recorded: Mapping[str, NDArray[Any]]
    axes: Axes
    outputs: tuple[str, ...]
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Exported:
    """One graph as bytes, with recorded inputs and the answers that torch gave them."""

    name: str
    onnx: bytes
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    tolerance: float = TOLERANCE
    """The largest difference from them that is allowed, relative to an output's largest value."""


def translate(blueprint: Blueprint) -> Exported:
    """Export a module in evaluation mode; its forward takes what it names of the recorded inputs."""
    module = blueprint.module.eval()
    wanted = list(module.forward.__annotations__)
    inputs = {key: value for key, value in blueprint.recorded.items() if key in wanted}
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in inputs.items()}
    with torch.no_grad():
        answers = module(**tensors)
    answers = answers if isinstance(answers, tuple) else (answers,)
    with quiet():
        # The exporter's optimiser stays on: it costs a second in all, and serving is an eighth faster for it.
        program = torch.onnx.export(
            module,
            kwargs=tensors,
            dynamic_shapes={key: blueprint.axes[key] for key in tensors},
            input_names=list(tensors),
            output_names=list(blueprint.outputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto.SerializeToString()
    named = zip(blueprint.outputs, (answer.numpy() for answer in answers), strict=True)
    return Exported(blueprint.name, graph, inputs, dict(named), blueprint.tolerance)


@contextmanager
def quiet() -> Iterator[None]:
    """Let only errors of the exporter through."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
