"""The canonical data set: a folder with `dataset.toml` and one table per file, and its columns in memory.

| file | columns |
|---|---|
| `dataset.toml` | `name`, `event_kinds`, `placements`, `order`; the attributes' kinds in `[item_fields]` and `[user_fields]` |
| `events` | `user_id`, `item_id`, `event`, `timestamp` (ms); perhaps `value`, `placement`, `session_id`, `part` |
| `items` | `item_id`; perhaps `available`, `created_at` (ms), `bid_micros`, `currency`, `advertiser_id`; one column per attribute, `title` among them |
| `users` | `user_id`; one column per attribute |
| `impressions` | `request_id`, `user_id`, `item_id`, `position`, `timestamp` (ms), `clicked`; perhaps `propensity`, `bid_micros`, `market_price_micros`, `placement`, `pctr` and `bundle_version` of the answer (`cascada impressions` makes it of a service's logs) |
| `relations` | `item_id`, `related_id`, `relation` (`similar` or `complementary`): known from elsewhere, to judge lists by; never trained on |
| `queries` | perhaps `user_id`; `query` (text), `item_id` taken from the results, `timestamp` (ms); `cascada queries` makes it of a service's logs |

Only `dataset.toml` and `events` are required. Tables are Parquet (a set is `list<string>`) or CSV (members of a set
are joined by a bar); each row is checked. Ids are strings of 1 to 256 characters without control characters.

`order` says how much of the timestamps is real: `time` (all, the default), `sequence` (only the order of a user's
events; the spans between them are made up), or `none` (a user's events are a set). `part` is `train`, `validation` or
`test` in every row, where the data set brings its own split: `split.protocol = "given"` follows it.
"""  # noqa: E501

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.artifacts import atomic_folder
from models.data.columns import ABSENT, PARTS, RELATIONS, Dataset, Impressions, Queries, Relations
from models.data.mapping import (
    TABLES,
    Attribute,
    DatasetMapping,
    TableMapping,
    as_order,
    as_text,
    parse_fields,
)
from models.data.problems import DataError, Problems
from models.data.reader import read_dataset
from models.data.tables import find_table, read_header
from models.data.vocabulary import build_schema
from models.schema import FieldKind

__all__ = [
    "Dataset",
    "Impressions",
    "Queries",
    "Relations",
    "build_schema",
    "load_dataset",
    "write_dataset",
]

DATASET_TOML = "dataset.toml"

_ARROW = {
    FieldKind.CATEGORY: pa.string(),
    FieldKind.TEXT: pa.string(),
    FieldKind.SET: pa.list_(pa.string()),
    FieldKind.NUMBER: pa.float64(),
}
_FIELDS = {"items": "item_fields", "users": "user_fields"}


def load_dataset(folder: str | Path) -> Dataset:
    """Read a canonical folder.

    Raises:
        DataError: no such folder, a wrong declaration, a missing column, or bad rows (the first are listed).
    """
    folder = Path(folder)
    problems = Problems()
    dataset = read_dataset(*_describe(folder), problems)
    problems.refuse()
    return dataset


def write_dataset(folder: str | Path, dataset: Dataset, beside: Callable[[Path], None] | None = None) -> None:
    """Write a canonical folder, whole or not at all; loading it gives an equal data set.

    `beside` is given the folder while it is in the making, to put files of its own there.

    Raises:
        FileExistsError: the folder exists already.
    """
    with atomic_folder(Path(folder)) as temporary:
        (temporary / DATASET_TOML).write_text(_declaration(dataset), encoding="utf-8")
        for name, table in _tables(dataset).items():
            pq.write_table(table, temporary / f"{name}.parquet", compression="zstd")
        if beside:
            beside(temporary)


def _describe(folder: Path) -> tuple[DatasetMapping, dict[str, Path]]:
    """The mapping of a canonical folder, column by its own name, and its files."""
    declaration = folder / DATASET_TOML
    try:
        raw = tomllib.loads(declaration.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder}: no {DATASET_TOML}; a canonical data set has one (see `cascada data import --help`)"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{declaration}: {error}") from error
    known = ("name", "event_kinds", "placements", "order", "item_fields", "user_fields")
    if unknown := sorted(set(raw) - set(known)):
        raise DataError(f"{declaration}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    files = {name: path for name in TABLES if (path := find_table(folder, name))}
    if "events" not in files:
        raise DataError(f"{folder}: no events.parquet or events.csv")
    mapping = DatasetMapping(
        name=as_text(raw.get("name", folder.name), f"{declaration}: name"),
        tables={name: _own_columns(name, path, raw, declaration) for name, path in files.items()},
        event_kinds={kind: kind for kind in _texts(raw, "event_kinds", declaration)},
        placements=_texts(raw, "placements", declaration),
        order=as_order(raw.get("order", "time"), f"{declaration}: order"),
    )
    return mapping, files


def _texts(raw: Mapping[str, Any], key: str, declaration: Path) -> tuple[str, ...]:
    values = raw.get(key, [])
    if not isinstance(values, list):
        raise DataError(f"{declaration}: {key}: expected a list, found {values!r}")
    return tuple(as_text(value, f"{declaration}: {key}") for value in values)


def _own_columns(name: str, path: Path, raw: Mapping[str, Any], declaration: Path) -> TableMapping:
    where = f"{declaration}: {_FIELDS.get(name, name)}"
    declared = parse_fields(raw.get(_FIELDS.get(name, ""), {}), TABLES[name], where)
    header = read_header(path)
    if undeclared := sorted(set(header) - set(TABLES[name]) - set(declared)):
        raise DataError(f"{path}: column {undeclared[0]!r} is not declared in {declaration}")
    return TableMapping(
        columns={column: column for column in TABLES[name] if column in header},
        attributes={field: Attribute(field, kind) for field, kind in declared.items()},
    )


def _declaration(dataset: Dataset) -> str:
    """`dataset.toml`; JSON strings and arrays of strings are TOML too."""
    lines = [
        f"name = {_toml(dataset.name)}",
        f"event_kinds = {_toml(list(dataset.event_kinds))}",
        f"placements = {_toml(list(dataset.placements))}",
        f"order = {_toml(dataset.order)}",
    ]
    for table, fields in (("item_fields", dataset.item_fields), ("user_fields", dataset.user_fields)):
        lines += [
            "",
            f"[{table}]",
            *(f"{_toml(name)} = {_toml(kind.value)}" for name, kind in fields.items()),
        ]
    return "\n".join(lines) + "\n"


def _toml(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _tables(dataset: Dataset) -> dict[str, Any]:
    users, items = pa.array(dataset.user_ids, pa.string()), pa.array(dataset.item_ids, pa.string())
    tables = {
        "events": _events_table(dataset, users, items),
        "items": pa.table(
            {
                "item_id": items,
                "available": dataset.item_available,
                "created_at": _nullable(dataset.item_created_ms, dataset.item_created_ms == 0),
                "bid_micros": _nullable(dataset.item_bid_micros, dataset.item_bid_micros == ABSENT),
                **_offers(dataset),
                **_attributes(dataset.item_fields, dataset.item_records),
            }
        ),
        "users": pa.table({"user_id": users, **_attributes(dataset.user_fields, dataset.user_records)}),
    }
    if dataset.impressions is not None:
        tables["impressions"] = _impressions_table(dataset.impressions, users, items, dataset.placements)
    if dataset.queries is not None:
        tables["queries"] = _queries_table(dataset.queries, users, items)
    if dataset.relations is not None:
        tables["relations"] = _relations_table(dataset.relations, items)
    return tables


def _events_table(dataset: Dataset, users: Any, items: Any) -> Any:
    columns = {
        "user_id": users.take(pa.array(dataset.event_user)),
        "item_id": items.take(pa.array(dataset.event_item)),
        "event": _named(dataset.event_kind, dataset.event_kinds),
        "timestamp": dataset.event_time_ms,
        "value": _nullable(dataset.event_value, np.isnan(dataset.event_value)),
        "placement": _named(dataset.event_placement, dataset.placements),
        "session_id": _named(dataset.event_session, dataset.session_ids),
    }
    if dataset.event_part is not None:
        columns["part"] = _named(dataset.event_part, PARTS)
    return pa.table(columns)


def _impressions_table(shown: Impressions, users: Any, items: Any, placements: tuple[str, ...]) -> Any:
    more = {} if shown.placement is None else {"placement": _named(shown.placement, placements)}
    if shown.pctr is not None:
        more["pctr"] = _nullable(shown.pctr, np.isnan(shown.pctr))
    if shown.bundle is not None:
        more["bundle_version"] = _named(shown.bundle, shown.bundle_versions)
    return pa.table(
        {
            "request_id": _named(shown.request, shown.request_ids),
            "user_id": users.take(_nullable(shown.user, shown.user == ABSENT)),
            "item_id": items.take(pa.array(shown.item)),
            "position": shown.position,
            "timestamp": shown.time_ms,
            "clicked": shown.clicked,
            "propensity": _nullable(shown.propensity, np.isnan(shown.propensity)),
            "bid_micros": _nullable(shown.bid_micros, shown.bid_micros == ABSENT),
            "market_price_micros": _nullable(shown.market_price_micros, shown.market_price_micros == ABSENT),
            **more,
        }
    )


def _queries_table(asked: Queries, users: Any, items: Any) -> Any:
    return pa.table(
        {
            "user_id": users.take(_nullable(asked.user, asked.user == ABSENT)),
            "query": pa.array(asked.text, pa.string()),
            "item_id": items.take(pa.array(asked.item)),
            "timestamp": asked.time_ms,
        }
    )


def _relations_table(known: Relations, items: Any) -> Any:
    return pa.table(
        {
            "item_id": items.take(pa.array(known.item)),
            "related_id": items.take(pa.array(known.related)),
            "relation": _named(known.relation, RELATIONS),
        }
    )


def _attributes(fields: Mapping[str, FieldKind], records: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: pa.array([record.get(name) for record in records], _ARROW[kind])
        for name, kind in fields.items()
    }


def _offers(dataset: Dataset) -> dict[str, Any]:
    columns = {"currency": dataset.item_currency, "advertiser_id": dataset.item_advertiser}
    return {name: pa.array(values, pa.string()) for name, values in columns.items() if values}


def _nullable(values: NDArray[Any], absent: NDArray[np.bool_]) -> Any:
    return pa.array(values, mask=absent)


def _named(index: NDArray[Any], names: tuple[str, ...] | list[str]) -> Any:
    return pa.array(list(names), pa.string()).take(_nullable(index, index < 0))
