"""`search`: what a search costs beside a recommendation, by words and meaning, in the whole cascade."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.people import KIND
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from benchmarks.world import NOW_MS, World, item_id, titles, user_id
from models.export.graphs import export_query
from models.graph import Graph
from models.networks.query_tower import QueryTower as Network
from models.training.config import QueryConfig
from models.training.query_model import HashedQuery
from retrieval.query_tower import Hashes, QueryTower
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Request, UserId
from service.engine import Engine
from service.features.store import UserRecord

GOAL = 2.0
"""Times a recommendation's median."""
REQUESTS = 100
ROUNDS = 3

Millis = NDArray[np.float64]
Words = Callable[[str], str | None]

KINDS: dict[str, Words] = {
    "recommend": lambda title: None,
    "search: a title": lambda title: title,
    "search: one word of many items": lambda title: title.split()[0],
    "search: a typo": lambda title: " ".join([title.split()[0], "thnig" + title.split()[1][5:], "x"]),
    "search: an unfinished word": lambda title: title.split()[0] + " thi",
    "search: 32 words": lambda title: " ".join([*title.split(), *(f"word{n}" for n in range(29))]),
}


def search(root: Path, items: int, command: str) -> Report:
    """Time every kind of request by the same users; kinds take turns, so that a busy moment hits all."""
    scale = Scale(root, items)
    engine = _engine(scale)
    texts = [record["title"] for record in titles(np.asarray(scale.world.topic))]
    users = np.linspace(0, scale.world.users - 1, REQUESTS).astype(int).tolist()
    chosen = np.random.default_rng(5).integers(0, items, REQUESTS).tolist()
    taken: dict[str, list[Millis]] = {kind: [] for kind in KINDS}
    gc.freeze()
    for number in range(ROUNDS + 1):
        for kind, words in KINDS.items():
            asked = [words(texts[row]) for row in chosen]
            found = _round(engine, scale.world, users, asked)
            # The first round reads the pages of the maps.
            if number:
                taken[kind].append(found)
    rows = [_row(items, kind, np.concatenate(times)) for kind, times in taken.items()]
    return Report("search", command, rows, _notes(rows))


def _engine(scale: Scale) -> Engine:
    """The world's bundle with a query tower: its weights are random, which costs what trained ones cost."""
    bundle = Bundle.open(scale.bundle, verify=False)
    config = QueryConfig()
    dim = bundle.item_vectors.shape[1] - 1
    tower = Network(config.buckets, dim, config.hidden, config.dropout, config.temperature).eval()
    known = np.ones((2, config.buckets + 1), bool)
    graph = Graph.open(export_query(HashedQuery(tower, known)).onnx)
    return Engine.build(replace(bundle, query_tower=QueryTower(graph, Hashes(known))), NullObserver())


def _round(engine: Engine, world: World, users: Sequence[int], texts: Sequence[str | None]) -> Millis:
    """Wall and CPU ms of each request: [n, 2]."""
    spent = np.zeros((len(users), 2))
    for number, (user, text) in enumerate(zip(users, texts, strict=True)):
        part = world.events_of(user)
        rows, times = world.items[part].tolist(), world.times_ms[part].tolist()
        record = UserRecord({}, [ItemId(item_id(row)) for row in rows], [KIND] * len(rows), times, True)
        kind = Kind.RECOMMEND if text is None else Kind.SEARCH
        request = Request(kind=kind, text=text, user_id=UserId(user_id(user)))
        wall, cpu = time.perf_counter(), time.thread_time()
        outcome = engine.run(engine.hydrate(request, record, Moment(f"search-{number}", NOW_MS)))
        spent[number] = (time.perf_counter() - wall) * 1000, (time.thread_time() - cpu) * 1000
        if outcome.degraded:
            raise RuntimeError(f"a request went without {', '.join(outcome.degraded)}")
    return spent


def _row(items: int, kind: str, spent: Millis) -> Row:
    return {
        "items": items,
        "request": kind,
        "p50 ms": float(np.median(spent[:, 0])),
        "p95 ms": float(np.percentile(spent[:, 0], 95)),
        "CPU p50 ms": float(np.median(spent[:, 1])),
        "CPU p95 ms": float(np.percentile(spent[:, 1], 95)),
    }


def _notes(rows: Sequence[Row]) -> list[str]:
    base = float(rows[0]["CPU p50 ms"])
    worst = max(float(row["CPU p50 ms"]) / base for row in rows[1:])
    verdict = "reached" if worst <= GOAL else "missed"
    return [
        f"The dearest kind of search takes {worst:.2f} times the CPU of a recommendation at the median. "
        f"Goal <= {GOAL:g}: {verdict}.",
        "One thread, in process, from the request to the ranked rows; both go through pre-ranker and ranker "
        "with the same widths. Wall times contain whatever else the machine did.",
    ]
