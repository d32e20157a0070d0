"""The tiny world as a canonical data set, for whatever reads a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.columns import ABSENT, Dataset
from models.data.dataset import write_dataset
from models.schema import FieldKind
from tests.support.tiny_world import DAY_MS, NOW_MS, SCHEMA, USERS, tiny_world


def write_tiny_dataset(folder: Path) -> Path:
    """Write the folder and return it; users are named as their row."""
    world = tiny_world()
    events = len(world.users)
    write_dataset(
        folder,
        Dataset(
            name="tiny",
            item_fields={field.name: field.kind for field in SCHEMA.item_fields},
            user_fields={"segment": FieldKind.CATEGORY},
            item_ids=world.ids,
            item_records=[
                {key: value for key, value in record.items() if value is not None} for record in world.records
            ],
            item_created_ms=world.created,
            item_available=world.available,
            item_bid_micros=np.full(len(world.ids), ABSENT, np.int64),
            user_ids=[str(row) for row in range(USERS)],
            user_records=[{"segment": "old"} for _ in range(USERS)],
            event_kinds=SCHEMA.event_kinds,
            event_user=world.users,
            event_item=world.items,
            event_kind=np.zeros(events, np.int16),
            event_time_ms=NOW_MS - DAY_MS + np.arange(events, dtype=np.int64),
            event_value=np.full(events, np.nan, np.float32),
        ),
    )
    return folder
