"""`ranking`: the exported ranker, in 8 bits and in single precision, beside the formulas as they read."""

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
from models.export.eight_bit_ranker import EightBitRanker
from models.export.graphs import request_axes
from models.export.ranker_graphs import RankerGraph, sampled_ranges
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
    "split": SplitRanker,
}
NAIVE, EXPORTED = "as the formulas read", "split, experts in 8 bits"


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
    """The graphs by name, over one untrained network; of one that reads queries none is in 8 bits."""
    torch.manual_seed(0)
    schema = Schema(item_fields=(), user_fields=(), event_kinds=("view",), history_length=EVENTS)
    ranker = AwMoe(schema, DIM, EXPERTS, HIDDEN, ACTIVATION, len(CROSS), QUERY, 0.0).eval()
    ranker.knows_queries.fill_(searching)
    inputs = request()
    modules = {name: form(ranker) for name, form in FORMS.items()}
    if not searching:
        modules[EXPORTED] = EightBitRanker(ranker, sampled_ranges(ranker, schema))
    return {
        name: Graph.open(translate(Blueprint("ranker", form, inputs, request_axes(), ("logit",))).onnx)
        for name, form in modules.items()
    }


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
    exported = next(row for row in rows if row["form"] == EXPORTED)
    verdict = "reached" if exported["ms, median"] <= GOAL_MS else "missed"
    return [
        f"One run in ONNX Runtime, one thread: {CANDIDATES} candidates, {EVENTS} events, d {DIM}, {EXPERTS} "
        f"experts of {HIDDEN[0]}-{HIDDEN[1]}, attention width {ACTIVATION}, {len(CROSS)} cross features.",
        "Differences are relative to the largest logit. What 8-bit experts and half-precision tables cost in "
        "AUC and NDCG is told by `cascada evaluate --study aw-moe`.",
        f"Goal: <= {GOAL_MS} ms for the exported form of a ranker that reads no queries. "
        f"{verdict.capitalize()}: {exported['ms, median']:.2f}.",
    ]
