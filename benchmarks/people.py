"""The users of a world in Redis, as the service's own store writes them, and who asks in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import redis

from benchmarks.world import World, item_id, user_id
from service.cascade.query import ItemId, UserId
from service.features.keys import Keys, pack

KIND = "click"
_BATCH = 1000


def write_histories(world: World, client: redis.Redis) -> None:
    """Write every user's history in the layout of `service.features.keys`, newest first."""
    keys = Keys()
    items, times = np.asarray(world.items), np.asarray(world.times_ms)
    for start in range(0, world.users, _BATCH):
        pipeline = client.pipeline(transaction=False)
        for user in range(start, min(start + _BATCH, world.users)):
            part = world.events_of(user)
            events = zip(items[part].tolist(), times[part].tolist(), strict=True)
            lines = [pack(time_ms, KIND, ItemId(item_id(row))) for row, time_ms in events]
            if lines:
                pipeline.lpush(keys.history(UserId(user_id(user))), *lines)
        pipeline.execute()


def write_bodies(
    world: World, count: int, folder: Path, seed: int = 11, *, count_of_items: int = 10
) -> tuple[Path, Path]:
    """Files with one request body per line, ours and the rival's: the same users in the same random order."""
    users = np.random.default_rng(seed).integers(0, world.users, count).tolist()
    ours, rival = folder / "ours.jsonl", folder / "rival.jsonl"
    ours.write_bytes(
        b"\n".join(orjson.dumps({"user_id": user_id(user), "count": count_of_items}) for user in users)
    )
    rival.write_bytes(b"\n".join(orjson.dumps({"user": str(user), "n_rec": 10}) for user in users))
    return ours, rival
