"""Files and a mapping -> the data set in memory, every row checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.data.checked import CheckedTable
from models.data.columns import ABSENT, Dataset, Impressions, time_order
from models.data.mapping import Attribute, DatasetMapping, TableMapping
from models.data.problems import DataError, Problems
from models.data.tables import read_table
from models.schema import FieldKind

Records = list[dict[str, Any]]


def read_dataset(mapping: DatasetMapping, files: Mapping[str, Path], problems: Problems) -> Dataset:
    """Read the tables `files` (events, perhaps items, users, impressions); bad rows are noted and left out.

    Raises:
        DataError: a file or a mapped column is missing, or no good event is left.
    """
    events = _Reader(files["events"], mapping.tables["events"], problems)
    items = _optional(files, mapping, "items", problems)
    users = _optional(files, mapping, "users", problems)
    shown = _optional(files, mapping, "impressions", problems)

    item_table = items.entities("item_id") if items else _no_entities()
    user_table = users.entities("user_id") if users else _no_entities()
    event_users, event_items = events.ids("user_id"), events.ids("item_id")
    kinds, kind = _event_kinds(events, mapping)
    time_ms = events.times("timestamp")
    value = events.numbers("value").astype(np.float32)
    placements, placement = events.names("placement", mapping.placements or ("default",))
    session_ids, session = events.optional_ids("session_id")
    good = events.finish()
    if not good.any():
        raise DataError("\n".join([*problems.listing(), f"{files['events']}: no usable event"]))

    impressions = shown.impressions() if shown else None
    seen_users, seen_items = [event_users.filter(good)], [event_items.filter(good)]
    if impressions:
        seen_users.append(impressions["user"].drop_null())
        seen_items.append(impressions["item"])
    user_ids, user_records = _extend(user_table, seen_users)
    item_ids, item_records = _extend(item_table, seen_items)

    order = np.flatnonzero(good)[time_order(time_ms[good])]
    return Dataset(
        name=mapping.name,
        item_fields=_kinds(mapping, "items"),
        user_fields=_kinds(mapping, "users"),
        item_ids=item_ids.to_pylist(),
        item_records=item_records,
        item_created_ms=_padded(item_table["created_ms"], len(item_ids), 0),
        item_available=_padded(item_table["available"], len(item_ids), True),
        item_bid_micros=_padded(item_table["bid_micros"], len(item_ids), ABSENT),
        user_ids=user_ids.to_pylist(),
        user_records=user_records,
        event_kinds=kinds,
        event_user=_rows(event_users, user_ids)[order],
        event_item=_rows(event_items, item_ids)[order],
        event_kind=kind[order],
        event_time_ms=time_ms[order],
        event_value=value[order],
        placements=placements,
        event_placement=placement[order],
        session_ids=session_ids,
        event_session=session[order],
        impressions=_impressions(impressions, user_ids, item_ids) if impressions else None,
    )


class _Reader:
    """One table read through its mapping; columns that the mapping or the file lacks give their default."""

    def __init__(self, path: Path, mapping: TableMapping, problems: Problems) -> None:
        self._table = CheckedTable(read_table(path, problems), problems)
        self._mapping = mapping
        self._length = len(self._table.good)
        self._path = path

    def source(self, name: str) -> str | None:
        """The file's name of a canonical column."""
        return self._mapping.columns.get(name)

    def required(self, name: str) -> str:
        column = self.source(name)
        if column is None:
            raise DataError(f"{self._path}: the mapping names no column for {name!r}")
        return column

    def ids(self, name: str) -> Any:
        return self._table.ids(self.required(name))

    def times(self, name: str) -> NDArray[np.int64]:
        return self._table.times(self.required(name), self._mapping.time_unit)

    def numbers(self, name: str) -> NDArray[np.float64]:
        column = self.source(name)
        return self._table.numbers(column) if column else np.full(self._length, np.nan)

    def integers(self, name: str) -> NDArray[np.int64]:
        column = self.source(name)
        return self._table.integers(column, ABSENT) if column else np.full(self._length, ABSENT, np.int64)

    def names(self, name: str, default: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.int16]]:
        """A column of few distinct names: the names (the default's first) and an index into them [n]."""
        column = self.source(name)
        if column is None:
            return default, np.zeros(self._length, np.int16)
        values = pc.fill_null(self._table.ids(column, required=False), default[0])
        found = sorted(set(pc.unique(values.filter(pa.array(self._table.good))).to_pylist()) - set(default))
        known = (*default, *found)
        index = pc.fill_null(pc.index_in(values, pa.array(known)), 0)
        return known, index.to_numpy().astype(np.int16)

    def optional_ids(self, name: str) -> tuple[list[str], NDArray[np.int32]]:
        column = self.source(name)
        if column is None:
            return [], np.full(self._length, ABSENT, np.int32)
        values = self._table.ids(column, required=False)
        known = pc.unique(values.filter(pa.array(self._table.good))).drop_null()
        return known.to_pylist(), pc.fill_null(pc.index_in(values, known), ABSENT).to_numpy().astype(np.int32)

    def finish(self) -> NDArray[np.bool_]:
        return self._table.finish()

    def reject(self, name: str, wrong: NDArray[np.bool_], reason: str) -> None:
        self._table.reject(self.required(name), wrong, reason)

    def entities(self, id_name: str) -> dict[str, Any]:
        """Items or users: ids, records and, of items, the columns of their own; good rows only."""
        ids = self._table.unique_ids(self.required(id_name))
        created, available = self.source("created_at"), self.source("available")
        columns = {
            "created_ms": self._table.times(created, self._mapping.time_unit, required=False)
            if created
            else np.zeros(self._length, np.int64),
            "available": self._table.flags(available, True) if available else np.ones(self._length, bool),
            "bid_micros": self.integers("bid_micros"),
        }
        attributes = {name: self._attribute(entry) for name, entry in self._mapping.attributes.items()}
        good = self.finish()
        records: Records = [
            {name: values[row] for name, values in attributes.items() if values[row] is not None}
            for row in np.flatnonzero(good).tolist()
        ]
        kept = {name: column[good] for name, column in columns.items()}
        return {"ids": ids.filter(pa.array(good)), "records": records, **kept}

    def impressions(self) -> dict[str, Any]:
        """Good rows in order of time; users and items as ids."""
        columns: dict[str, Any] = {
            "request": self.ids("request_id"),
            "user": self._table.ids(self.required("user_id"), required=False),
            "item": self.ids("item_id"),
            "position": self._table.integers(self.required("position"), ABSENT),
            "time_ms": self.times("timestamp"),
            "clicked": self._table.flags(self.required("clicked"), False),
            "propensity": self.numbers("propensity"),
            "bid_micros": self.integers("bid_micros"),
            "market_price_micros": self.integers("market_price_micros"),
        }
        self.reject("position", columns["position"] == ABSENT, "missing")
        if self.source("propensity"):
            outside = ~np.isnan(columns["propensity"]) & (
                (columns["propensity"] <= 0) | (columns["propensity"] > 1)
            )
            self.reject("propensity", outside, "not in (0, 1]")
        good = np.flatnonzero(self.finish())
        order = good[time_order(columns["time_ms"][good])]
        return {
            name: values[order] if isinstance(values, np.ndarray) else values.take(pa.array(order))
            for name, values in columns.items()
        }

    def _attribute(self, entry: Attribute) -> list[Any]:
        if entry.kind is FieldKind.SET:
            return self._table.sets(entry.column, entry.separator)
        if entry.kind is FieldKind.NUMBER:
            return _plain_numbers(self._table.numbers(entry.column))
        return self._table.texts(entry.column)


def _optional(
    files: Mapping[str, Path], mapping: DatasetMapping, name: str, problems: Problems
) -> _Reader | None:
    if name not in files:
        return None
    if name not in mapping.tables:
        raise DataError(f"{files[name]}: the mapping has no [{name}] table")
    return _Reader(files[name], mapping.tables[name], problems)


def _event_kinds(events: _Reader, mapping: DatasetMapping) -> tuple[tuple[str, ...], NDArray[np.int16]]:
    if events.source("event") is None and mapping.default_event is None:
        raise DataError("the mapping names neither a column for 'event' nor a default_event")
    names, index = events.names("event", (mapping.default_event or "",))
    if events.source("event") and mapping.default_event is None:
        events.reject("event", index == 0, "missing")
    if not mapping.event_kinds:
        kinds = tuple(name for name in names if name)
        return kinds, (index - (len(names) - len(kinds))).astype(np.int16)
    kinds = tuple(dict.fromkeys(mapping.event_kinds.values()))
    renamed = [mapping.event_kinds.get(name, name) for name in names]
    token = np.array([kinds.index(name) if name in kinds else ABSENT for name in renamed], np.int16)
    if events.source("event"):
        events.reject("event", (token[index] == ABSENT) & (index > 0), f"not one of {', '.join(kinds)}")
    return kinds, token[index]


def _plain_numbers(values: NDArray[np.float64]) -> list[float | int | None]:
    """Whole columns of whole numbers are shown as such."""
    given = values[~np.isnan(values)]
    whole = bool(np.all((given == np.floor(given)) & (np.abs(given) < 2**53)))
    return [None if np.isnan(value) else int(value) if whole else value for value in values.tolist()]


def _no_entities() -> dict[str, Any]:
    return {
        "ids": pa.array([], pa.string()),
        "records": [],
        "created_ms": np.zeros(0, np.int64),
        "available": np.zeros(0, bool),
        "bid_micros": np.zeros(0, np.int64),
    }


def _extend(table: Mapping[str, Any], seen: list[Any]) -> tuple[Any, Records]:
    """The table's ids, then those seen only elsewhere by first appearance, with empty records."""
    ids = pc.unique(pa.concat_arrays([table["ids"], *seen]))
    return ids, table["records"] + [{} for _ in range(len(ids) - len(table["records"]))]


def _padded(column: NDArray[Any], length: int, value: int | bool) -> NDArray[Any]:
    return np.concatenate([column, np.full(length - len(column), value, column.dtype)])


def _rows(values: Any, ids: Any) -> NDArray[np.int32]:
    rows: NDArray[np.int32] = pc.fill_null(pc.index_in(values, ids), ABSENT).to_numpy().astype(np.int32)
    return rows


def _kinds(mapping: DatasetMapping, table: str) -> dict[str, FieldKind]:
    entry = mapping.tables.get(table)
    return {name: attribute.kind for name, attribute in entry.attributes.items()} if entry else {}


def _impressions(columns: Mapping[str, Any], user_ids: Any, item_ids: Any) -> Impressions:
    request_ids = pc.unique(columns["request"])
    return Impressions(
        request_ids=request_ids.to_pylist(),
        request=_rows(columns["request"], request_ids),
        user=_rows(columns["user"], user_ids),
        item=_rows(columns["item"], item_ids),
        position=columns["position"].astype(np.int32),
        time_ms=columns["time_ms"],
        clicked=columns["clicked"],
        propensity=columns["propensity"].astype(np.float32),
        bid_micros=columns["bid_micros"],
        market_price_micros=columns["market_price_micros"],
    )
