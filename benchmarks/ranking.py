"""`ranking`: the ranker's exported form beside the formulas as they read, and beside 8-bit weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.report import Report, Row
from models.encode import CROSS
from models.export.graphs import request_axes
from models.export.quantise import quantised
from models.export.ranker_graphs import RankerGraph
from models.export.samples import sample_candidates, sample_history, sample_query
from models.export.split_ranker import SplitRanker
from models.export.translate import Blueprint, translate
from models.graph import Graph
from models.networks.aw_moe import AwMoe
from models.networks.aw_moe_plain import PlainAwMoe
from models.schema import Schema

GOAL_MS = 0.75
CANDIDATES, EVENTS, DIM, QUERY = 200, 50, 32, 65
EXPERTS, HIDDEN, ACTIVATION = 4, (128, 64), 16
ROUNDS, RUNS = 40, 10
FORMS: Mapping[str, Callable[[AwMoe], nn.Module]] = {
    "as the formulas read": PlainAwMoe,
    "as trained": RankerGraph,
    "split (exported)": SplitRanker,
}
NAIVE, SPLIT = "as the formulas read", "split (exported)"


def ranking(command: str) -> Report:
    """Time every form on one request; they take turns, so that a busy moment hits all."""
    rows: list[Row] = []
    for searching in (False, True):
        graphs, inputs = forms(searching), request()
        times: dict[str, list[float]] = {name: [] for name in graphs}
        for _ in range(ROUNDS):
            for name, graph in graphs.items():
                times[name] += _milliseconds(graph, inputs)
        exact = graphs[NAIVE].run(**inputs)
        naive = float(np.median(times[NAIVE]))
        for name, graph in graphs.items():
            middle = float(np.median(times[name]))
            rows.append(
                {
                    "reads queries": searching,
                    "form": name,
                    "ms, median": middle,
                    "fastest tenth": float(np.percentile(times[name], 10)),
                    "slowest tenth": float(np.percentile(times[name], 90)),
                    "times as fast": naive / middle,
                    "differs by": float(np.abs(graph.run(**inputs) - exact).max() / np.abs(exact).max()),
                }
            )
    return Report("ranking", command, rows, _notes(rows))


def forms(searching: bool) -> dict[str, Graph]:
    """The graphs by name, over one untrained network; the last one with 8-bit weights."""
    torch.manual_seed(0)
    schema = Schema(item_fields=(), user_fields=(), event_kinds=("view",), history_length=EVENTS)
    ranker = AwMoe(schema, DIM, EXPERTS, HIDDEN, ACTIVATION, len(CROSS), QUERY, 0.0).eval()
    ranker.knows_queries.fill_(searching)
    inputs = request()
    graphs = {
        name: translate(Blueprint("ranker", form(ranker), inputs, request_axes(), ("logit",))).onnx
        for name, form in FORMS.items()
    }
    graphs[f"{SPLIT}, int8"] = quantised(graphs[SPLIT])
    return {name: Graph.open(graph) for name, graph in graphs.items()}


def request() -> dict[str, NDArray[Any]]:
    """One search of a user with a full history."""
    random = np.random.default_rng(0)
    schema = Schema(item_fields=(), user_fields=(), event_kinds=("view",), history_length=EVENTS)
    # The only user of a sample has a full history.
    inputs = sample_history(random, schema, DIM - 1, 1, EVENTS)
    return inputs | sample_candidates(random, DIM - 1, CANDIDATES) | {"query": sample_query(random, QUERY)}


def _milliseconds(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> list[float]:
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        graph.run(**inputs)
        taken.append((time.perf_counter() - started) * 1000.0)
    return taken


def _notes(rows: list[Row]) -> list[str]:
    split = next(row for row in rows if row["form"] == SPLIT)
    verdict = "reached" if split["ms, median"] <= GOAL_MS else "missed"
    return [
        f"One run in ONNX Runtime, one thread: {CANDIDATES} candidates, {EVENTS} events, d {DIM}, {EXPERTS} "
        f"experts of {HIDDEN[0]}-{HIDDEN[1]}, attention width {ACTIVATION}, {len(CROSS)} cross features.",
        "Differences are relative to the largest logit. What 8-bit weights and half-precision tables cost in "
        "AUC and NDCG is told by `cascada evaluate --study aw-moe`.",
        f"Goal: <= {GOAL_MS} ms for the exported form of a ranker that reads no queries. "
        f"{verdict.capitalize()}: {split['ms, median']:.2f}.",
    ]
