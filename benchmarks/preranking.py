"""`preranking`: the pre-ranker alone, from a user's events to the scores of 1,000 candidates, on one core."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bundle import SCHEMA
from benchmarks.report import Report, Row
from models import artifacts
from models.encode import History
from models.export.folded_hcn import FoldedHcn
from models.export.samples import sample_history, unit_rows
from models.export.translate import Axes, Blueprint, translate
from models.graph import Graph
from models.training.config import PreRankerConfig
from models.training.networks import hcn
from ranking.preranker import PreRanker

GOAL_MS = 0.3
"""For 1,000 candidates of a user with 50 events."""
CANDIDATES, EVENTS = 1000, 50
REQUESTS, ROUNDS = 200, 5
AS_TRAINED = "as configured, the network as trained"
"""Beside the forms as they are exported."""
FORMS = {
    "as configured": PreRankerConfig(),
    AS_TRAINED: PreRankerConfig(),
    "one vector, one level": PreRankerConfig(interests=1, iterations=1, hierarchy="none", co_interest=False),
    "3 weighted levels, co-interest": PreRankerConfig(iterations=3, hierarchy="weighted"),
}

Millis = NDArray[np.float64]


def preranking(sizes: Sequence[int], command: str) -> Report:
    """Time every form over a table of the last of `sizes` items; the forms take turns, so that a busy moment
    hits all. Weights are random, which costs what trained ones cost."""
    items = sizes[-1]
    random = np.random.default_rng(0)
    table: Any = artifacts.half(unit_rows(random, items, next(iter(FORMS.values())).dim))
    users = [_user(random, items) for _ in range(REQUESTS)]
    candidates = [random.integers(0, items, CANDIDATES).astype(np.int32) for _ in users]
    stages = {name: PreRanker(_graph(config, name), table) for name, config in FORMS.items()}
    taken: dict[str, list[Millis]] = {name: [] for name in FORMS}
    for number in range(ROUNDS + 1):
        for name, stage in stages.items():
            found = _round(stage, users, candidates)
            # The first round warms the caches.
            if number:
                taken[name].append(found)
    rows = [_row(name, np.concatenate(times)) for name, times in taken.items()]
    return Report("preranking", command, rows, _notes(rows, items))


def _graph(config: PreRankerConfig, form: str) -> Graph:
    torch.manual_seed(0)
    batch, steps = torch.export.Dim("batch", max=1 << 16), torch.export.Dim("steps", max=1 << 12)
    inputs = sample_history(np.random.default_rng(0), SCHEMA, config.dim, 3, 7)
    axes: Axes = {name: {0: batch, 1: steps} for name in inputs} | {"profile": {0: batch}}
    network = hcn(SCHEMA, config).eval()
    module = network if form == AS_TRAINED else FoldedHcn(network)
    plan = Blueprint("preranker", module, inputs, axes, ("interests",))
    return Graph.open(translate(plan).onnx)


def _user(random: np.random.Generator, items: int) -> tuple[History, NDArray[np.int64]]:
    """A full history and the profile that goes with it."""
    drawn = sample_history(random, SCHEMA, 1, 2, EVENTS)
    rows = random.integers(0, items, (1, EVENTS)).astype(np.int32)
    columns = {name: drawn[name][1:] for name in ("kind", "gap", "age", "recent", "mask")}
    return History(rows=rows, **columns), drawn["profile"][1:]


def _round(
    stage: PreRanker,
    users: Sequence[tuple[History, NDArray[np.int64]]],
    candidates: Sequence[NDArray[np.int32]],
) -> Millis:
    """CPU ms of the user's side and of the product over the candidates: [n, 2]."""
    spent = np.zeros((len(users), 2))
    for number, ((history, profile), rows) in enumerate(zip(users, candidates, strict=True)):
        started = time.thread_time()
        interests = stage.interests(history, profile)
        between = time.thread_time()
        stage.score(interests, rows)
        spent[number] = between - started, time.thread_time() - between
    return spent * 1000.0


def _row(name: str, spent: Millis) -> Row:
    total = spent.sum(axis=1)
    return {
        "form": name,
        "user side, ms": float(np.median(spent[:, 0])),
        f"{CANDIDATES:,} candidates, ms": float(np.median(spent[:, 1])),
        "both, ms": float(np.median(total)),
        "slowest tenth": float(np.percentile(total, 90)),
    }


def _notes(rows: Sequence[Row], items: int) -> list[str]:
    ships = float(rows[0]["both, ms"])
    missed = [str(row["form"]) for row in rows if float(row["both, ms"]) > GOAL_MS]
    verdict = "reached" if ships <= GOAL_MS else "missed"
    others = f" Missed by: {'; '.join(missed)}." if missed else " So do all others."
    return [
        f"CPU time of one thread, median of {REQUESTS} users with {EVENTS} events each over a table of "
        f"{items:,} items in half precision; K = {PreRankerConfig().interests} but for one vector.",
        f"Goal for both: <= {GOAL_MS} ms; {verdict} as configured ({ships:.3f} ms).{others}",
    ]
