"""A service's logs read offline: what was answered and what happened, out of Redis and into a table."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.streams import Streams

_TIMEOUT_S = 30.0

Entries = AsyncIterator[tuple[str, Mapping[str, Any]]]
"""Users ("" = a stranger) and what is logged of them, the oldest first."""


@dataclass(frozen=True, slots=True)
class Logs:
    """Both logs of one prefix. Each is bounded, and a deleted user is in neither."""

    streams: Streams
    keys: Keys

    def answers(self) -> Entries:
        """What was answered."""
        return self.streams.entries(self.keys.impression_log)

    def events(self) -> Entries:
        """What happened."""
        return self.streams.entries(self.keys.event_log)


@asynccontextmanager
async def opened(redis_url: str, prefix: str) -> AsyncIterator[Logs]:
    """The logs of a service, as long as the block lasts.

    Raises:
        StoreUnavailable: Redis does not answer.
        ValueError: the URL is none.
    """
    connection = RedisConnection(redis_url, 2, _TIMEOUT_S, _TIMEOUT_S)
    keys = Keys(prefix)
    try:
        yield Logs(Streams(connection, keys, events=1, impressions=1), keys)
    finally:
        await connection.close()


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table with its header line; truth values as true and false, None as nothing."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which service's logs, and the file to write."""
    parser.add_argument("--redis-url", required=True, help="the Redis of the service, CASCADA_REDIS_URL")
    parser.add_argument("--redis-prefix", default=Keys().prefix, help="CASCADA_REDIS_PREFIX (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="the table to write")


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
