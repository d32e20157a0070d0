"""Which items stand for an interest that a user pins or mutes, so that another bundle can find it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

import numpy as np

from service.cascade.query import ItemId, Rows
from service.engine import Engine
from service.features.store import UserRecord

ANCHORS = 10


def anchors_of(cluster: int, record: UserRecord, engine: Engine) -> Sequence[ItemId]:
    """The items of the user's newest events in the cluster, then its typical items: at most `ANCHORS`.

    None only if no item at all is in the cluster.
    """
    newest = list(record.item_ids)[::-1]
    clusters = engine.catalogue.clusters_of(engine.catalogue.rows_of(newest))
    own = (newest[i] for i in np.flatnonzero(clusters == cluster).tolist())
    typical = engine.names.labels.typical[cluster]
    rows = typical if len(typical) else _most_popular(cluster, engine)
    return tuple(islice(dict.fromkeys(chain(own, engine.catalogue.ids_of(rows))), ANCHORS))


def _most_popular(cluster: int, engine: Engine) -> Rows:
    """For a bundle that does not name typical items."""
    rows = np.flatnonzero(engine.bundle.assignment == cluster).astype(np.int32)
    return rows[np.argsort(-engine.catalogue.popularity(0, rows), kind="stable")][:ANCHORS]
