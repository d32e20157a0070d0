"""The user's recent events as the item-to-item lists read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.plan import Plan
from service.cascade.query import Query, Rows

Floats = NDArray[np.float32]


def recent_events(query: Query, plan: Plan, item_count: int) -> tuple[Rows, Floats]:
    """Rows [R] of the newest `plan.similar_events` events, newest first, and their weights `similar_decay
    ** j`.

    Events of items that came after the bundle, whose rows are `item_count` or more, have no list and are
    left out.
    """
    rows = query.user.rows[::-1][: plan.similar_events]
    weights = (plan.similar_decay ** np.arange(len(rows))).astype(np.float32)
    listed = rows < item_count
    return rows[listed], weights[listed]
