"""`cascada impressions`: what was answered and what was clicked of it, out of a service's logs.

Each item of each answer is a row of the table `impressions` of a data set, with the click probability that it
was answered with and the bundle that answered: put the file beside its `dataset.toml`. A click is an event of
`--event` with the `request_id` of the answer and one of its items. `cascada calibrate` learns from it. Both
logs are bounded, so call this more often than they run full; a deleted user is in neither.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.artifacts import write_bytes
from service.features.store import StoreUnavailable
from service.log_reader import add_options, as_csv, opened

COLUMNS = (
    "request_id", "user_id", "item_id", "position", "timestamp", "clicked", "propensity", "bid_micros",
    "placement", "pctr", "bundle_version",
)  # fmt: skip
DELAY_S = 600.0
"""An answer that is younger is left out: its clicks may still come."""
AHEAD_S = 60.0
"""A clock may be so far ahead of ours."""

Row = tuple[Any, ...]


@dataclass(slots=True)
class Gathered:
    """Rows in the order of `COLUMNS`, and how many entries were left out, by why.

    - "answer unreadable": an answer without its parts, or whose columns differ in length
    - "answer repeated": logs are written at least once
    - "answer from the future": more than `AHEAD_S` ahead of this clock
    - "answer too young": its clicks may still come
    - "bid that cannot be": a bid that is negative or without a currency; the row is kept without it
    - "click without an answer": the answer is not in the log, or the item was not in it
    - "click repeated": the same item of the same answer
    - "click of somebody else": the answer was for another user
    """

    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    clicks: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    user_id: str
    logged: Mapping[str, Any]
    items: frozenset[str]


def main(argv: list[str]) -> int:
    """Run `cascada impressions ARGV`; 0 on success, 2 where Redis or the file does not do it."""
    arguments = _parser().parse_args(argv)
    try:
        found = asyncio.run(
            read(
                arguments.redis_url,
                arguments.redis_prefix,
                arguments.event or ["click"],
                arguments.delay_seconds,
            )
        )
        write_bytes(arguments.out, as_csv(COLUMNS, found.rows))
    except (StoreUnavailable, OSError, ValueError) as error:
        print(f"cascada impressions: {error}", file=sys.stderr)
        return 2
    for why, count in sorted(found.left_out.items()):
        print(f"left out: {count:,} x {why}", file=sys.stderr)
    print(f"wrote {arguments.out}: {len(found.rows):,} impressions, {found.clicks:,} clicked")
    return 0


async def read(
    redis_url: str,
    prefix: str,
    kinds: Collection[str] = ("click",),
    delay_s: float = DELAY_S,
    now_ms: int | None = None,
) -> Gathered:
    """The impressions in the logs, by answer and place; an event of `kinds` is a click.

    Raises:
        StoreUnavailable: Redis does not answer.
        ValueError: the URL is none.
    """
    async with opened(redis_url, prefix) as logs:
        answers = [entry async for entry in logs.answers()]
        events = [entry async for entry in logs.events() if entry[1].get("event") in kinds]
    return gather(answers, events, round(time.time() * 1000) if now_ms is None else now_ms, delay_s)


def gather(
    answers: Sequence[tuple[str, Mapping[str, Any]]],
    clicks: Sequence[tuple[str, Mapping[str, Any]]],
    now_ms: int,
    delay_s: float = DELAY_S,
) -> Gathered:
    """Join logged answers and clicks, each with its user ("" = a stranger)."""
    found = Gathered()
    known = _answers(answers, now_ms, found.left_out)
    taken: set[tuple[str, str]] = set()
    for user_id, event in clicks:
        request_id, item = str(event.get("request_id", "")), str(event.get("item_id", ""))
        answer = known.get(request_id)
        if answer is None or item not in answer.items:
            found.left_out["click without an answer"] += 1
        elif answer.user_id not in ("", user_id):
            found.left_out["click of somebody else"] += 1
        elif (request_id, item) in taken:
            found.left_out["click repeated"] += 1
        else:
            taken.add((request_id, item))
    for request_id, answer in known.items():
        if int(answer.logged["timestamp"]) > now_ms - delay_s * 1000:
            found.left_out["answer too young"] += 1
            continue
        rows = list(_rows(request_id, answer, taken, found.left_out))
        found.clicks += sum(row[5] for row in rows)
        found.rows += rows
    return found


def _answers(
    entries: Sequence[tuple[str, Mapping[str, Any]]], now_ms: int, left_out: Counter[str]
) -> dict[str, _Answer]:
    known: dict[str, _Answer] = {}
    for user_id, logged in entries:
        try:
            request_id, items = str(logged["request_id"]), [str(item) for item in logged["items"]]
            at_ms = int(logged["timestamp"])
            columns = [logged.get(name) for name in ("pctr", "propensities")]
            whole = all(column is None or len(column) == len(items) for column in columns)
        except (KeyError, TypeError, ValueError):
            left_out["answer unreadable"] += 1
            continue
        if not whole:
            left_out["answer unreadable"] += 1
        elif at_ms > now_ms + AHEAD_S * 1000:
            left_out["answer from the future"] += 1
        elif request_id in known:
            left_out["answer repeated"] += 1
        else:
            known[request_id] = _Answer(user_id, logged, frozenset(items))
    return known


def _rows(
    request_id: str, answer: _Answer, taken: Collection[tuple[str, str]], left_out: Counter[str]
) -> Sequence[Row]:
    logged = answer.logged
    bids = _bids(logged, left_out)
    chances, draws = logged.get("pctr"), logged.get("propensities")
    return [
        (
            request_id,
            answer.user_id,
            str(item),
            place,
            int(logged["timestamp"]),
            (request_id, str(item)) in taken,
            _share(draws and draws[place]),
            bids.get(str(item)),
            logged.get("placement"),
            _share(chances and chances[place]),
            logged.get("bundle_version"),
        )
        for place, item in enumerate(logged["items"])
    ]


def _bids(logged: Mapping[str, Any], left_out: Counter[str]) -> dict[str, int]:
    found = {}
    for slot in logged.get("sponsored", ()):
        bid = slot.get("bid_micros")
        if isinstance(bid, int) and bid >= 0 and slot.get("currency"):
            found[str(slot.get("item"))] = bid
        else:
            left_out["bid that cannot be"] += 1
    return found


def _share(value: Any) -> float | None:
    """A number in (0, 1]; None = there is none."""
    given = isinstance(value, int | float) and not isinstance(value, bool)
    return value if given and math.isfinite(value) and 0 < value <= 1 else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada impressions", description=__doc__)
    add_options(parser)
    parser.add_argument(
        "--event", action="append", default=[], help="events of this kind are clicks; repeatable (click)"
    )
    parser.add_argument(
        "--delay-seconds",
        type=float,
        default=DELAY_S,
        help="younger answers are left out, for their clicks may still come (%(default)s)",
    )
    return parser
