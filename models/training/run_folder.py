"""A training run on disk: what `cascada train` leaves and `cascada export` reads. Plain formats, no pickle.

The tables have the names that they will have in the bundle (`models.artifacts`); beside them are the networks
(`*.safetensors`) and `run.json`: the configuration, the data set, metrics and times.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from models import artifacts
from models.artifacts import atomic_folder, write_json, write_strings
from models.data.columns import Dataset
from models.schema import Schema
from models.training.config import TrainConfig
from models.training.networks import Networks
from models.training.query_model import QueryModel
from models.training.ranges import Ranges
from models.training.run import Trained
from retrieval.index import IndexSettings
from retrieval.index_card import IndexCard, Recall, kept
from retrieval.index_queries import real_queries

RUN = "run.json"


class RunError(Exception):
    """A folder that is no finished training run; the message says why."""


@dataclass(frozen=True)
class Run:
    """A finished run, as `cascada export` needs it."""

    folder: Path
    config: TrainConfig
    schema: Schema
    networks: Networks
    query: QueryModel | None
    """None in a run of a time when there was no query tower."""
    about: dict[str, Any]
    ranges: Ranges | None = None
    """None in a run of a time when the ranker's were not measured."""


def write_run(folder: Path, trained: Trained) -> None:
    """Write the run, whole or not at all.

    Raises:
        FileExistsError: the folder exists already.
    """
    with atomic_folder(folder) as temporary:
        _write_items(temporary, trained.dataset, trained)
        _write_tables(temporary, trained)
        Networks(
            trained.encoders.towers.items,
            trained.encoders.towers.users,
            trained.encoders.preranker.items,
            trained.encoders.preranker.users,
            trained.ranker.items,
            trained.ranker.ranker,
        ).save(temporary)
        trained.encoders.query.save(temporary)
        if trained.ranges is not None:
            trained.ranges.save(temporary)
        write_json(temporary / artifacts.SCHEMA, trained.schema.to_json())
        write_json(temporary / artifacts.SERVING, {"plan": trained.plan.to_json()})
        write_json(temporary / artifacts.CALIBRATOR, trained.calibrator.to_json())
        if trained.posterior is not None:
            write_json(temporary / artifacts.POSTERIOR, trained.posterior.to_json())
        write_json(
            temporary / RUN,
            {
                "config": trained.config.model_dump(mode="json"),
                "dataset": {
                    "name": trained.dataset.name,
                    "fingerprint": trained.dataset.fingerprint,
                    "items": trained.dataset.items,
                    "users": trained.dataset.users,
                    "events": trained.dataset.events,
                },
                "metrics": trained.metrics,
                "seconds": trained.seconds,
            },
        )


def read_run(folder: Path) -> Run:
    """Read a run that `write_run` wrote.

    Raises:
        RunError: something is missing or does not fit.
    """
    try:
        about = json.loads((folder / RUN).read_bytes())
        config = TrainConfig.model_validate(about["config"])
        schema = Schema.from_json(json.loads((folder / artifacts.SCHEMA).read_bytes()))
        tokens = np.load(folder / artifacts.ITEM_TOKENS)
        networks = Networks.build(config, schema, tokens).load(folder)
        query = QueryModel.load(folder, config.query, networks.items.dim)
        ranges = Ranges.load(folder)
    except artifacts.BundleError as error:
        raise RunError(str(error)) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{folder}: not a finished training run of this version: {reason}") from error
    return Run(folder, config, schema, networks, query, about, ranges)


def _write_items(folder: Path, dataset: Dataset, trained: Trained) -> None:
    write_strings(folder, artifacts.ITEM_IDS, dataset.item_ids)
    records = [
        json.dumps({**record, **dataset.offer(row)}, ensure_ascii=False)
        for row, record in enumerate(dataset.item_records)
    ]
    write_strings(folder, artifacts.ITEM_RECORDS, records)
    np.save(folder / artifacts.ITEM_TOKENS, trained.encoders.towers.items.tokens.numpy())
    np.save(folder / artifacts.ITEM_CREATED, dataset.item_created_ms)
    np.save(folder / artifacts.ITEM_AVAILABLE, dataset.item_available)
    np.save(folder / artifacts.ITEM_VECTORS, artifacts.half(trained.encoders.space.vectors))
    np.save(folder / artifacts.PRERANK_VECTORS, artifacts.half(trained.encoders.preranker.item_vectors()))
    np.save(folder / artifacts.RANK_VECTORS, artifacts.half(trained.ranker.item_vectors()))


def _write_tables(folder: Path, trained: Trained) -> None:
    np.save(folder / artifacts.POPULARITY, trained.tables.popularity)
    np.save(folder / artifacts.CENTROIDS, trained.encoders.space.clusters.centroids)
    np.save(folder / artifacts.ASSIGNMENT, trained.encoders.space.clusters.assignment)
    np.save(folder / artifacts.NEIGHBOUR_ROWS, trained.tables.neighbours.rows)
    np.save(folder / artifacts.NEIGHBOUR_SCORES, trained.tables.neighbours.scores)
    np.save(folder / artifacts.SNAPSHOT_VECTORS, trained.snapshot.vectors)
    np.save(folder / artifacts.SNAPSHOT_CLUSTERS, trained.snapshot.clusters)
    np.save(folder / artifacts.SNAPSHOT_WEIGHTS, trained.snapshot.weights)
    np.save(folder / artifacts.SNAPSHOT_CENTROIDS, trained.snapshot.centroids)
    if trained.scorer is not None:
        scorer = trained.scorer
        np.savez(folder / artifacts.PAIRS, first=scorer.first, bias=scorer.bias, second=scorer.second)
    if trained.tables.factors is not None:
        factors = trained.tables.factors
        np.save(folder / artifacts.FACTORS, factors.vectors)
        factors.index.save(folder / artifacts.FACTOR_INDEX)
        write_json(folder / artifacts.FACTOR_CARD, {"alpha": factors.alpha, "l2": factors.l2})
    if trained.complements is not None:
        np.save(folder / artifacts.COMPLEMENT_IN, trained.complements.inward)
        np.save(folder / artifacts.COMPLEMENT_OUT, trained.complements.outward)
        trained.complements.index.save(folder / artifacts.COMPLEMENT_INDEX)
    trained.encoders.space.index.save(folder / artifacts.INDEX)
    _card(trained).write(folder)


def _card(trained: Trained) -> IndexCard:
    """What the index promises, how thoroughly it is searched for that, and what it reaches for the users."""
    space, config = trained.encoders.space, trained.config.retrieval
    queries = real_queries(
        space.vectors, space.clusters.centroids, space.clusters.assignment, trained.snapshot, trained.plan
    )
    settings, recall = kept(
        space.index, space.vectors, queries, IndexSettings(config.index), Recall(config.recall)
    )
    return IndexCard.of(space.index, settings, recall, trained.schema.hash)
