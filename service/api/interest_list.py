"""Interests in the caller's terms: the bodies of `InterestsOut` and `UserInterestsOut`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.interests import OWN, Interests
from service.cascade.query import Query, UserId
from service.engine import Engine
from service.features.store import PreferenceKind, UserRecord
from service.interest_names import InterestNames

EVENTS = 20
"""How many events of an interest are listed."""
_TYPICAL = 5
_DIGITS = 6
_NOWHERE = OWN - 1


def describe_all(engine: Engine) -> dict[str, Any]:
    """Every interest of the engine's bundle, in the order of its clusters."""
    names = engine.names
    interests = [_named(names, cluster) for cluster in range(len(names.labels.ids))]
    return {"bundle_version": engine.bundle.version, "interests": interests}


def describe(
    user: UserId, record: UserRecord, query: Query, mixture: Interests, engine: Engine
) -> dict[str, Any]:
    """The mixture, the largest share first after the own vector.

    Then come, without a share: what is pinned or muted, and what the user has events of but too few to be
    chosen. So every event that counts is behind exactly one interest of the list.
    """
    names = engine.names
    pinned, muted = query.preferences.pinned.tolist(), query.preferences.muted.tolist()
    wanted = dict.fromkeys(pinned, PreferenceKind.PIN) | dict.fromkeys(muted, PreferenceKind.MUTE)
    placed = _event_clusters(record, engine)
    columns = (mixture.clusters.tolist(), mixture.weights.tolist(), mixture.own_parts.tolist())
    shares = {cluster: (weight, part) for cluster, weight, part in zip(*columns, strict=True)}
    listed = dict.fromkeys([*shares, *wanted, *_by_events(placed)])
    return {
        "user_id": user,
        "known": record.known,
        "bundle_version": engine.bundle.version,
        "lambda": round(float(mixture.own_parts[0]), _DIGITS),
        "interests": [
            _named(names, cluster)
            | _weighed(*shares.get(cluster, (0.0, 0.0)))
            | {"preference": wanted.get(cluster)}
            | _events(record, np.flatnonzero(placed == cluster))
            for cluster in listed
        ],
        "unplaced": {
            "events": int(np.count_nonzero(placed == _NOWHERE)),
            "preferences": len(record.preferences) - len(wanted),
        },
    }


def _event_clusters(record: UserRecord, engine: Engine) -> NDArray[np.int32]:
    """The cluster of each event [H] that the mixture counts; `_NOWHERE` for the others."""
    schema, weights = engine.bundle.schema, engine.plan.event_weights
    weightless = {kind for kind in schema.event_kinds if weights.get(kind, 1.0) <= 0}
    rows = engine.catalogue.rows_of(record.item_ids)
    counts = (rows >= 0) & (rows < len(engine.bundle.assignment))
    if weightless:
        counts &= np.array([kind not in weightless for kind in record.kinds], bool)
    return np.where(counts, engine.catalogue.clusters_of(rows), np.int32(_NOWHERE))


def _by_events(placed: NDArray[np.int32]) -> list[int]:
    """The clusters that have events, most first."""
    clusters, counts = np.unique(placed[placed != _NOWHERE], return_counts=True)
    ordered: list[int] = clusters[np.argsort(-counts, kind="stable")].tolist()
    return ordered


def _named(names: InterestNames, cluster: int) -> dict[str, Any]:
    attributes = () if cluster == OWN else names.labels.attributes[cluster]
    items = [{"item_id": item, "title": title} for item, title in names.typical(cluster)[:_TYPICAL]]
    label = names.label(cluster)
    return {"id": names.id_of(cluster), "label": label, "attributes": list(attributes), "items": items}


def _weighed(share: float, own_part: float) -> dict[str, float]:
    return {"share": round(share, _DIGITS), "own_part": round(own_part, _DIGITS)}


def _events(record: UserRecord, positions: NDArray[np.intp]) -> dict[str, Any]:
    """The newest of the events at these positions, the newest first."""
    newest = positions[::-1][:EVENTS].tolist()
    events = [
        {"item_id": record.item_ids[i], "event": record.kinds[i], "timestamp": record.timestamps_ms[i]}
        for i in newest
    ]
    return {"events": events, "event_count": len(positions)}
