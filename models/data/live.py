"""The live catalogue, folded into a data set, so that the next bundle holds what changed since the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.data.columns import ABSENT, Dataset
from models.schema import FieldKind

Record = Mapping[str, Any]
Change = tuple[int, Record | None]
"""When an item was changed last (ms), and its whole record since then; None = deleted."""

OFFER = ("bid_micros", "currency", "advertiser_id")
RESERVED = ("available", "available_from", "available_until", "created_at", *OFFER)
"""Keys of a live record that are no attributes."""


@dataclass(frozen=True)
class Folded:
    """A data set with live changes: how many items were added, changed, deleted.

    `left_out` counts by attribute the values that have no place in the data set, because it does not declare
    the attribute or declares another kind.
    """

    dataset: Dataset
    added: int
    changed: int
    deleted: int
    left_out: Mapping[str, int] = field(default_factory=dict)


def fold(dataset: Dataset, changes: Mapping[str, Change], now_ms: int) -> Folded:
    """The data set as its items are now.

    A new item comes last. A deleted one that has events, impressions or searches stays, unavailable; without
    any it is dropped. An item with a window of availability counts as available if the window is open at
    `now_ms`: what opens or closes later is known to the service, which lays such items over any bundle.
    """
    left_out: Counter[str] = Counter()
    rows, ids = dataset.item_row, list(dataset.item_ids)
    records = list(dataset.item_records)
    created, available = dataset.item_created_ms.tolist(), dataset.item_available.tolist()
    offers = _Offers.of(dataset)
    gone: set[int] = set()
    changed = 0
    for item_id, (moment_ms, record) in changes.items():
        row = rows.get(item_id)
        if record is None:
            if row is not None:
                gone.add(row)
                available[row] = False
            continue
        if row is None:
            row = len(ids)
            ids.append(item_id)
            records.append({})
            created.append(moment_ms)
            available.append(True)
            offers.append()
        else:
            changed += 1
        records[row] = _read(record, dataset.item_fields, left_out)
        created[row] = int(record.get("created_at") or created[row])
        available[row] = _is_available(record, now_ms)
        offers.put(row, record)
    added = len(ids) - dataset.items
    whole = replace(
        dataset,
        item_ids=ids,
        item_records=records,
        item_created_ms=np.array(created, np.int64),
        item_available=np.array(available, bool),
        **offers.columns(),
    )
    return Folded(_without(whole, gone), added, changed, len(gone), dict(left_out))


@dataclass(frozen=True, slots=True)
class _Offers:
    """The bids of items while changes are laid over them."""

    bids: list[int]
    currency: list[str | None]
    advertiser: list[str | None]

    @classmethod
    def of(cls, dataset: Dataset) -> _Offers:
        none: list[str | None] = [None] * dataset.items
        return cls(
            dataset.item_bid_micros.tolist(),
            list(dataset.item_currency or none),
            list(dataset.item_advertiser or none),
        )

    def append(self) -> None:
        self.bids.append(ABSENT)
        self.currency.append(None)
        self.advertiser.append(None)

    def put(self, row: int, record: Record) -> None:
        bid, self.currency[row], self.advertiser[row] = (record.get(name) for name in OFFER)
        self.bids[row] = ABSENT if bid is None else int(bid)

    def columns(self) -> dict[str, Any]:
        return {
            "item_bid_micros": np.array(self.bids, np.int64),
            "item_currency": self.currency if any(self.currency) else [],
            "item_advertiser": self.advertiser if any(self.advertiser) else [],
        }


def _without(dataset: Dataset, gone: set[int]) -> Dataset:
    """Without those of the items that nothing refers to."""
    used = np.zeros(dataset.items, bool)
    used[dataset.event_item] = True
    if dataset.impressions is not None:
        used[dataset.impressions.item] = True
    if dataset.queries is not None:
        used[dataset.queries.item] = True
    keep = used | ~np.isin(np.arange(dataset.items), list(gone))
    number = (np.cumsum(keep) - 1).astype(np.int32)
    kept: list[int] = np.flatnonzero(keep).tolist()
    shown, asked, known = dataset.impressions, dataset.queries, dataset.relations
    return replace(
        dataset,
        item_ids=[dataset.item_ids[row] for row in kept],
        item_records=[dataset.item_records[row] for row in kept],
        item_created_ms=dataset.item_created_ms[keep],
        item_available=dataset.item_available[keep],
        item_bid_micros=dataset.item_bid_micros[keep],
        item_currency=[dataset.item_currency[row] for row in kept] if dataset.item_currency else [],
        item_advertiser=[dataset.item_advertiser[row] for row in kept] if dataset.item_advertiser else [],
        event_item=number[dataset.event_item],
        impressions=None if shown is None else replace(shown, item=number[shown.item]),
        queries=None if asked is None else replace(asked, item=number[asked.item]),
        relations=None if known is None else known.renumbered(np.where(keep, number, np.int32(-1))),
    )


def _read(record: Record, fields: Mapping[str, FieldKind], left_out: Counter[str]) -> dict[str, Any]:
    found = {}
    for name, value in record.items():
        if name in RESERVED or value is None:
            continue
        read = _value(fields[name], value) if name in fields else None
        if read is None:
            left_out[name] += 1
        else:
            found[name] = read
    return found


def _value(kind: FieldKind, value: Any) -> Any:
    """The value as a data set holds it; None where it is of another kind."""
    many = value if isinstance(value, list) else [value]
    if kind is FieldKind.SET:
        return list(dict.fromkeys(str(one) for one in many if one is not None)) or None
    if isinstance(value, list | dict):
        return None
    if kind is FieldKind.NUMBER:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        return _plain(float(value)) if is_number else None
    return str(value) or None


def _plain(number: float) -> int | float:
    """As the reader of data sets writes numbers."""
    return int(number) if number.is_integer() else number


def _is_available(record: Record, now_ms: int) -> bool:
    opens, closes = record.get("available_from"), record.get("available_until")
    is_open = (opens is None or opens <= now_ms) and (closes is None or now_ms < closes)
    return bool(record.get("available", True)) and is_open
