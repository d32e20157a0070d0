"""ONNX graphs at serving: one session that keeps to its threads, fed by name with what it asks for."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.artifacts import BundleError, single
from models.encode import History
from models.masks import every

Floats = NDArray[np.float32]


class VectorTable(Protocol):
    """A table of item vectors that is more than one array, such as a bundle's and what came since."""

    def take(self, rows: NDArray[Any]) -> Floats:
        """The vectors of `rows` of any shape: [*rows.shape, d]."""


class Graph:
    """One ONNX graph; safe to run from several threads."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session
        self.inputs: tuple[str, ...] = tuple(each.name for each in session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(each.name for each in session.get_outputs())
        self.shapes: dict[str, list[int | str | None]] = {
            each.name: each.shape for each in session.get_inputs()
        }
        """Sizes of each input's axes; a name or None where the graph leaves one open."""
        self.width: int | str | None = session.get_outputs()[0].shape[-1]
        """Size of the last axis of the first output; a name or None where the graph leaves it open."""

    @classmethod
    def open(cls, source: Path | bytes, *, threads: int = 1) -> Graph:
        """Load a graph from a file or from its bytes.

        Raises:
            BundleError: the file is missing or no graph.
        """
        return cls(open_session(source, threads=threads))

    def run(self, **inputs: NDArray[Any]) -> Floats:
        """The first output; see `run_all`."""
        first: Floats = self.session.run([self.outputs[0]], self._feeds(inputs))[0]
        return first

    def run_all(self, **inputs: NDArray[Any]) -> dict[str, Floats]:
        """Every output by name. Inputs that the graph does not have are left out: a network may ignore some.

        Raises:
            KeyError: an input of the graph is not given.
        """
        return dict(zip(self.outputs, self.session.run(list(self.outputs), self._feeds(inputs)), strict=True))

    def _feeds(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {name: inputs[name] for name in self.inputs}


def open_session(source: Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session of at most `threads` threads that sleep while they have nothing to do.

    Raises:
        BundleError: the file is missing or no graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Memory patterns are kept per input shape, and every history length is another shape.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    model = source if isinstance(source, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER
        )
    except Exception as error:  # the runtime's errors have no parent of their own
        name = "graph" if isinstance(source, bytes) else source
        raise BundleError(f"{name}: not a readable ONNX graph: {str(error).splitlines()[0]}") from error


_SLOWER = ["SkipLayerNormFusion"]
"""Rewritings of the runtime that cost time: a sum and a norm as one take more than twice as long as both."""


def history_inputs(
    history: History, profile: NDArray[np.int64], vectors: Floats | VectorTable
) -> dict[str, NDArray[Any]]:
    """The inputs that every graph over B histories of T events shares; `profile` [B, P], `vectors` [m, d].

    `events` [B, T, d] are the vectors of the rows, zero where the mask is false; the other columns of the
    history go by their own names.
    """
    events = gather(vectors, history.rows)
    if not every(history.mask):
        events = events * history.mask[:, :, None]
    return {**{name: getattr(history, name) for name in _COLUMNS}, "events": events, "profile": profile}


_COLUMNS = tuple(each.name for each in fields(History) if each.name != "rows")


def gather(vectors: Floats | VectorTable, rows: NDArray[Any]) -> Floats:
    """Vectors [*rows.shape, d] of rows of any shape, in memory; only these rows of a memory map are read."""
    return single(vectors.take(rows, axis=0)) if isinstance(vectors, np.ndarray) else vectors.take(rows)
