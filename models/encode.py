"""From raw records to the integer arrays that the models read. Numpy only: training and serving share it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import Field, FieldKind, Schema

Ints = NDArray[np.int64]
Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

GAP_BUCKETS = 34
"""Spans of time are bucketed by log2 of seconds: 0 = no event, 1 = under a second, 33 = over 68 years."""

_WORD = re.compile(r"\w+", re.UNICODE)


@dataclass(frozen=True, slots=True)
class History:
    """A batch of event histories, oldest first, right-aligned; every array is [B, T].

    `rows` are item rows (0 where `mask` is false: multiply by the mask after a gather), `kind` event-kind
    tokens, `gap` buckets the time to the next event (for the newest: to now), `age` the time to now, `recent`
    marks the events of the last session.
    """

    rows: Rows
    kind: Ints
    gap: Ints
    age: Ints
    recent: Mask
    mask: Mask

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def at(self, index: NDArray[Any] | slice) -> History:
        """The histories at `index` along the batch axis."""
        return History(*(getattr(self, f.name)[index] for f in fields(self)))


def bucket_span(span_ms: Ints) -> Ints:
    """Bucket milliseconds, 1..GAP_BUCKETS - 1; a negative span (a clock that jumped back) counts as none."""
    seconds = np.maximum(span_ms, 0) // 1000
    buckets: Ints = np.minimum(np.ceil(np.log2(seconds + 1)).astype(np.int64) + 1, GAP_BUCKETS - 1)
    return buckets


def encode_histories(
    schema: Schema, rows: Rows, kinds: Ints, timestamps: Ints, mask: Mask, now_ms: Ints
) -> History:
    """Encode right-aligned histories [B, T] as seen at `now_ms` [B]; timestamps are milliseconds."""
    newer = np.concatenate([timestamps[:, 1:], now_ms[:, None]], axis=1)
    # A session is the newest run of events without a pause; the pause before `now` does not end it, so
    # that a returning user still has a last session.
    pause = (newer - timestamps) > schema.session_gap_ms
    pause[:, -1] = False
    recent = ~np.logical_or.accumulate(pause[:, ::-1], axis=1)[:, ::-1]
    spans = np.empty((2, *newer.shape), np.int64)
    np.subtract(newer, timestamps, out=spans[0])
    np.subtract(now_ms[:, None], timestamps, out=spans[1])
    gap, age = bucket_span(spans) * mask
    return History(
        rows=(rows * mask).astype(np.int32, copy=False),
        kind=(kinds * mask).astype(np.int64, copy=False),
        gap=gap,
        age=age,
        recent=recent & mask,
        mask=mask,
    )


def encode_history(schema: Schema, rows: Rows, kinds: Ints, timestamps: Ints, now_ms: int) -> History:
    """One user's events (any length, oldest first) as a batch of one; without any, T = 1 and no mask."""
    keep = slice(-schema.history_length, None)
    if len(rows) == 0:
        empty = np.zeros((1, 1), np.int64)
        return encode_histories(
            schema, empty.astype(np.int32), empty, empty, empty.astype(bool), np.array([now_ms])
        )
    return encode_histories(
        schema,
        rows[None, keep].astype(np.int32),
        kinds[None, keep].astype(np.int64),
        timestamps[None, keep].astype(np.int64),
        np.ones((1, min(len(rows), schema.history_length)), bool),
        np.array([now_ms]),
    )


def kind_tokens(schema: Schema, kinds: Sequence[str]) -> Ints:
    """Event-kind tokens; an unknown kind is 0."""
    lookup = {kind: token for token, kind in enumerate(schema.event_kinds, start=1)}
    return np.fromiter(map(lookup.get, kinds, repeat(0)), np.int64, len(kinds))


def text_grams(text: str) -> list[str]:
    """Lower-case words, then their character trigrams with word marks, in order."""
    words = _WORD.findall(text.lower())
    grams = list(words)
    for word in words:
        marked = f"<{word}>"
        grams.extend(marked[i : i + 3] for i in range(len(marked) - 2))
    return grams


def field_tokens(field: Field, value: Any) -> list[int]:
    """Tokens of one attribute value, at most `field.width`; an absent or unknown value has none.

    Raises:
        TypeError, ValueError: a number field holds something that is not a number.
    """
    if value is None:
        return []
    if field.kind is FieldKind.TEXT:
        grams = text_grams(str(value))[: field.width]
        return [1 + zlib.crc32(gram.encode()) % field.hash_size for gram in grams]
    if field.kind is FieldKind.NUMBER:
        number = float(value)
        return [] if np.isnan(number) else [1 + int(np.searchsorted(field.edges, number, side="right"))]
    values = value if field.kind is FieldKind.SET and not isinstance(value, str) else [value]
    tokens = [field.token_of.get(str(v), 0) for v in values]
    return [token for token in tokens if token][: field.width]


def encode_records(schema_fields: Sequence[Field], records: Sequence[Mapping[str, Any]]) -> Ints:
    """Tokens [n, sum of widths] of n attribute records; 0 pads. Tokens of a field start at its own offset.

    Field f's tokens 1.. are shifted by the sizes of the fields before it, so that one embedding table serves
    all fields.
    """
    out = np.zeros((len(records), total_width(schema_fields)), np.int64)
    column, offset = 0, 0
    for field in schema_fields:
        for row, record in enumerate(records):
            tokens = field_tokens(field, record.get(field.name))
            out[row, column : column + len(tokens)] = [offset + token for token in tokens]
        column += field.width
        offset += field.size
    return out


def total_width(schema_fields: Sequence[Field]) -> int:
    """Token columns of one record; at least one, so that no array is empty."""
    return sum(field.width for field in schema_fields) or 1


def total_size(schema_fields: Sequence[Field]) -> int:
    """Rows of the embedding table that serves all fields."""
    return sum(field.size for field in schema_fields) or 1


CROSS = ("tower", "interest", "similar", "popular", "prerank", "factors", "fused")
"""Columns that the ranker reads per candidate, each a pure function of user state and item:

tower     user vector . item vector           interest  best interest query . item vector
similar   summed similarity to recent events  popular   log1p of the placement's decayed event count
prerank   best pre-rank interest . item vector
factors   user factors . item factors, 0 without either
fused     reciprocal-rank fusion of the personal sources (`retrieval.fusion.places`), 0 if none proposed it

New ones come last: a graph of an older bundle reads the first columns only.
"""


def cross_features(columns: Mapping[str, Floats]) -> Floats:
    """Stack the `CROSS` columns, each [N], to [N, X] float32."""
    return np.array([columns[name] for name in CROSS], np.float32).T.copy()
