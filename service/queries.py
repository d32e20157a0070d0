"""`cascada queries`: what was searched for and what was taken from the results, out of a service's logs.

A search is in the log of answers with its words and its items; an event that carries the `request_id` of the
answer and one of its items says what was taken. Together they are the table `queries` of a data set: put the
file beside its `dataset.toml`, or give it to `cascada data import --queries`. Both logs are bounded, so call
this more often than they run full; a deleted user is in neither.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Collection
from dataclasses import astuple, dataclass

from models.artifacts import write_bytes
from service.cascade.query import Kind
from service.features.store import StoreUnavailable
from service.log_reader import add_options, as_csv, opened

COLUMNS = ("user_id", "query", "item_id", "timestamp")


@dataclass(frozen=True, slots=True)
class Taken:
    """One row of the table: `user_id` "" = a stranger; `timestamp_ms` of the event."""

    user_id: str
    query: str
    item_id: str
    timestamp_ms: int


def main(argv: list[str]) -> int:
    """Run `cascada queries ARGV`; 0 on success, 2 where Redis or the file does not do it."""
    arguments = _parser().parse_args(argv)
    try:
        rows = asyncio.run(read(arguments.redis_url, arguments.redis_prefix, arguments.event))
        write_bytes(arguments.out, as_csv(COLUMNS, map(astuple, rows)))
    except (StoreUnavailable, OSError, ValueError) as error:
        print(f"cascada queries: {error}", file=sys.stderr)
        return 2
    queries = len({(row.user_id, row.query) for row in rows})
    print(f"wrote {arguments.out}: {len(rows):,} items taken after {queries:,} searches")
    return 0


async def read(redis_url: str, prefix: str, kinds: Collection[str] = ()) -> list[Taken]:
    """What was taken after searches, by the time of the event; of `kinds` of events only, if any are named.

    The same item taken twice of one answer counts once, at its first event in the log: logs may repeat.

    Raises:
        StoreUnavailable: Redis does not answer.
        ValueError: the URL is none.
    """
    async with opened(redis_url, prefix) as logs:
        searches: dict[str, tuple[str, str, frozenset[str]]] = {}
        async for user_id, answer in logs.answers():
            if answer.get("cascade") == Kind.SEARCH and answer.get("query"):
                items = frozenset(answer.get("items", ()))
                searches[str(answer["request_id"])] = (user_id, str(answer["query"]), items)
        taken: dict[tuple[str, str], Taken] = {}
        async for user_id, event in logs.events():
            request_id, item = str(event.get("request_id", "")), str(event["item_id"])
            if request_id not in searches or (kinds and event.get("event") not in kinds):
                continue
            searcher, query, items = searches[request_id]
            # A stranger may have become somebody meanwhile; somebody else's click says nothing.
            if item in items and searcher in ("", user_id):
                row = Taken(user_id, query, item, int(event["timestamp"]))
                taken.setdefault((request_id, item), row)
    return sorted(taken.values(), key=lambda row: (row.timestamp_ms, row.user_id, row.item_id))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada queries", description=__doc__)
    add_options(parser)
    parser.add_argument(
        "--event", action="append", default=[], help="only events of this kind; repeatable (default: all)"
    )
    return parser
