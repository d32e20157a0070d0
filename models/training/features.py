"""What every trainer reads: the data set, encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.encode import encode_records
from models.schema import Schema
from models.training.batches import Batch
from models.training.timeline import Requests, Timeline, Windows


@dataclass(frozen=True)
class Features:
    """A data set and its schema, item tokens [m, W], user profiles [n, P], and the events by user."""

    dataset: Dataset
    schema: Schema
    items: NDArray[np.int64]
    profiles: NDArray[np.int64]
    timeline: Timeline

    @classmethod
    def of(cls, dataset: Dataset, schema: Schema) -> Features:
        """Encode a data set."""
        return cls(
            dataset,
            schema,
            encode_records(schema.item_fields, dataset.item_records),
            encode_records(schema.user_fields, dataset.user_records),
            Timeline(dataset),
        )

    def batch(self, requests: Requests) -> Batch:
        """Histories and profiles of requests, as tensors."""
        return Batch.of(self.timeline.histories(self.schema, requests), self.profiles[requests.user])

    def windows(self, events: NDArray[np.integer[Any]], *, ordered: bool) -> Windows:
        """What towers train on: sequences with the next item to find, or sets with each from the others."""
        cut = self.timeline.windows if ordered else self.timeline.sets
        return cut(self.schema, events)
