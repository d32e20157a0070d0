"""Write a bundle from a run: the tables, four graphs that were proven equal to torch, and the manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from datetime import datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import Manifest, StringColumn, atomic_folder, list_files, write_bytes, write_manifest
from models.export.graphs import TEXTS, export_graphs, export_query
from models.export.interest_labels import write_interest_labels
from models.export.translate import TOLERANCE, Exported
from models.graph import Graph
from models.indexing.source import IndexSource
from models.schema import Schema
from models.training.run_folder import RUN, Run
from retrieval.lexical import build_lexical, has_field

SOFTWARE = ("cascada", "torch", "onnx", "onnxruntime", "faiss-cpu", "numpy")


MOST_FIELDS = 12
"""Attributes with a field of their own in the lexical index; a query looks each word up in every field."""


class ParityError(Exception):
    """An exported graph does not compute what torch computes; the message names the tensor."""


def write_bundle(run: Run, bundles: Path, now: datetime) -> Path:
    """Write a new bundle below `bundles` and return its folder; its name is the version.

    Raises:
        ParityError: a graph differs from torch by more than its tolerance.
        MissedRecall: the index finds less than it states.
        BundleError: the run's index is missing, or another's.
        FileExistsError: that version exists already.
    """
    card = IndexSource.open(run.folder).judged()
    ranges = run.ranges if run.config.ranker.eight_bits else None
    graphs = export_graphs(run.networks, run.schema, run.config.seed, ranges)
    if run.query is not None:
        graphs.append(export_query(run.query))
    for graph in graphs:
        check_parity(graph)
    fingerprint = run.about["dataset"]["fingerprint"]
    version = f"{now:%Y%m%dT%H%M%SZ}-{fingerprint[:8]}"
    target = bundles / version
    with atomic_folder(target) as folder:
        for path in sorted(run.folder.iterdir()):
            if path.is_dir():
                shutil.copytree(path, folder / path.name)
            elif path.suffix != ".safetensors" and path.name != RUN:
                shutil.copyfile(path, folder / path.name)
        card.write(folder)
        for graph in graphs:
            write_bytes(folder / f"{graph.name}.onnx", graph.onnx)
        probes = {} if run.query is None else run.query.probes(TEXTS)
        np.savez(folder / artifacts.PARITY, allow_pickle=False, **recorded(graphs), **probes)
        records = StringColumn.open(folder, artifacts.ITEM_RECORDS).tolist()
        items = [json.loads(record) for record in records]
        write_interest_labels(folder, items, run.schema)
        fields = lexical_fields(run.schema)
        build_lexical(
            folder / artifacts.LEXICAL,
            [str(item.get("title", "")) for item in items],
            [words(item, (*fields, "title")) for item in items],
            {name: [words({name: item.get(name)}) for item in items] for name in fields},
        )
        write_manifest(
            folder,
            Manifest(
                version=version,
                created=now.isoformat(),
                dataset=run.about["dataset"],
                schema_hash=run.schema.hash,
                files=list_files(folder),
                metrics={**run.about["metrics"], "index": card.metrics()},
                software={name: version_of(name) for name in SOFTWARE},
                training={"config": run.about["config"], "seconds": run.about["seconds"]},
                graphs={each.name: ports(each) for each in graphs},
            ),
        )
    return target


def check_parity(graph: Exported) -> None:
    """Run the graph on its recorded inputs; every output must repeat torch's.

    Raises:
        ParityError: names the tensor, the difference and what is allowed.
    """
    answers = Graph.open(graph.onnx).run_all(**graph.inputs)
    for name, expected in graph.outputs.items():
        scale = max(float(np.abs(expected).max(initial=0.0)), 1e-6)
        difference = float(np.abs(answers[name] - expected).max(initial=0.0)) / scale
        if not difference <= graph.tolerance:
            raise ParityError(
                f"{graph.name}/{name}: ONNX differs from torch by {difference:.2g} relative; "
                f"{graph.tolerance:g} is allowed"
            )


def ports(graph: Exported) -> dict[str, list[str]]:
    """Names of a graph's `inputs` and `outputs`."""
    opened = Graph.open(graph.onnx)
    return {"inputs": list(opened.inputs), "outputs": list(opened.outputs)}


def recorded(graphs: Sequence[Exported]) -> dict[str, NDArray[Any]]:
    """Inputs and answers under "<graph>/<tensor>", for the check at every load, and the tolerance of graphs
    that round under "<graph>/tolerance"."""
    found = {
        f"{graph.name}/{name}": value
        for graph in graphs
        for part in (graph.inputs, graph.outputs)
        for name, value in part.items()
    }
    rounding = (graph for graph in graphs if graph.tolerance > TOLERANCE)
    return found | {f"{graph.name}/tolerance": np.array(graph.tolerance) for graph in rounding}


def words(record: dict[str, Any], without: Collection[str] = ("title",)) -> str:
    """The values of a record's attributes as one text, but for some of them."""
    values: list[str] = []
    for name, value in record.items():
        if name not in without and value is not None:
            values.extend(str(each) for each in (value if isinstance(value, list) else [value]))
    return " ".join(values)


def lexical_fields(schema: Schema) -> list[str]:
    """The attributes that have a field of their own in the lexical index: the first `MOST_FIELDS`."""
    return [field.name for field in schema.item_fields if has_field(field.name)][:MOST_FIELDS]
