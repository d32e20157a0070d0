"""One batch out of what the sources proposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.distinct import first_occurrences, locate
from retrieval.fusion import PERSONAL, places
from retrieval.order import by_keys, descending, is_descending
from service.cascade.candidates import Candidates


def merge(found: Mapping[str, Candidates], names: Sequence[str], shares: Mapping[str, float]) -> Candidates:
    """The union of the sources' candidates, interleaved by best rank.

    `found` maps source names to what they proposed, best by their column `score`. A candidate's place is
    the least (rank + 1/2) / share over the sources that proposed it, so that any head of the batch holds
    the sources in proportion to their `shares`; ties by row. Columns: `sources` (bit i = `names[i]`
    proposed it), `fused` (the fusion of the personal sources), `<source>_score` for each source found, and
    every further column of a source; where a source did not propose an item, floats are NaN and integers -1.
    """
    ranked = {name: _best_first(batch) for name, batch in found.items()}
    if len(ranked) == 1:
        ((name, batch),) = ranked.items()
        return Candidates.of(batch.rows, **_alone(name, batch, names))
    rows = np.concatenate([batch.rows for batch in ranked.values()]) if ranked else np.zeros(0, np.int32)
    place = [(np.arange(len(batch)) + 0.5) / shares[name] for name, batch in ranked.items()]
    rows = rows[by_keys(np.concatenate(place), rows)] if place else rows
    union = rows[first_occurrences(rows, _bound(rows))]
    return Candidates.of(union, **_columns(union, ranked, names))


def names_of(bits: int, names: Sequence[str]) -> list[str]:
    """The sources that a value of the column `sources` stands for."""
    return [name for i, name in enumerate(names) if bits >> i & 1]


def _best_first(batch: Candidates) -> Candidates:
    scores = batch["score"]
    if is_descending(scores, batch.rows):
        return batch
    return batch.take(descending(scores, batch.rows))


def _bound(rows: NDArray[np.int32]) -> int:
    return int(rows.max(initial=-1)) + 1


def _alone(name: str, batch: Candidates, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The columns where nothing has to be aligned."""
    bit = np.full(len(batch), 1 << names.index(name), np.int32)
    fused = places(len(batch)) if name in PERSONAL else np.zeros(len(batch), np.float32)
    return {
        "sources": bit,
        "fused": fused,
        **{_target(name, column): values for column, values in batch.columns.items()},
    }


def _target(name: str, column: str) -> str:
    return f"{name}_score" if column == "score" else column


def _columns(
    union: NDArray[np.int32], ranked: Mapping[str, Candidates], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "sources": np.zeros(len(union), np.int32),
        "fused": np.zeros(len(union), np.float32),
    }
    for name, batch in ranked.items():
        at = locate(batch.rows, union, _bound(union))
        columns["sources"][at] |= 1 << list(names).index(name)
        if name in PERSONAL:
            columns["fused"][at] += places(len(batch))
        for column, values in batch.columns.items():
            target = _target(name, column)
            if target not in columns:
                absent = np.nan if values.dtype.kind == "f" else -1
                columns[target] = np.full((len(union), *values.shape[1:]), absent, values.dtype)
            columns[target][at] = values
    return columns
