"""A small data set by hand: four events, two of them at one time."""

import numpy as np

from models.data.columns import ABSENT, Dataset, Impressions
from models.schema import FieldKind


def tiny_dataset(**changes) -> Dataset:
    columns = {
        "name": "tiny",
        "item_fields": {"title": FieldKind.TEXT, "tags": FieldKind.SET, "year": FieldKind.NUMBER},
        "user_fields": {"town": FieldKind.CATEGORY},
        "item_ids": ["i1", "i2", "i3"],
        "item_records": [
            {"title": 'Ärger "im" Paradies', "tags": ["b", "a"], "year": 1999},
            {"title": "Zwei, drei", "year": 2001},
            {},
        ],
        "item_created_ms": np.array([5, 0, 7], np.int64),
        "item_available": np.array([True, False, True]),
        "item_bid_micros": np.array([ABSENT, 400, ABSENT], np.int64),
        "user_ids": ["u1", "u2"],
        "user_records": [{"town": "Köln"}, {}],
        "event_kinds": ("view", "buy"),
        "event_user": np.array([0, 1, 0, 0], np.int32),
        "event_item": np.array([2, 1, 0, 1], np.int32),
        "event_kind": np.array([0, 1, 1, 0], np.int16),
        "event_time_ms": np.array([10, 20, 20, 30], np.int64),
        "event_value": np.array([np.nan, 2.5, np.nan, 1.0], np.float32),
        "placements": ("home", "cart"),
        "event_placement": np.array([0, 1, 0, 0], np.int16),
        "session_ids": ["s1"],
        "event_session": np.array([0, ABSENT, 0, ABSENT], np.int32),
        "impressions": Impressions(
            request_ids=["r1"],
            request=np.zeros(2, np.int32),
            user=np.array([0, ABSENT], np.int32),
            item=np.array([1, 0], np.int32),
            position=np.array([0, 1], np.int32),
            time_ms=np.array([9, 9], np.int64),
            clicked=np.array([True, False]),
            propensity=np.array([0.5, np.nan], np.float32),
            bid_micros=np.array([400, ABSENT], np.int64),
            market_price_micros=np.array([300, ABSENT], np.int64),
        ),
    }
    return Dataset(**{**columns, **changes})


def events_dataset(users, items, times) -> Dataset:
    """Only events, given by their columns."""
    users, items = np.asarray(users), np.asarray(items)
    count = int(items.max()) + 1
    return tiny_dataset(
        item_ids=[f"i{row}" for row in range(count)],
        item_records=[{} for _ in range(count)],
        item_created_ms=np.zeros(count, np.int64),
        item_available=np.ones(count, bool),
        item_bid_micros=np.full(count, ABSENT, np.int64),
        user_ids=[f"u{row}" for row in range(int(users.max()) + 1)],
        user_records=[{} for _ in range(int(users.max()) + 1)],
        event_user=users.astype(np.int32),
        event_item=items.astype(np.int32),
        event_kind=np.zeros(len(items), np.int16),
        event_time_ms=np.asarray(times, np.int64),
        event_value=np.full(len(items), np.nan, np.float32),
        event_placement=np.zeros(len(items), np.int16),
        event_session=np.full(len(items), ABSENT, np.int32),
        impressions=None,
    )
