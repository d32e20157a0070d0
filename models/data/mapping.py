"""Which column of which file is what: how tables of any shape become the canonical data set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.data.checked import TIME_UNITS
from models.data.columns import ORDERS
from models.data.problems import DataError
from models.schema import FieldKind

EVENT_COLUMNS = ("user_id", "item_id", "event", "timestamp", "value", "placement", "session_id", "part")
ITEM_COLUMNS = ("item_id", "available", "created_at", "bid_micros", "currency", "advertiser_id")
USER_COLUMNS = ("user_id",)
IMPRESSION_COLUMNS = (
    "request_id", "user_id", "item_id", "position", "timestamp", "clicked",
    "propensity", "bid_micros", "market_price_micros", "placement", "pctr", "bundle_version",
)  # fmt: skip
QUERY_COLUMNS = ("user_id", "query", "item_id", "timestamp")
RELATION_COLUMNS = ("item_id", "related_id", "relation")
TABLES = {
    "events": EVENT_COLUMNS,
    "items": ITEM_COLUMNS,
    "users": USER_COLUMNS,
    "impressions": IMPRESSION_COLUMNS,
    "queries": QUERY_COLUMNS,
    "relations": RELATION_COLUMNS,
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of an item or a user: the file's column, its kind, and what separates a set in CSV."""

    column: str
    kind: FieldKind
    separator: str = "|"


@dataclass(frozen=True, slots=True)
class TableMapping:
    """Of one table: the file's column per canonical column, the attributes, and the unit of its times."""

    columns: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    time_unit: str = "ms"


@dataclass(frozen=True, slots=True)
class DatasetMapping:
    """The tables' mappings, the data set's name, and how event names are to be read.

    `event_kinds` maps the file's event name to ours, in the order of the canonical kinds; empty accepts every
    name as it is. `default_event` stands where the events have no such column.
    """

    name: str
    tables: Mapping[str, TableMapping]
    event_kinds: Mapping[str, str] = field(default_factory=dict)
    default_event: str | None = None
    placements: tuple[str, ...] = ()
    order: str = "time"


def parse_mapping(raw: Mapping[str, Any], where: str) -> DatasetMapping:
    """Read a mapping from TOML: see `models.data.importer` for the form.

    Raises:
        DataError: a key is unknown or of the wrong type; the message starts with `where` and the key.
    """
    _known(raw, ("name", "event_kinds", "default_event", "order", *TABLES), where)
    if "events" not in raw:
        raise DataError(f"{where}: no [events] table")
    kinds = _as_table(raw.get("event_kinds", {}), f"{where}: event_kinds")
    return DatasetMapping(
        name=as_text(raw.get("name", "imported"), f"{where}: name"),
        tables={
            table: _parse_table(raw[table], columns, f"{where}: {table}")
            for table, columns in TABLES.items()
            if table in raw
        },
        event_kinds={
            source: as_text(kind, f"{where}: event_kinds.{source}") for source, kind in kinds.items()
        },
        default_event=as_text(raw["default_event"], f"{where}: default_event")
        if "default_event" in raw
        else None,
        order=as_order(raw.get("order", "time"), f"{where}: order"),
    )


def parse_fields(raw: Any, reserved: Collection[str], where: str) -> dict[str, FieldKind]:
    """Attribute kinds by name, as `dataset.toml` declares them.

    Raises:
        DataError: an unknown kind, or a name that the table itself uses.
    """
    _no_clash(_as_table(raw, where), reserved, where)
    return {name: _kind(kind, f"{where}.{name}") for name, kind in raw.items()}


def _no_clash(attributes: Collection[str], reserved: Collection[str], where: str) -> None:
    if clash := sorted(set(attributes) & set(reserved)):
        raise DataError(f"{where}: {clash[0]!r} is a column of the table itself, not an attribute")


def _parse_table(raw: Any, columns: Collection[str], where: str) -> TableMapping:
    has_attributes = columns in (ITEM_COLUMNS, USER_COLUMNS)
    known = (*columns, "time_unit", *(["attributes"] if has_attributes else []))
    _known(_as_table(raw, where), known, where)
    unit = raw.get("time_unit", "ms")
    if unit not in TIME_UNITS:
        raise DataError(f"{where}.time_unit: expected one of {', '.join(TIME_UNITS)}, found {unit!r}")
    attributes = _as_table(raw.get("attributes", {}), f"{where}.attributes")
    _no_clash(attributes, columns, f"{where}.attributes")
    return TableMapping(
        columns={name: as_text(raw[name], f"{where}.{name}") for name in columns if name in raw},
        attributes={name: _attribute(name, value, f"{where}.{name}") for name, value in attributes.items()},
        time_unit=unit,
    )


def _attribute(name: str, raw: Any, where: str) -> Attribute:
    _known(_as_table(raw, where), ("column", "kind", "separator"), where)
    return Attribute(
        column=as_text(raw.get("column", name), f"{where}.column"),
        kind=_kind(raw.get("kind"), f"{where}.kind"),
        separator=as_text(raw.get("separator", "|"), f"{where}.separator"),
    )


def _kind(raw: Any, where: str) -> FieldKind:
    try:
        return FieldKind(raw)
    except ValueError:
        known = ", ".join(FieldKind)
        raise DataError(f"{where}: expected a kind out of {known}; found {raw!r}") from None


def as_order(raw: Any, where: str) -> str:
    """How much of the times is real: one of `ORDERS`.

    Raises:
        DataError: anything else; the message starts with `where`.
    """
    if raw not in ORDERS:
        raise DataError(f"{where}: expected one of {', '.join(ORDERS)}, found {raw!r}")
    return str(raw)


def as_text(raw: Any, where: str) -> str:
    """A text that is not empty.

    Raises:
        DataError: anything else; the message starts with `where`.
    """
    if not isinstance(raw, str) or not raw:
        raise DataError(f"{where}: expected a text, found {raw!r}")
    return raw


def _as_table(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise DataError(f"{where}: expected a table, found {raw!r}")
    return raw


def _known(raw: Mapping[str, Any], known: Collection[str], where: str) -> None:
    if unknown := sorted(set(raw) - set(known)):
        raise DataError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
