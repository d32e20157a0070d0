"""What the ranker went by: the experts' parts of a logit, and the events that weighed most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encode import CROSS, cross_features
from ranking.ranker import Explained, RankerExplain
from service.cascade.query import ItemId, Query, Rows
from service.engine import Engine

EVENTS = 3
"""So many events are named, those of the greatest weight, whatever its sign."""
NO_GRAPH = "this bundle has no ranker_explain.onnx; export it anew"
NOT_RANKED = "the ranker did not run for this item"
PARTS = ("experts", "events")
"""What only the ranker can tell."""


@dataclass(frozen=True, slots=True)
class EventWeight:
    """An event of the user, `age_ms` before the answer, and its weight."""

    item_id: ItemId
    event: str | None
    age_ms: int
    weight: float


@dataclass(frozen=True, slots=True)
class RankerWeights:
    """For one item: `experts` [K] are their parts of its logit; `gate` and `attention` the weightiest events.

    Through the gate events choose the experts, through attention they enter what the experts read.
    """

    experts: tuple[float, ...]
    gate: tuple[EventWeight, ...]
    attention: tuple[EventWeight, ...]


def ranker_weights(
    engine: Engine, query: Query, rows: Rows, columns: Mapping[str, NDArray[Any]]
) -> list[RankerWeights | None] | str:
    """The weights for items `rows` [N], whose cross features are among `columns` [N each].

    `query` is the hydrated one: in a search the ranker goes by its words as well.

    None for an item that the ranker did not see; a string says why nothing can be told at all.
    """
    graph = engine.bundle.ranker_explain
    if graph is None:
        return NO_GRAPH
    if "rank" not in columns or not all(name in columns for name in CROSS):
        return NOT_RANKED
    ranked = np.isfinite(columns["rank"])
    if not ranked.any():
        return NOT_RANKED
    cross = cross_features({name: columns[name][ranked] for name in CROSS})
    finite = np.where(np.isfinite(cross), cross, np.float32(0.0))
    found = RankerExplain(graph, engine.catalogue.rank).explain(
        query.user.history, query.user.profile[None], rows[ranked], finite, query.state.words
    )
    weights = iter(_named(engine, query, found))
    return [next(weights) if one else None for one in ranked.tolist()]


def _named(engine: Engine, query: Query, found: Explained) -> list[RankerWeights]:
    return [
        RankerWeights(
            tuple(found.experts[i].tolist()),
            _weightiest(engine, query, found.gate[i]),
            _weightiest(engine, query, found.attention[i]),
        )
        for i in range(len(found.logit))
    ]


def _weightiest(engine: Engine, query: Query, weights: NDArray[np.float32]) -> tuple[EventWeight, ...]:
    """The events of the greatest weights [T]; the history holds the newest T events of the user."""
    user, kinds = query.user, engine.bundle.schema.event_kinds
    first = len(user.rows) - len(weights)
    order = [t for t in np.argsort(-np.abs(weights), kind="stable").tolist() if first + t >= 0 and weights[t]]
    events = [(t, first + t) for t in order[:EVENTS]]
    ids = engine.catalogue.ids_of(user.rows[[event for _, event in events]]) if events else []
    return tuple(
        EventWeight(
            item_id=item_id,
            event=kinds[user.kinds[event] - 1] if user.kinds[event] else None,
            age_ms=query.now_ms - int(user.timestamps[event]),
            weight=float(weights[t]),
        )
        for item_id, (t, event) in zip(ids, events, strict=True)
    )
