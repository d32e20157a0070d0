"""A held-out request as the service would meet it."""

from __future__ import annotations

from models.data.columns import Dataset
from models.training.held_out import HeldOut
from models.training.timeline import Timeline
from service.cascade.query import ItemId
from service.features.store import UserRecord


def record_of(dataset: Dataset, timeline: Timeline, requests: HeldOut, r: int) -> UserRecord:
    """What the store would hold of the user at request r."""
    part = slice(int(requests.begin[r]), int(requests.end[r]))
    return UserRecord(
        attributes=dataset.user_records[requests.user[r]],
        item_ids=[ItemId(dataset.item_ids[row]) for row in timeline.item[part].tolist()],
        kinds=[dataset.event_kinds[token - 1] for token in timeline.kind[part].tolist()],
        timestamps_ms=timeline.time_ms[part].tolist(),
        known=True,
    )
