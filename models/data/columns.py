"""The data set in memory: one immutable set of equally long columns per table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import FieldKind

ABSENT = -1
"""In an integer column: no session, no user, no bid, no price."""
PARTS = ("train", "validation", "test")
"""What an event can be for, in a data set that brings its own split."""
RELATIONS = ("similar", "complementary")
"""What an item can be to another: instead of it, or beside it."""
ORDERS = ("time", "sequence", "none")
"""How much of the times is real: all, only the order of a user's events, or not even that."""


@dataclass(frozen=True)
class Impressions:
    """What was shown, in order of time: I rows.

    `user` is `ABSENT` for an anonymous request; where the log has none, `propensity` is NaN, `bid_micros` and
    `market_price_micros` are `ABSENT`.
    """

    request_ids: list[str]
    request: NDArray[np.int32]
    """[I] index into `request_ids`."""
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    position: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    propensity: NDArray[np.float32]
    bid_micros: NDArray[np.int64]
    market_price_micros: NDArray[np.int64]
    placement: NDArray[np.int16] | None = None
    """[I] index into the data set's `placements`; None = the log does not say where things were shown."""
    pctr: NDArray[np.float64] | None = None
    """[I] the click probability that the answer gave, NaN = none; None = the log has no such column."""
    bundle_versions: list[str] = field(default_factory=list)
    """What answered; "" = not known."""
    bundle: NDArray[np.int16] | None = None
    """[I] index into `bundle_versions`; None = the log does not say."""

    def __len__(self) -> int:
        return len(self.item)


@dataclass(frozen=True)
class Queries:
    """What was searched for and what was taken from the results, in order of time: Q rows.

    A search after which several items were taken is several rows. `user` is `ABSENT` for a stranger.
    """

    text: list[str]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.item)

    def at(self, index: NDArray[Any]) -> Queries:
        """The rows at `index`, or where it is true."""
        rows = np.arange(len(self))[index]
        return Queries(
            [self.text[row] for row in rows.tolist()], self.user[rows], self.item[rows], self.time_ms[rows]
        )


@dataclass(frozen=True)
class Relations:
    """What is known of pairs of items from elsewhere, to judge lists by: R rows, no pair twice as the same.

    Nothing is trained on them. A pair may be both similar and complementary.
    """

    item: NDArray[np.int32]
    related: NDArray[np.int32]
    relation: NDArray[np.int8]
    """[R] index into `RELATIONS`."""

    def __len__(self) -> int:
        return len(self.item)

    def renumbered(self, number: NDArray[np.int32]) -> Relations:
        """The same over other rows of items, `number` [m] by the old ones; -1 = the pair is gone."""
        item, related = number[self.item], number[self.related]
        kept = (item >= 0) & (related >= 0)
        return Relations(item[kept], related[kept], self.relation[kept])


@dataclass(frozen=True)
class Dataset:
    """A canonical data set: m items, n users, E events in order of time (equal times in the file's order).

    A record holds the title and the attributes that are present, nothing else. An item or a user known only
    from events has an empty record. `item_created_ms` is 0 and `item_bid_micros` is `ABSENT` where unknown;
    `item_currency` and `item_advertiser` [m] are None there, or empty where no item has any.

    `order` is one of `ORDERS`. Under `sequence` the times are made up, so that spans of time mean nothing;
    under `none` a user's events are a set, and the order in which they stand means nothing either.
    """

    name: str
    item_fields: Mapping[str, FieldKind]
    user_fields: Mapping[str, FieldKind]
    item_ids: list[str]
    item_records: list[dict[str, Any]]
    item_created_ms: NDArray[np.int64]
    item_available: NDArray[np.bool_]
    item_bid_micros: NDArray[np.int64]
    user_ids: list[str]
    user_records: list[dict[str, Any]]
    event_kinds: tuple[str, ...]
    event_user: NDArray[np.int32]
    event_item: NDArray[np.int32]
    event_kind: NDArray[np.int16]
    """[E] index into `event_kinds`."""
    event_time_ms: NDArray[np.int64]
    event_value: NDArray[np.float32]
    """[E] NaN where the event has none."""
    item_currency: list[str | None] = field(default_factory=list)
    item_advertiser: list[str | None] = field(default_factory=list)
    placements: tuple[str, ...] = ("default",)
    event_placement: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    """[E] index into `placements`."""
    session_ids: list[str] = field(default_factory=list)
    event_session: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """[E] index into `session_ids` or `ABSENT`."""
    event_part: NDArray[np.int8] | None = None
    """[E] index into `PARTS`, of a data set that brings its own split."""
    order: str = "time"
    impressions: Impressions | None = None
    queries: Queries | None = None
    relations: Relations | None = None

    def __post_init__(self) -> None:
        events = len(self.event_item)
        if len(self.event_placement) != events:
            object.__setattr__(self, "event_placement", np.zeros(events, np.int16))
        if len(self.event_session) != events:
            object.__setattr__(self, "event_session", np.full(events, ABSENT, np.int32))
        if events and np.any(np.diff(self.event_time_ms) < 0):
            raise ValueError("events are not in order of time")
        if self.event_part is not None and len(self.event_part) != events:
            raise ValueError(f"{len(self.event_part)} parts for {events} events")
        for name in ("item_currency", "item_advertiser"):
            if len(getattr(self, name)) not in (0, self.items):
                raise ValueError(f"{len(getattr(self, name))} values of {name} for {self.items} items")
        if self.order not in ORDERS:
            raise ValueError(f"order: expected one of {', '.join(ORDERS)}, found {self.order!r}")

    @property
    def items(self) -> int:
        """Number of items, m."""
        return len(self.item_ids)

    def offer(self, row: int) -> dict[str, Any]:
        """An item's bid as a record in a bundle has it; nothing unless currency and advertiser are known."""
        if not (self.item_currency and self.item_advertiser) or self.item_bid_micros[row] == ABSENT:
            return {}
        currency, advertiser = self.item_currency[row], self.item_advertiser[row]
        if currency is None or advertiser is None:
            return {}
        bid = int(self.item_bid_micros[row])
        return {"bid_micros": bid, "currency": currency, "advertiser_id": advertiser}

    @property
    def users(self) -> int:
        """Number of users, n."""
        return len(self.user_ids)

    @property
    def events(self) -> int:
        """Number of events, E."""
        return len(self.event_item)

    @cached_property
    def item_row(self) -> dict[str, int]:
        """Row of each item id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @cached_property
    def user_row(self) -> dict[str, int]:
        """Row of each user id."""
        return {user_id: row for row, user_id in enumerate(self.user_ids)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content (the name is no part of it): equal after writing and loading."""
        digest = hashlib.sha256()
        _feed(digest, self)
        if self.impressions is not None:
            _feed(digest, self.impressions)
        if self.queries is not None:
            _feed(digest, self.queries)
        if self.relations is not None:
            _feed(digest, self.relations)
        return digest.hexdigest()


def _feed(digest: Any, table: Dataset | Impressions | Queries | Relations) -> None:
    for column, value in vars(table).items():
        if column in table.__dataclass_fields__ and column not in _unfed(table):
            digest.update(column.encode())
            if isinstance(value, np.ndarray):
                digest.update(np.ascontiguousarray(value).tobytes())
            else:
                digest.update(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def _unfed(table: Dataset | Impressions | Queries | Relations) -> set[str]:
    """Columns that say nothing of the content: a later addition counts only where a data set uses it."""
    unfed = {"name", "impressions", "queries", "relations"}
    if isinstance(table, Dataset):
        unfed |= {"event_part"} if table.event_part is None else set()
        unfed |= {"order"} if table.order == "time" else set()
        unfed |= {name for name in ("item_currency", "item_advertiser") if not getattr(table, name)}
    if isinstance(table, Impressions):
        unfed |= {name for name in ("placement", "pctr", "bundle") if getattr(table, name) is None}
        unfed |= set() if table.bundle_versions else {"bundle_versions"}
    return unfed


def time_order(time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The permutation that sorts by time; equal times keep their order."""
    return np.argsort(time_ms, kind="stable")
