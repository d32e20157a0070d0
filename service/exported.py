"""What a bundle's items are to all snapshots of its catalogue: derived once, then only read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.artifacts import StringColumn
from models.schema import Field
from service.attributes import Attributes
from service.bundle import Bundle
from service.cascade.query import Rows
from service.identifiers import Identifiers
from service.offers import BID, Offers
from service.rules import CREATED_AT

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

NEWEST = 1000
"""How many of the newest items are at hand."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What is derived once from a bundle's items and shared by all snapshots of its catalogue.

    `assignment` [m] is the cluster of each item, `centroids` [C, d] are the clusters' centres; `popular`
    [P, m] are the rows of each placement by falling popularity; `newest` the rows created last.
    """

    identifiers: Identifiers
    records: StringColumn
    attributes: Attributes
    fields: tuple[Field, ...]
    available: Mask
    created: Longs
    centroids: Floats
    assignment: Rows
    cluster_sizes: Longs
    popularity: Floats
    popular: Rows
    newest: Rows
    offers: Offers

    @classmethod
    def of(cls, bundle: Bundle) -> Exported:
        """Derive it, which reads every record of the bundle once."""
        created = np.asarray(bundle.created, np.int64)
        bidding: dict[int, dict[str, Any]] = {}

        def read(row: int, at: int) -> dict[str, Any]:
            record: dict[str, Any] = {**orjson.loads(bundle.item_records[row]), CREATED_AT.name: at or None}
            if record.get(BID) is not None:
                bidding[row] = record
            return record

        attributes = Attributes(
            (*bundle.schema.item_fields, CREATED_AT),
            (read(row, at) for row, at in enumerate(created.tolist())),
        )
        return cls(
            identifiers=Identifiers(bundle.item_ids),
            records=bundle.item_records,
            attributes=attributes,
            fields=bundle.schema.item_fields,
            available=np.asarray(bundle.available, bool),
            created=created,
            centroids=bundle.centroids,
            assignment=bundle.assignment,
            cluster_sizes=np.bincount(bundle.assignment, minlength=len(bundle.centroids)),
            popularity=bundle.popularity,
            popular=np.argsort(-bundle.popularity, axis=1, kind="stable").astype(np.int32),
            newest=np.argsort(-created, kind="stable")[:NEWEST].astype(np.int32),
            offers=Offers.of(bidding),
        )
