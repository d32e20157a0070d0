"""One batch out of what the sources proposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.order import descending
from service.cascade.candidates import Candidates

Bits = NDArray[np.int32]


def merge(found: Mapping[str, Candidates], names: Sequence[str], shares: Mapping[str, float]) -> Candidates:
    """The union of the sources' candidates, interleaved by best rank.

    `found` maps source names to what they proposed, best by their column `score`. A candidate's place is
    the least (rank + 1/2) / share over the sources that proposed it, so that any head of the batch holds
    the sources in proportion to their `shares`; ties by row. Columns: `sources` (bit i = `names[i]`
    proposed it), `<source>_score` for each source found, and every further column of a source; where a
    source did not propose an item, floats are NaN and integers -1.
    """
    ranked = {name: batch.take(descending(batch["score"], batch.rows)) for name, batch in found.items()}
    rows = np.concatenate([batch.rows for batch in ranked.values()]) if ranked else np.zeros(0, np.int32)
    place = [(np.arange(len(batch)) + 0.5) / shares[name] for name, batch in ranked.items()]
    order = np.lexsort((rows, np.concatenate(place))) if place else np.zeros(0, np.intp)
    _, first = np.unique(rows[order], return_index=True)
    union = rows[order][np.sort(first)]
    return Candidates.of(union, **_columns(union, ranked, names))


def names_of(bits: int, names: Sequence[str]) -> list[str]:
    """The sources that a value of the column `sources` stands for."""
    return [name for i, name in enumerate(names) if bits >> i & 1]


def proposed_alone(sources: Bits) -> NDArray[np.bool_]:
    """Candidates [N] that exactly one source proposed."""
    alone: NDArray[np.bool_] = (sources & (sources - 1)) == 0
    return alone


def _columns(
    union: NDArray[np.int32], ranked: Mapping[str, Candidates], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    by_row = np.argsort(union)
    columns: dict[str, NDArray[Any]] = {"sources": np.zeros(len(union), np.int32)}
    for name, batch in ranked.items():
        at = by_row[np.searchsorted(union, batch.rows, sorter=by_row)]
        columns["sources"][at] |= 1 << list(names).index(name)
        for column, values in batch.columns.items():
            target = f"{name}_score" if column == "score" else column
            if target not in columns:
                absent = np.nan if values.dtype.kind == "f" else -1
                columns[target] = np.full((len(union), *values.shape[1:]), absent, values.dtype)
            columns[target][at] = values
    return columns
