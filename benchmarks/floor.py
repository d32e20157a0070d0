"""The floor under a request: its kernels alone, on the very inputs that recorded requests gave them.

One Redis round trip on a plain socket, the user tower, the batched index search, the pre-ranker's user side
and its product with the candidates, the ranker: one after the other, on one thread, nothing between.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hiredis
import numpy as np
from numpy.typing import NDArray

from benchmarks.growth import asked_of
from benchmarks.world import World, user_id
from models.graph import Graph
from ranking.preranker import PreRanker
from service.bundle import Bundle
from service.cascade.candidates import Candidates
from service.cascade.observe import NullObserver
from service.cascade.query import UserId
from service.engine import Engine
from service.features.keys import Keys

KERNELS = ("Redis", "user tower", "index", "pre-ranker", "pre-rank product", "ranker")
_HISTORY = 1000
"""Events that the service reads at most."""

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Inputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Recorded:
    """What one request gave its kernels."""

    user: int
    tower: Inputs
    queries: list[tuple[Floats, int]]
    preranker: Inputs
    candidates: Rows
    interests: Floats
    ranker: Inputs


def record(bundle: Bundle, world: World, users: Sequence[int]) -> list[Recorded]:
    """Run a request of each user through the cascade, and keep what its kernels were called with."""
    heard: dict[str, list[Any]] = {name: [] for name in ("tower", "preranker", "ranker", "index")}
    _listen(bundle.user_tower, heard["tower"])
    _listen(bundle.preranker, heard["preranker"])
    _listen(bundle.ranker, heard["ranker"])
    search = bundle.index.search

    def listening(queries: Floats, k: int) -> tuple[Floats, Rows]:
        heard["index"].append((queries, k))
        return search(queries, k)

    bundle.index.search = listening  # type: ignore[method-assign]
    engine = Engine.build(bundle, NullObserver())
    found = []
    for user in users:
        for calls in heard.values():
            calls.clear()
        batches: dict[str, Candidates] = {}
        outcome = engine.run(engine.hydrate(*asked_of(world, user)), batches.__setitem__)
        if outcome.degraded:
            raise RuntimeError(f"a request went without {', '.join(outcome.degraded)}")
        ((tower, _),), ((preranker, interests),), ((ranker, _),) = (
            heard[name] for name in ("tower", "preranker", "ranker")
        )
        rows = batches["retrieve"].rows
        found.append(Recorded(user, tower, list(heard["index"]), preranker, rows, interests[0], ranker))
    for kernel in (bundle.user_tower, bundle.preranker, bundle.ranker):
        delattr(kernel, "run")  # the instance's, so that the class's is back
    delattr(bundle.index, "search")
    return found


def _listen(graph: Graph, calls: list[tuple[Inputs, Floats]]) -> None:
    run = graph.run

    def listening(**inputs: NDArray[Any]) -> Floats:
        answer = run(**inputs)
        calls.append((inputs, answer))
        return answer

    graph.run = listening  # type: ignore[method-assign]


def lap(bundle: Bundle, requests: Sequence[Recorded], redis_port: int) -> NDArray[np.float64]:
    """CPU ms of each of `KERNELS` for each request [n, kernels]; Redis's own time is not ours."""
    keys = Keys()
    spent = np.zeros((len(requests), len(KERNELS)))
    with socket.create_connection(("127.0.0.1", redis_port)) as store:
        store.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, each in enumerate(requests):
            for place, call in enumerate(_calls(bundle, each, lambda user: _read(store, keys, user))):
                started = time.thread_time()
                call()
                spent[number, place] = (time.thread_time() - started) * 1000
    return spent


def _calls(bundle: Bundle, each: Recorded, read: Callable[[int], None]) -> tuple[Callable[[], object], ...]:
    product = PreRanker(bundle.preranker, bundle.prerank_vectors).score
    return (
        lambda: read(each.user),
        lambda: bundle.user_tower.run(**each.tower),
        lambda: [bundle.index.search(*asked) for asked in each.queries],
        lambda: bundle.preranker.run(**each.preranker),
        lambda: product(each.interests, each.candidates),
        lambda: bundle.ranker.run(**each.ranker),
    )


def _read(store: socket.socket, keys: Keys, user: int) -> None:
    one = UserId(user_id(user))
    commands = (
        ("GET", keys.profile(one)),
        ("LRANGE", keys.history(one), 0, _HISTORY - 1),
        ("HGETALL", keys.interests(one)),
    )
    pack: Any = hiredis.pack_command
    store.sendall(b"".join(map(pack, commands)))
    reader = hiredis.Reader()
    left = len(commands)
    while left:
        reader.feed(store.recv(1 << 20))
        while left and reader.gets() is not False:
            left -= 1


def opened(folder: Path) -> Bundle:
    """The bundle, on one thread, its files taken at their word."""
    return Bundle.open(folder, verify=False)
