"""Replay requests through the very cascade that serves, and keep what each step let through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.columns import Dataset
from models.training.held_out import HeldOut
from models.training.timeline import Timeline
from retrieval.fusion import reciprocal_ranks
from retrieval.order import descending
from service.cascade.candidates import Candidates
from service.cascade.hydrate import Moment
from service.cascade.query import Request, UserId
from service.engine import Engine
from service.replay.requests import record_of

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

LIST = 100
"""Length of the final list that is judged."""
PERSONAL = ("interests", "similar", "factors")
"""Sources that are ensembled; the others are the same for everybody."""
FUSION_K = 20.0
STEPS = ("filter", "retrieve", "prerank", "rank")
_NOT_RANKED = Candidates.of(
    np.zeros(0, np.int32), **{name: np.zeros(0, np.float32) for name in ("tower", "prerank", "rank", "pctr")}
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One request: rows after each of `STEPS`, in that step's order, and the list of the answer.

    A plan of less depth has no later steps and nothing ranked.

    `fused` is what the plain reciprocal-rank fusion of the sources would have answered.

    `tower`, `prerank`, `cut` (that by which candidates were kept), `logit` and `pctr` belong to the ranked
    candidates; `sources` are the source bits of
    the candidates after the filters.
    """

    steps: dict[str, Rows]
    sources: NDArray[np.int32]
    tower: Floats
    prerank: Floats
    cut: Floats
    logit: Floats
    pctr: Floats
    answer: Rows
    fused: Rows
    degraded: tuple[str, ...]
    timings_ms: dict[str, float]


def replay(engine: Engine, dataset: Dataset, timeline: Timeline, requests: HeldOut) -> list[Replayed]:
    """Ask for `LIST` items per request, at the moment when the user went for one."""
    replayed = []
    for r in tqdm(range(len(requests)), desc="replay", unit="request", disable=None):
        batches: dict[str, Candidates] = {}
        request = Request(user_id=UserId(dataset.user_ids[requests.user[r]]), count=LIST)
        query = engine.hydrate(
            request,
            record_of(dataset, timeline, requests, r),
            Moment(f"replay-{r}", int(requests.now_ms[r])),
        )
        outcome = engine.run(query, batches.__setitem__)
        ranked = batches.get("rank", _NOT_RANKED)
        replayed.append(
            Replayed(
                steps={name: batches[name].rows for name in STEPS if name in batches},
                sources=batches["filter"]["sources"],
                tower=ranked["tower"],
                prerank=ranked["prerank"],
                cut=ranked.columns.get("cut", ranked["prerank"]),
                logit=ranked["rank"],
                pctr=ranked["pctr"],
                answer=outcome.rows,
                fused=fused(batches["filter"]),
                degraded=outcome.degraded,
                timings_ms=dict(outcome.timings_ms),
            )
        )
    return replayed


def fused(batch: Candidates) -> Rows:
    """The best `LIST` of the personal sources' lists by reciprocal rank, all of one weight, k = 20.

    The cheapest ensemble that there is: what a pre-ranker and a ranker have to be better than.
    """
    lists = {name: batch[f"{name}_score"] for name in PERSONAL if f"{name}_score" in batch.columns}
    if not lists:
        return batch.rows[:LIST]
    scores = reciprocal_ranks(lists, {}, FUSION_K)
    return batch.rows[descending(scores, batch.rows)][:LIST]
