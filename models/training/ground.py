"""What every stage of a run stands on: the events, and which of them teach whom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.splits import Split
from models.data.vocabulary import build_schema
from models.training.config import SplitConfig, TrainConfig
from models.training.features import Features
from models.training.timeline import Requests, Timeline, newest_per_user

Index = NDArray[np.int64]

VALIDATION_REQUESTS = 3000
LEAST_REQUESTS = 2
"""Fewer cannot be trained on, nor can a calibrator be chosen on them."""


@dataclass(frozen=True)
class Ground:
    """Training events are cut: `early` ones teach what comes before the ranker, `late` ones the ranker."""

    dataset: Dataset
    config: TrainConfig
    features: Features
    split: Split
    early: Index
    late: Index
    validation: Requests
    """Evenly thinned, where there are more than `VALIDATION_REQUESTS`."""
    own: Requests
    """The ranker's: at the late events, evenly thinned to `ranker.requests`."""
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, config: TrainConfig) -> Ground:
        """Cut the events as the configuration says.

        Raises:
            ValueError: the data set is too small for the protocol, or does not fit it.
        """
        split, early, late = cut(dataset, config.split)
        schema = build_schema(dataset, split.train, history_length=config.history_length)
        features = Features.of(dataset, schema)
        requests, ahead = features.timeline.requests, config.split.ahead
        validation = thinned(requests(split.validation, ahead=ahead), VALIDATION_REQUESTS)
        own = thinned(requests(late, ahead=ahead), config.ranker.requests)
        return cls(dataset, config, features, split, early, late, validation, own)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the wall time of a block to `seconds`."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 1)


def deterministic(threads: int, seed: int) -> None:
    """Let torch use so many threads, and give the same numbers each time."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory before writing it, and the fill costs a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)


def cut(dataset: Dataset, config: SplitConfig) -> tuple[Split, Index, Index]:
    """The split, and its training events once more cut: early for the first stages, late for the ranker.

    Late is the newest share of all training events under global-time, else the newest few of each user. Of a
    data set without order that is whatever stands last: a random choice where, as the loaders do, the rows of
    each user were shuffled.

    Raises:
        ValueError: the data set does not fit the protocol, or too few events of a part are with items that
            are new to their users.
    """
    timeline, split = Timeline(dataset), config.apply(dataset)
    if config.protocol == "global-time":
        late = np.arange(round(len(split.train) * (1 - config.ranker_share)), len(split.train))
    else:
        late = newest_per_user(timeline, split.train, config.ranker_events)
    early = np.delete(split.train, late)
    parts = {"training": early, "ranker": late, "validation": split.validation}
    for name, part in parts.items():
        if (count := len(timeline.requests(part))) < LEAST_REQUESTS:
            raise ValueError(
                f"{dataset.name}: {config.protocol} leaves {count} {name} events with items that are new to "
                f"their users, {LEAST_REQUESTS} are needed; the data set is too small"
            )
    return split, early, split.train[late]


def thinned(requests: Requests, at_most: int) -> Requests:
    """At most so many requests, evenly spread."""
    if len(requests) <= at_most:
        return requests
    return requests.at(np.linspace(0, len(requests) - 1, at_most).astype(np.int64))
