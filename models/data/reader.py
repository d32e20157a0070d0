"""Files and a mapping -> the data set in memory, every row checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.columns import (
    ABSENT,
    PARTS,
    RELATIONS,
    Dataset,
    Impressions,
    Queries,
    Relations,
    time_order,
)
from models.data.entities import Entities, no_entities, read_entities
from models.data.mapped import MappedTable, Names, rows_of
from models.data.mapping import DatasetMapping
from models.data.problems import DataError, Problems
from models.schema import FieldKind

LONGEST_QUERY = 10_000
"""Characters of a query at most, as the service takes them."""


def read_dataset(mapping: DatasetMapping, files: Mapping[str, Path], problems: Problems) -> Dataset:
    """Read the tables `files`: events, perhaps the others of `models.data.mapping.TABLES`. Bad rows are left
    out.

    Raises:
        DataError: a file or a mapped column is missing, or no good event is left.
    """
    tables = {name: _open(name, path, mapping, problems) for name, path in files.items()}
    items = read_entities(tables["items"], "item_id") if "items" in tables else no_entities()
    users = read_entities(tables["users"], "user_id") if "users" in tables else no_entities()
    events = _read_events(tables["events"], mapping)
    placements = events.placements
    shown = None
    if "impressions" in tables:
        placements, shown = _read_impressions(tables["impressions"], placements)
    asked = _read_queries(tables["queries"]) if "queries" in tables else None
    known = _read_relations(tables["relations"]) if "relations" in tables else None
    if not len(events.time_ms):
        raise DataError("\n".join([*problems.listing(), f"{files['events']}: no usable event"]))

    beside = [columns for columns in (shown, asked) if columns]
    users = users.extended(events.user, *(columns["user"].drop_null() for columns in beside))
    pairs = [known["item"], known["related"]] if known else []
    items = items.extended(events.item, *(columns["item"] for columns in beside), *pairs)
    return Dataset(
        name=mapping.name,
        item_fields=_fields(mapping, "items"),
        user_fields=_fields(mapping, "users"),
        item_ids=items.ids.to_pylist(),
        item_records=items.records,
        item_created_ms=items.created_ms,
        item_available=items.available,
        item_bid_micros=items.bid_micros,
        item_currency=items.currency if any(items.currency) else [],
        item_advertiser=items.advertiser if any(items.advertiser) else [],
        user_ids=users.ids.to_pylist(),
        user_records=users.records,
        event_kinds=events.kinds,
        event_user=rows_of(events.user, users.ids),
        event_item=rows_of(events.item, items.ids),
        event_kind=events.kind,
        event_time_ms=events.time_ms,
        event_value=events.value,
        placements=placements,
        event_placement=events.placement,
        session_ids=events.session_ids,
        event_session=events.session,
        event_part=events.part,
        order=mapping.order,
        impressions=_impressions(shown, users, items) if shown else None,
        queries=_queries(asked, users, items) if asked else None,
        relations=_relations(known, items) if known else None,
    )


@dataclass(frozen=True, slots=True)
class _Events:
    """The good events in order of time; `user` and `item` are Arrow strings."""

    user: Any
    item: Any
    time_ms: NDArray[np.int64]
    value: NDArray[np.float32]
    session_ids: list[str]
    session: NDArray[np.int32]
    placements: Names
    placement: NDArray[np.int16]
    kinds: Names
    kind: NDArray[np.int16]
    part: NDArray[np.int8] | None


def _open(name: str, path: Path, mapping: DatasetMapping, problems: Problems) -> MappedTable:
    if name not in mapping.tables:
        raise DataError(f"{path}: the mapping has no [{name}] table")
    return MappedTable(path, mapping.tables[name], problems)


def _read_events(table: MappedTable, mapping: DatasetMapping) -> _Events:
    user, item = table.ids("user_id"), table.ids("item_id")
    time_ms = table.times("timestamp")
    value = table.numbers("value").astype(np.float32)
    kinds, kind = _event_kinds(table, mapping)
    placements, placement = table.names("placement", mapping.placements or ("default",))
    session_ids, session = table.groups("session_id")
    part = _parts(table)
    good = table.finish()
    order = np.flatnonzero(good)[time_order(time_ms[good])]
    return _Events(
        user=user.take(pa.array(order)),
        item=item.take(pa.array(order)),
        time_ms=time_ms[order],
        value=value[order],
        session_ids=session_ids,
        session=session[order],
        placements=placements,
        placement=placement[order],
        kinds=kinds,
        kind=kind[order],
        part=None if part is None else part[order],
    )


def _event_kinds(table: MappedTable, mapping: DatasetMapping) -> tuple[Names, NDArray[np.int16]]:
    """The canonical kinds and each event's index into them; `ABSENT` in a bad row."""
    default = mapping.default_event
    names, index = table.names("event", (default or "",), optional=default is not None)
    if default is None:
        table.reject("event", index == 0, "missing")
    renamed = [mapping.event_kinds.get(name, name) for name in names]
    kinds = tuple(dict.fromkeys(mapping.event_kinds.values() or [name for name in renamed if name]))
    if default is not None and renamed[0] not in kinds:
        raise DataError(f"default_event {default!r} is not one of the event kinds {', '.join(kinds)}")
    token = np.array([kinds.index(name) if name in kinds else ABSENT for name in renamed], np.int16)[index]
    if table.has("event"):
        table.reject("event", (token == ABSENT) & (index > 0), f"not one of {', '.join(kinds)}")
    return kinds, token


def _parts(table: MappedTable) -> NDArray[np.int8] | None:
    """Each event's index into `PARTS`; None where the data set brings no split."""
    if not table.has("part"):
        return None
    _, index = table.names("part", ("", *PARTS))
    table.reject("part", index == 0, "missing")
    table.reject("part", index > len(PARTS), f"not one of {', '.join(PARTS)}")
    return (index - 1).astype(np.int8)


def _read_impressions(table: MappedTable, placements: Names) -> tuple[Names, dict[str, Any]]:
    """The placements of events and impressions, and good rows in order of time; users and items as ids."""
    columns: dict[str, Any] = {
        "request": table.ids("request_id"),
        "user": table.ids("user_id", required=False),
        "item": table.ids("item_id"),
        "position": table.counts("position", required=True),
        "time_ms": table.times("timestamp"),
        "clicked": table.required_flags("clicked"),
        "propensity": table.shares("propensity"),
        "bid_micros": table.counts("bid_micros"),
        "market_price_micros": table.counts("market_price_micros"),
    }
    if table.has("placement"):
        placements, columns["placement"] = table.names("placement", placements)
    if table.has("pctr"):
        columns["pctr"] = table.shares("pctr")
    if table.has("bundle_version"):
        columns["bundle_versions"], columns["bundle"] = table.names("bundle_version", ("",))
    return placements, _in_order(columns, table)


def _read_queries(table: MappedTable) -> dict[str, Any]:
    """Good rows in order of time; users and items as ids."""
    columns: dict[str, Any] = {
        "user": table.ids("user_id", required=False) if table.has("user_id") else _nobody(len(table)),
        "text": table.texts("query", LONGEST_QUERY),
        "item": table.ids("item_id"),
        "time_ms": table.times("timestamp"),
    }
    return _in_order(columns, table)


def _read_relations(table: MappedTable) -> dict[str, Any]:
    """Good rows as they stand; items as ids."""
    item, related = table.ids("item_id"), table.ids("related_id")
    _, relation = table.names("relation", ("", *RELATIONS), optional=False)
    table.reject("relation", relation == 0, "missing")
    table.reject("relation", relation > len(RELATIONS), f"not one of {', '.join(RELATIONS)}")
    table.reject(
        "related_id", pc.fill_null(pc.equal(item, related), False).to_numpy(False), "the item itself"
    )
    good = np.flatnonzero(table.finish())
    rows = pa.array(good)
    return {"item": item.take(rows), "related": related.take(rows), "relation": relation[good]}


def _in_order(columns: Mapping[str, Any], table: MappedTable) -> dict[str, Any]:
    """The good rows by time, which closes the table."""
    good = np.flatnonzero(table.finish())
    order = good[time_order(columns["time_ms"][good])]
    return {
        name: values
        if isinstance(values, tuple)
        else values[order]
        if isinstance(values, np.ndarray)
        else values.take(pa.array(order))
        for name, values in columns.items()
    }


def _nobody(count: int) -> Any:
    return pa.nulls(count, pa.string())


def _queries(columns: Mapping[str, Any], users: Entities, items: Entities) -> Queries:
    return Queries(
        text=columns["text"].to_pylist(),
        user=rows_of(columns["user"], users.ids),
        item=rows_of(columns["item"], items.ids),
        time_ms=columns["time_ms"],
    )


def _relations(columns: Mapping[str, Any], items: Entities) -> Relations:
    """Each pair once per relation, where it stands first."""
    item, related = rows_of(columns["item"], items.ids), rows_of(columns["related"], items.ids)
    relation = columns["relation"].astype(np.int64) - 1
    cell = (item.astype(np.int64) * len(items.ids) + related) * len(RELATIONS) + relation
    first = np.sort(np.unique(cell, return_index=True)[1])
    return Relations(item[first], related[first], relation[first].astype(np.int8))


def _impressions(columns: Mapping[str, Any], users: Entities, items: Entities) -> Impressions:
    request_ids = pc.unique(columns["request"])
    return Impressions(
        request_ids=request_ids.to_pylist(),
        request=rows_of(columns["request"], request_ids),
        user=rows_of(columns["user"], users.ids),
        item=rows_of(columns["item"], items.ids),
        position=columns["position"].astype(np.int32),
        time_ms=columns["time_ms"],
        clicked=columns["clicked"],
        propensity=columns["propensity"].astype(np.float32),
        bid_micros=columns["bid_micros"],
        market_price_micros=columns["market_price_micros"],
        placement=columns.get("placement"),
        pctr=columns.get("pctr"),
        bundle_versions=list(columns.get("bundle_versions", ())),
        bundle=columns.get("bundle"),
    )


def _fields(mapping: DatasetMapping, table: str) -> dict[str, FieldKind]:
    entry = mapping.tables.get(table)
    return {name: attribute.kind for name, attribute in entry.attributes.items()} if entry else {}
