"""`cascada load`: give the service the users and events of a data set.

Loading again changes nothing within a day: each event has an id of its own, made of the data set and its row.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from service.cascade.query import ItemId, UserId
from service.errors import OperatorError
from service.features.keys import Keys
from service.features.redis import RedisLimits, RedisStore
from service.features.store import Event, StoreUnavailable
from service.settings import load_settings
from service.targets import HttpTarget, StoreTarget, Target

if TYPE_CHECKING:
    from models.data.dataset import Dataset

BATCH = 1000


def main(argv: list[str]) -> int:
    """Run `cascada load ARGV`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    started = time.monotonic()
    try:
        dataset = _read(arguments.dataset)
        users, repeated = asyncio.run(_load(dataset, _target(arguments)))
    except (OperatorError, StoreUnavailable) as error:
        print(f"cascada load: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cascada load: interrupted; run it again, nothing counts twice", file=sys.stderr)
        return 130
    known = f" ({repeated:,} were there already)" if repeated else ""
    done = f"loaded {users:,} users and {dataset.events:,} events of {dataset.name}{known}"
    print(f"{done} in {time.monotonic() - started:.0f} s")
    return 0


async def _load(dataset: Dataset, target: Target) -> tuple[int, int]:
    """Send everything; returns how many users have a profile or events, and how many events were known."""
    async with target:
        profiles = list(zip(dataset.user_ids, dataset.user_records, strict=True))
        for user_id, record in tqdm(profiles, desc="users", unit="user", disable=None):
            if record:
                await target.put_user(UserId(user_id), record)
        repeated = 0
        events = _events(dataset)
        with tqdm(total=dataset.events, desc="events", unit="event", disable=None) as bar:
            while batch := list(islice(events, BATCH)):
                repeated += await target.append(batch)
                bar.update(len(batch))
    return dataset.users, repeated


def _events(dataset: Dataset) -> Iterator[Event]:
    columns = zip(
        dataset.event_user.tolist(),
        dataset.event_item.tolist(),
        dataset.event_kind.tolist(),
        dataset.event_time_ms.tolist(),
        dataset.event_value.tolist(),
        strict=True,
    )
    for row, (user, item, kind, timestamp, value) in enumerate(columns):
        yield Event(
            user_id=UserId(dataset.user_ids[user]),
            item_id=ItemId(dataset.item_ids[item]),
            event=dataset.event_kinds[kind],
            timestamp_ms=timestamp,
            event_id=f"load:{dataset.fingerprint[:12]}:{row}",
            value=None if math.isnan(value) else value,
        )


def _read(folder: Path) -> Dataset:
    # Only this verb of the service reads data sets, and only when it is called: see the import contracts.
    from models.data.dataset import load_dataset
    from models.data.problems import DataError

    try:
        return load_dataset(folder)
    except DataError as error:
        raise OperatorError(str(error)) from error


def _target(arguments: argparse.Namespace) -> Target:
    settings = load_settings()
    if arguments.redis_url is None:
        keys = [key.get_secret_value() for key in settings.api_keys]
        return HttpTarget(arguments.url, keys[0] if keys else None)
    limits = RedisLimits(history=settings.history_limit, write_timeout_s=30)
    return StoreTarget(RedisStore(arguments.redis_url, Keys(settings.redis_prefix), limits))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada load", description=__doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder of a canonical data set")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", default="http://127.0.0.1:8000", help="the service (%(default)s)")
    where.add_argument("--redis-url", help="write into this Redis instead, without a service")
    return parser
