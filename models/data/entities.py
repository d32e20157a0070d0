"""Items or users: their ids, their records, and the columns that only items have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.columns import ABSENT
from models.data.mapped import MappedTable


@dataclass(frozen=True, slots=True)
class Entities:
    """The good rows of an items or users table; `ids` are Arrow strings."""

    ids: Any
    records: list[dict[str, Any]]
    created_ms: NDArray[np.int64]
    available: NDArray[np.bool_]
    bid_micros: NDArray[np.int64]
    currency: list[str | None]
    advertiser: list[str | None]

    def extended(self, *seen: Any) -> Entities:
        """With the ids that only `seen` (Arrow strings) holds, in order, and nothing known of them."""
        ids = pc.unique(pa.concat_arrays([self.ids, *seen]))
        added = len(ids) - len(self.ids)
        return Entities(
            ids=ids,
            records=self.records + [{} for _ in range(added)],
            created_ms=np.concatenate([self.created_ms, np.zeros(added, np.int64)]),
            available=np.concatenate([self.available, np.ones(added, bool)]),
            bid_micros=np.concatenate([self.bid_micros, np.full(added, ABSENT, np.int64)]),
            currency=self.currency + [None] * added,
            advertiser=self.advertiser + [None] * added,
        )


def no_entities() -> Entities:
    """The table that is not there."""
    none = np.zeros(0, np.int64)
    return Entities(pa.array([], pa.string()), [], none, np.zeros(0, bool), none, [], [])


def read_entities(table: MappedTable, id_name: str) -> Entities:
    """Read an items or users table; a row that repeats an id is bad."""
    ids = table.unique_ids(id_name)
    created_ms = table.optional_times("created_at")
    available = table.flags("available", True)
    bid_micros = table.counts("bid_micros")
    currency, advertiser = _texts(table, "currency"), _texts(table, "advertiser_id")
    if table.has("currency"):
        odd = pc.fill_null(pc.invert(pc.match_substring_regex(currency, "^[A-Z]{3}$")), False)
        table.reject("currency", odd.to_numpy(zero_copy_only=False), "no code of three capitals")
    attributes = table.attributes()
    good = table.finish()
    records: list[dict[str, Any]] = [
        {name: values[row] for name, values in attributes.items() if values[row] is not None}
        for row in np.flatnonzero(good).tolist()
    ]
    kept = pa.array(good)
    return Entities(
        ids=ids.filter(kept),
        records=records,
        created_ms=created_ms[good],
        available=available[good],
        bid_micros=bid_micros[good],
        currency=currency.filter(kept).to_pylist(),
        advertiser=advertiser.filter(kept).to_pylist(),
    )


def _texts(table: MappedTable, name: str) -> Any:
    return table.ids(name, required=False) if table.has(name) else pa.nulls(len(table), pa.string())
