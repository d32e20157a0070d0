"""The ranker: one network over a user's events and each candidate (AW-MoE, arXiv 2306.05011)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encode import History
from models.graph import Graph, VectorTable, gather, history_inputs

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranker:
    """`graph` reads events and candidates from `vectors` [m, dr], an array or a table."""

    graph: Graph
    vectors: Floats | VectorTable

    def score(
        self,
        history: History,
        profile: NDArray[np.int64],
        rows: Rows,
        cross: Floats,
        query: Floats | None = None,
    ) -> Floats:
        """Logits [N] of the items `rows` [N] for one user.

        `profile` [1, P]; `cross` [N, X] are the columns of `models.encode.cross_features`; `query` [q] is
        that of a search, as the query tower gives it.
        """
        if len(rows) == 0:
            return np.zeros(0, np.float32)
        return self.graph.run(**_inputs(self.graph, self.vectors, history, profile, rows, cross, query))


@dataclass(frozen=True, slots=True)
class Explained:
    """How the ranker came to the logits [N] of N candidates, over T events of the history and K experts.

    `experts` [N, K] are the experts' parts of the logit; what they leave over is the linear path of the cross
    features. `attention` [N, T] are the weights with which events enter the input, `gate` [N, T] those with
    which they enter the gate; in the history's order, 0 at pads. Weights may be negative.
    """

    logit: Floats
    experts: Floats
    attention: Floats
    gate: Floats


@dataclass(frozen=True, slots=True)
class RankerExplain:
    """`graph` is the bundle's `ranker_explain`, `vectors` as of `Ranker`."""

    graph: Graph
    vectors: Floats | VectorTable

    def explain(
        self,
        history: History,
        profile: NDArray[np.int64],
        rows: Rows,
        cross: Floats,
        query: Floats | None = None,
    ) -> Explained:
        """The logits of `Ranker.score` for the same arguments, and how they came about; N >= 1."""
        inputs = _inputs(self.graph, self.vectors, history, profile, rows, cross, query)
        return Explained(**self.graph.run_all(**inputs))


def _inputs(
    graph: Graph,
    vectors: Floats | VectorTable,
    history: History,
    profile: NDArray[np.int64],
    rows: Rows,
    cross: Floats,
    query: Floats | None,
) -> dict[str, NDArray[Any]]:
    inputs = history_inputs(history, profile, vectors)
    # Graphs of older bundles read fewer features, the first of them.
    known = graph.shapes["cross"][-1]
    inputs |= {
        "candidates": gather(vectors, rows),
        "cross": cross[:, :known] if isinstance(known, int) else cross,
    }
    # Graphs of older bundles read no query.
    if "query" in graph.inputs:
        width = graph.shapes["query"][-1]
        assert isinstance(width, int)
        inputs["query"] = np.zeros((1, width), np.float32) if query is None else query[None]
    return inputs
