"""The held-out auctions of a simulated world: every candidate, whether it won or not, with its true CTR.

`candidates.parquet`, beside the tables of a data set; a row is an ad that took part in an auction:

| column | what |
|---|---|
| `auction_id`, `user_id`, `item_id` | ids as in the other tables |
| `timestamp` (ms), `placement`, `position` | of the auction |
| `floor_micros` | least bid and least price of the auction, per click |
| `bid_micros` | what was bid for a click |
| `outside_micros`, `outside_second_micros` | the best two offers of outside competitors, per impression |
| `ctr` | the true click-through rate at that position, hidden quality included |
| `mean_ctr` | the same averaged over the hidden quality: the most that a model can know |
| `hidden` | the hidden quality, in logits |
| `clicked` | a click drawn with `ctr`, also for ads that were not shown |
| `won` | whether the logging policy showed it |
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.mapped import rows_of
from models.data.problems import DataError

CANDIDATES = "candidates.parquet"
_HOW = "make one with `cascada data simulate-auctions`"
_PLAIN: dict[str, Any] = {
    "position": np.int32,
    "floor_micros": np.int64,
    "bid_micros": np.int64,
    "outside_micros": np.int64,
    "outside_second_micros": np.int64,
    "ctr": np.float32,
    "mean_ctr": np.float32,
    "hidden": np.float32,
    "clicked": bool,
    "won": bool,
}


@dataclass(frozen=True, slots=True)
class Candidates:
    """C candidates, auction after auction; integer rows are those of the data set that they belong to."""

    auction_ids: list[str]
    auction: NDArray[np.int32]
    """[C] index into `auction_ids`, ascending; an auction without a candidate has no row."""
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    placement: NDArray[np.int16]
    position: NDArray[np.int32]
    floor_micros: NDArray[np.int64]
    bid_micros: NDArray[np.int64]
    outside_micros: NDArray[np.int64]
    outside_second_micros: NDArray[np.int64]
    ctr: NDArray[np.float32]
    mean_ctr: NDArray[np.float32]
    hidden: NDArray[np.float32]
    clicked: NDArray[np.bool_]
    won: NDArray[np.bool_]
    item_ids: list[str]
    user_ids: list[str]
    placements: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.auction)

    def first_auctions(self, count: int) -> Candidates:
        """The candidates of the first `count` auctions."""
        kept = self.auction < count
        columns: dict[str, Any] = {
            each.name: value[kept]
            for each in fields(self)
            if isinstance(value := getattr(self, each.name), np.ndarray)
        }
        return replace(self, auction_ids=self.auction_ids[:count], **columns)

    def save(self, folder: Path) -> None:
        """Write `candidates.parquet`."""
        columns: dict[str, Any] = {
            "auction_id": pa.array(self.auction_ids, pa.string()).take(pa.array(self.auction)),
            "user_id": pa.array(self.user_ids, pa.string()).take(pa.array(self.user)),
            "item_id": pa.array(self.item_ids, pa.string()).take(pa.array(self.item)),
            "timestamp": self.time_ms,
            "placement": pa.array(list(self.placements), pa.string()).take(pa.array(self.placement)),
        }
        columns |= {name: getattr(self, name) for name in _PLAIN}
        pq.write_table(pa.table(columns), folder / CANDIDATES, compression="zstd")

    @classmethod
    def load(cls, folder: Path, dataset: Dataset) -> Candidates:
        """Read what `save` wrote beside the tables of `dataset`.

        Raises:
            DataError: there is no such file, it lacks a column, or it is not of this data set.
        """
        path = folder / CANDIDATES
        if not path.is_file():
            raise DataError(f"{path}: no such file; {_HOW}")
        try:
            table = pq.read_table(path, partitioning=None).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable Parquet file: {error}") from error
        wanted = ("auction_id", "user_id", "item_id", "timestamp", "placement", *_PLAIN)
        if missing := [name for name in wanted if name not in table.column_names]:
            raise DataError(f"{path}: no column {missing[0]!r}; {_HOW}")
        if not table.num_rows:
            raise DataError(f"{path}: no candidate; {_HOW}, with a held-out share")
        auction_ids = pc.unique(table["auction_id"])
        auction = rows_of(table["auction_id"], auction_ids)
        if np.any(np.diff(auction) < 0):
            raise DataError(f"{path}: the rows of an auction do not stand together; {_HOW}")
        return cls(
            auction_ids=auction_ids.to_pylist(),
            auction=auction,
            user=_known(path, table, "user_id", dataset.user_ids),
            item=_known(path, table, "item_id", dataset.item_ids),
            time_ms=table["timestamp"].to_numpy().astype(np.int64),
            placement=_known(path, table, "placement", list(dataset.placements)).astype(np.int16),
            item_ids=dataset.item_ids,
            user_ids=dataset.user_ids,
            placements=dataset.placements,
            **{name: table[name].to_numpy().astype(kind) for name, kind in _PLAIN.items()},
        )


def _known(path: Path, table: Any, name: str, ids: list[str]) -> NDArray[np.int32]:
    rows = rows_of(table[name], pa.array(ids, pa.string()))
    if np.any(rows < 0):
        row = int(np.argmin(rows))
        raise DataError(
            f"{path}: row {row + 1}: {name} {table[name][row].as_py()!r} is not of this data set; {_HOW}"
        )
    return rows
