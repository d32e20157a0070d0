"""`cascada fold`: write a data set with the live catalogue in it, for the next training and bundle.

Items that were added, changed or deleted through the service are merged into the items of a canonical data
set; the data set that is read stays as it is. A worker that loads a bundle made of the result lays only that
over it which has changed since.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from service.errors import OperatorError
from service.features.keys import Keys
from service.features.redis import RedisLimits, RedisStore
from service.features.store import StoreUnavailable
from service.settings import load_settings

PAGE = 1000
_TIMEOUT_S = 30.0

Changes = dict[str, tuple[int, Mapping[str, Any] | None]]
"""Per item when it was changed last (ms) and its record; None = deleted."""


def main(argv: list[str]) -> int:
    """Run `cascada fold ARGV`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        print(_fold(arguments))
    except (OperatorError, StoreUnavailable, OSError) as error:
        print(f"cascada fold: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cascada fold: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def _fold(arguments: argparse.Namespace) -> str:
    # Only this verb and `load` of the service read data sets, when they are called: see the import contracts.
    from models.data.dataset import load_dataset, write_dataset
    from models.data.live import fold
    from models.data.problems import DataError

    if arguments.out.exists():
        raise OperatorError(f"{arguments.out} exists already; remove it or choose another --out")
    try:
        dataset = load_dataset(arguments.dataset)
    except DataError as error:
        raise OperatorError(str(error)) from error
    changes = asyncio.run(_from_redis(arguments.redis_url) if arguments.redis_url else _from(arguments.url))
    folded = fold(dataset, changes, round(time.time() * 1000))
    write_dataset(arguments.out, folded.dataset)
    for name, count in sorted(folded.left_out.items()):
        print(f"left out: {name!r} of {count:,} items, the data set does not declare it so", file=sys.stderr)
    return (
        f"wrote {arguments.out}: {folded.dataset.items:,} items; {folded.added:,} added, "
        f"{folded.changed:,} changed, {folded.deleted:,} deleted; "
        f"fingerprint {folded.dataset.fingerprint[:12]}"
    )


async def _from_redis(url: str) -> Changes:
    store = RedisStore(url, Keys(load_settings().redis_prefix), RedisLimits(write_timeout_s=_TIMEOUT_S))
    found: Changes = {}
    cursor = "0"
    try:
        while changes := await store.item_changes(cursor, PAGE):
            found |= {change.item_id: (_ms(change.cursor), change.record) for change in changes}
            cursor = changes[-1].cursor
    finally:
        await store.close()
    return found


async def _from(url: str) -> Changes:
    keys = [key.get_secret_value() for key in load_settings().api_keys]
    headers = {"authorization": f"Bearer {keys[0]}"} if keys else {}
    found: Changes = {}
    cursor: str | None = "0"
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S) as client:
            while cursor is not None:
                answer = await client.get("/v1/items", params={"after": cursor, "count": PAGE})
                if answer.is_error:
                    raise OperatorError(f"GET {url}/v1/items was refused with {answer.status_code}")
                page = answer.json()
                found |= {one["item_id"]: (_ms(one["cursor"]), None) for one in page["deleted"]}
                found |= {one["item_id"]: (_ms(one["cursor"]), _record(one)) for one in page["items"]}
                cursor = page["next"]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OperatorError(f"no service at {url}: {error or type(error).__name__}") from error
    return found


def _record(body: Mapping[str, Any]) -> dict[str, Any]:
    """The flat record of an item as the API shows it."""
    own = {name: value for name, value in body.items() if name not in ("item_id", "cursor", "attributes")}
    return {**body["attributes"], **own}


def _ms(cursor: str) -> int:
    """A change's number counts microseconds."""
    return int(cursor) // 1000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cascada fold", description="Write a data set with the live catalogue in it."
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder of a canonical data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to create")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", default="http://127.0.0.1:8000", help="the service (%(default)s)")
    where.add_argument("--redis-url", help="read this Redis instead, without a service")
    return parser
