"""From a caller's request and a user's record to a query in rows: the last place that sees string ids."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encode import encode_history, kind_tokens
from models.masks import every
from models.schema import Schema
from models.text import query_words
from service.attributes import as_labels
from service.cascade.cursor import Cursor, Cursors
from service.cascade.preferences import resolve
from service.cascade.query import NO_ROWS, Floats, Hashes, ItemId, Kind, Query, Request, Rows, User
from service.catalogue import Catalogue
from service.errors import NotFound
from service.features.store import UserRecord
from service.tokens import encode_leniently

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a request has besides its content: its id, the clock, and how much may be spent on it.

    `deadline` is a moment on `time.monotonic()`; `quality` in 0..1 scales how many candidates are ranked.
    """

    request_id: str
    now_ms: int
    deadline: float | None = None
    quality: float = 1.0


def hydrate(
    request: Request,
    record: UserRecord | None,
    moment: Moment,
    schema: Schema,
    catalogue: Catalogue,
    cursors: Cursors,
) -> Query:
    """Turn a request into a query against one snapshot of the catalogue.

    `record` None = nobody asked the store, or it did not answer. Items that the catalogue does not know are
    skipped in events and in `exclude_items`. A search without words is a recommendation. What the user muted
    is left out of recommendations; the other kinds answer what was asked for.

    Raises:
        CallerError: the filter, a boost, a cap, the field of own items or the cursor cannot be.
        NotFound: `similar` or `complementary` starts from an unknown item.
    """
    record = record or UserRecord()
    text = request.text if query_words(request.text or "") else None
    kind = Kind.RECOMMEND if request.kind is Kind.SEARCH and text is None else request.kind
    page = cursors.read(request) if request.cursor is not None else Cursor.first(_seed(moment.request_id))
    include_seen = kind is not Kind.RECOMMEND if request.include_seen is None else request.include_seen
    return Query(
        request_id=moment.request_id,
        kind=kind,
        now_ms=moment.now_ms,
        user_id=request.user_id,
        user=_user(request, record, moment.now_ms, schema, catalogue),
        placement=_placement(request.placement, schema),
        placement_name=request.placement,
        count=request.count,
        seed=page.seed,
        offset=len(page.trail),
        shown=catalogue.rows_of_hashes(page.trail) if len(page.trail) else NO_ROWS,
        trail=page.trail,
        exclude=_known(catalogue.rows_of(request.exclude_items)) if request.exclude_items else NO_ROWS,
        anchor=_anchor(request, catalogue),
        text=text,
        own=_own(request, record, catalogue),
        caps=tuple(request.caps),
        before=_before(request, page.trail, catalogue),
        rule=_rule(request, catalogue),
        boost=_boost(request, catalogue),
        include_seen=include_seen,
        preferences=resolve(record.preferences, catalogue),
        include_muted=kind is not Kind.RECOMMEND,
        diversity=request.diversity,
        explain=request.explain,
        quality=moment.quality,
        deadline=moment.deadline,
    )


def _user(request: Request, record: UserRecord, now_ms: int, schema: Schema, catalogue: Catalogue) -> User:
    rows, kinds, timestamps = _events(request, record, now_ms, schema, catalogue)
    return User(
        rows=rows,
        kinds=kinds,
        timestamps=timestamps,
        history=encode_history(schema, rows, kinds, timestamps, now_ms),
        profile=encode_leniently(schema.user_fields, [record.attributes])[0],
        known=record.known,
    )


def _events(
    request: Request, record: UserRecord, now_ms: int, schema: Schema, catalogue: Catalogue
) -> tuple[Rows, Longs, Longs]:
    """Stored events, then the session's, by time; of equal times the session's are the newer."""
    session = request.session
    ids, names, times = record.item_ids, record.kinds, record.timestamps_ms
    if session:
        ids = [*ids, *(event.item_id for event in session)]
        names = [*names, *(event.event for event in session)]
        sent = (now_ms if each.timestamp_ms is None else min(each.timestamp_ms, now_ms) for each in session)
        times = [*times, *sent]
    rows, kinds = catalogue.rows_of(ids), kind_tokens(schema, names)
    timestamps = np.array(times, np.int64)
    if every(rows >= 0) and every(timestamps[1:] >= timestamps[:-1]):
        return rows, kinds, timestamps
    order = np.argsort(timestamps, kind="stable")
    order = order[rows[order] >= 0]
    return rows[order], kinds[order], timestamps[order]


def _placement(name: str, schema: Schema) -> int:
    """A placement that the bundle has not seen yet is served as the first one."""
    return schema.placements.index(name) if name in schema.placements else 0


def _anchor(request: Request, catalogue: Catalogue) -> int | None:
    if request.kind not in (Kind.SIMILAR, Kind.COMPLEMENTARY):
        return None
    item_id = request.item_id or ItemId("")
    row = int(catalogue.rows_of([item_id])[0])
    if row < 0 or catalogue.is_deleted(row):
        raise NotFound("item", item_id)
    return row


def _rule(request: Request, catalogue: Catalogue) -> NDArray[np.bool_] | None:
    """What both the caller and the operator let through; None = neither has a rule."""
    rules = catalogue.rules
    own = None if request.filter is None else rules.mask(request.filter)
    if request.placement_filter is None:
        return own
    placed = rules.mask(request.placement_filter, f"placements.{request.placement}.filter")
    return placed if own is None else own & placed


def _boost(request: Request, catalogue: Catalogue) -> Floats | None:
    """The factors of the caller times those of the placement; None = neither has any."""
    rules = catalogue.rules
    own = rules.factors(request.boost) if request.boost else None
    if not request.placement_boost:
        return own
    placed = rules.factors(request.placement_boost, f"placements.{request.placement}.boost")
    return placed if own is None else own * placed


def _own(request: Request, record: UserRecord, catalogue: Catalogue) -> Rows:
    own = request.exclude_own
    if own is None:
        return NO_ROWS
    catalogue.check_label(own.field, "exclude_own.field")
    if own.profile is not None:
        values = as_labels(record.attributes.get(own.profile))
    else:
        values = [] if request.user_id is None else [request.user_id]
    return catalogue.holding(own.field, values) if values else NO_ROWS


def _before(request: Request, trail: Hashes, catalogue: Catalogue) -> Rows:
    """The items of earlier pages that the widest cap looks at, in their order."""
    for i, cap in enumerate(request.caps):
        catalogue.check_label(cap.field, f"caps[{i}].field")
    if not request.caps or len(trail) == 0:
        return NO_ROWS
    widest = max(len(trail) if cap.window is None else cap.window - 1 for cap in request.caps)
    return catalogue.in_order(trail[max(0, len(trail) - widest) :])


def _known(rows: Rows) -> Rows:
    known: Rows = rows[rows >= 0]
    return known


def _seed(request_id: str) -> int:
    return zlib.crc32(request_id.encode())
