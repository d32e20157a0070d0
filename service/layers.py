"""What changed since the export, in layers: a large settled one and small recent ones that lie over it.

A change makes one small layer, and small ones are merged as they come, so that a change costs what is small.
`Layers.settle` merges everything; whoever keeps the catalogue does that beside the answers when it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import Field
from retrieval.lexical import WEIGHTS, LexicalIndex
from service.attributes import Attributes
from service.words import Words

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Record = Mapping[str, Any]

MERGED = 512
"""Rows of the largest layer that is made while somebody waits for a change."""
SETTLED = 2048
"""So many recent rows, and a quarter of the settled ones, are left lying before they are settled."""


@dataclass(frozen=True)
class Layer:
    """n distinct changed `rows`, their `records` as they may be filtered and searched (None = deleted)."""

    fields: tuple[Field, ...]
    rows: Rows
    records: tuple[Record | None, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, fields: tuple[Field, ...], records: Mapping[int, Record | None]) -> Layer:
        """The layer of records by row."""
        return cls(fields, np.fromiter(records, np.int32, len(records)), tuple(records.values()))

    @cached_property
    def attributes(self) -> Attributes:
        """The filterable columns, by position in the layer."""
        return Attributes(self.fields, (record or {} for record in self.records))

    @cached_property
    def words(self) -> Words:
        """Word search, by position in the layer."""
        names = {field.name for field in self.fields[-1:]}
        known = ((i, record) for i, record in enumerate(self.records) if record is not None)
        return Words((i, {k: v for k, v in record.items() if k not in names}) for i, record in known)


@dataclass(frozen=True)
class Layers:
    """Of several layers that have a row the last one counts. The last of `fields` can be filtered only."""

    fields: tuple[Field, ...]
    settled: Layer
    recent: tuple[Layer, ...] = ()

    @classmethod
    def none(cls, fields: tuple[Field, ...]) -> Layers:
        """Nothing has changed."""
        return cls(fields, Layer.of(fields, {}))

    def put(self, records: Mapping[int, Record | None]) -> Layers:
        """With these rows changed."""
        if not records:
            return self
        recent = [*self.recent, Layer.of(self.fields, records)]
        while len(recent) > 1 and _belong(*recent[-2:]):
            recent[-2:] = [_merged(self.fields, recent[-2:])]
        return replace(self, recent=tuple(recent))

    @property
    def due(self) -> bool:
        """Whether it is time to settle."""
        return sum(map(len, self.recent)) > max(SETTLED, len(self.settled) // 4)

    def settle(self) -> Layer:
        """All layers as one, ready to be searched; may take a second."""
        whole = _merged(self.fields, [self.settled, *self.recent])
        _ = whole.attributes, whole.words
        return whole

    def settled_as(self, whole: Layer, earlier: Layers) -> Layers:
        """These layers, where `whole` is what `earlier.settle()` gave and `earlier` came before these."""
        known = _records([earlier.settled, *earlier.recent])
        later = {row: one for row, one in _records(self.recent).items() if one is not known.get(row, self)}
        return Layers(self.fields, whole).put(later)

    def renumbered(self, number: Mapping[int, int], gone: frozenset[int]) -> Layers:
        """The same records under other row numbers, without the rows that are gone.

        Words and columns, which are by position, are kept: a row that is gone stays there as the number -1.
        """
        moved = [_renumbered(layer, number, gone) for layer in (self.settled, *self.recent)]
        return Layers(self.fields, moved[0], tuple(moved[1:]))

    def fill(self, mask: Mask, matcher: Callable[[Attributes], Mask]) -> None:
        """Overwrite `mask` [M] at the changed rows with what the matcher says of them."""
        for layer in self._all():
            here = layer.rows >= 0
            mask[layer.rows[here]] = matcher(layer.attributes)[here]

    def search(
        self, text: str, index: LexicalIndex, weights: Mapping[str, float] = WEIGHTS
    ) -> tuple[Rows, Floats]:
        """Rows that match words, ascending, and their scores; see `service.words.Words.search`."""
        rows, scores = np.zeros(0, np.int32), np.zeros(0, np.float32)
        for layer in self._all():
            places, values = layer.words.search(text, index, weights)
            kept = ~np.isin(rows, layer.rows)
            found = layer.rows[places]
            here = found >= 0
            rows = np.concatenate([rows[kept], found[here]])
            scores = np.concatenate([scores[kept], values[here]])
        order = np.argsort(rows, kind="stable")
        return rows[order], scores[order]

    def warm(self) -> None:
        """Make what a request would have to make otherwise."""
        for layer in self._all():
            _ = layer.attributes, layer.words

    def _all(self) -> Iterator[Layer]:
        if len(self.settled):
            yield self.settled
        yield from self.recent


def _belong(older: Layer, newer: Layer) -> bool:
    """Layers of about one size are merged, so that a record is merged a few times only."""
    return len(older) <= 2 * len(newer) and len(older) + len(newer) <= MERGED


def _records(layers: Sequence[Layer]) -> dict[int, Record | None]:
    every: dict[int, Record | None] = {}
    for layer in layers:
        every.update(zip(layer.rows.tolist(), layer.records, strict=True))
    every.pop(-1, None)
    return every


def _merged(fields: tuple[Field, ...], layers: Sequence[Layer]) -> Layer:
    return Layer.of(fields, _records(layers))


def _renumbered(layer: Layer, number: Mapping[int, int], gone: frozenset[int]) -> Layer:
    rows = [-1 if row in gone else number.get(row, row) for row in layer.rows.tolist()]
    moved = replace(layer, rows=np.array(rows, np.int32))
    for made in ("attributes", "words"):
        if made in layer.__dict__:
            moved.__dict__[made] = layer.__dict__[made]
    return moved
