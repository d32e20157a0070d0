"""`cascada check`: open a bundle as serving does, and say what is in it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.artifacts import BundleError
from models.schema import Field, FieldKind
from retrieval.index_card import measured
from retrieval.index_queries import real_queries
from service.bundle import Bundle

Line = tuple[str, str]


def main(argv: list[str]) -> int:
    """Run `cascada check ARGV`; 0 = the bundle can be served, 2 = it cannot, with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        bundle = Bundle.open(arguments.bundle)
    except BundleError as error:
        print(f"cascada check: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    lines = [*contents(bundle), *([recall(bundle)] if arguments.recall else [])]
    print("\n".join(f"{name:<16} {value}" for name, value in lines))
    print("hashes, schema and recorded answers agree")
    return 0


def contents(bundle: Bundle) -> Iterator[Line]:
    """What is in a bundle, as lines of a name and a value."""
    manifest, schema, plan = bundle.manifest, bundle.schema, bundle.plan
    yield "version", manifest.version
    yield "created", manifest.created
    yield "data set", _pairs(manifest.dataset)
    yield "items", f"{len(bundle.item_ids):,}, {int(np.count_nonzero(bundle.available)):,} of them available"
    yield "events", f"{', '.join(schema.event_kinds)}; the newest {schema.history_length} are read"
    yield "placements", ", ".join(schema.placements)
    for name, fields in (("item fields", schema.item_fields), ("user fields", schema.user_fields)):
        yield name, ", ".join(map(_field, fields)) or "none"
    yield "widths", f"{plan.candidates} candidates -> {plan.ranked} ranked; shares {_pairs(plan.quotas)}"
    yield "index", f"{bundle.index.kind}, {bundle.index.size:,} vectors of {bundle.index.dim}"
    yield "clusters", f"{len(bundle.centroids):,}; {len(bundle.snapshot):,} users in the snapshot"
    yield "neighbours", f"{bundle.neighbours.rows.shape[1]} per item"
    yield "calibrator", bundle.calibrator.kind
    for graph, model in bundle.graphs.items():
        yield graph, f"{', '.join(model.inputs)} -> {', '.join(model.outputs)}"
    for part, metrics in manifest.metrics.items():
        yield part, _pairs(metrics)
    yield "software", _pairs(manifest.software)
    yield "files", f"{len(manifest.files)}, {_size(sum(each.bytes for each in manifest.files.values()))}"
    for name, entry in manifest.files.items():
        yield "", f"{_size(entry.bytes):>10}  {name}"


def recall(bundle: Bundle) -> Line:
    """How much of the exact best the index finds now for users of the snapshot; ties may stand in."""
    promise = bundle.index_card.recall
    name = f"recall@{promise.k}"
    if len(bundle.snapshot) == 0:
        return name, "unknown: the snapshot has no users to ask for"
    tables = (bundle.item_vectors, bundle.centroids, bundle.assignment, bundle.snapshot, bundle.plan)
    queries = real_queries(*tables)
    now = measured(bundle.index, bundle.item_vectors, queries, promise)
    return name, (
        f"{now.measured:.4f} of exact search, {promise.stated:g} stated, over {now.queries:,} queries of "
        f"{len(queries):,} users of the snapshot"
    )


def _field(field: Field) -> str:
    size = {
        FieldKind.CATEGORY: f"{len(field.vocabulary):,} values",
        FieldKind.SET: f"{len(field.vocabulary):,} values, {field.width} at most",
        FieldKind.NUMBER: f"{len(field.edges) + 1} buckets",
        FieldKind.TEXT: f"{field.hash_size:,} hashes",
    }
    return f"{field.name} ({field.kind}, {size[field.kind]})"


def _pairs(value: Any) -> str:
    """A JSON value in a line: `key value, key value`, nested keys joined by a dot."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in _flat(value))
    return _plain(value)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[Line]:
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(each)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count = count / 1000
    return f"{count:.4g} GB"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada check", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of one bundle")
    parser.add_argument("--recall", action="store_true", help="measure the index against exact search")
    return parser
