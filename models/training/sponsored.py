"""`ranker.samples = "impressions"`: a ranker of sponsored impressions, which the funnel has scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.splits import Split
from models.training.config import ConfigError, TrainConfig
from models.training.features import Features
from models.training.funnel import Funnel, Pool
from models.training.impressions import train_impressions
from models.training.ranker import RankerModel
from models.training.shown import Shown, sponsored

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Levels:
    """What the calibrator is fitted on: validation requests with their ranked candidates.

    `logits` and `pools` are per request, `placement` and `now_ms` [R].
    """

    logits: list[Floats]
    pools: list[Pool]
    placement: NDArray[np.int16]
    now_ms: NDArray[np.int64]


def check_samples(config: TrainConfig) -> None:
    """Refuse, before anything is trained, a split by which impressions cannot be cut like events.

    Raises:
        ConfigError: names both keys.
    """
    if config.ranker.samples == "impressions" and config.split.protocol != "global-time":
        raise ConfigError('ranker.samples: "impressions" wants split.protocol "global-time"')


def train_on_impressions(
    features: Features,
    before: Funnel,
    known: Funnel,
    late: NDArray[np.int64],
    split: Split,
    config: TrainConfig,
) -> tuple[RankerModel, Levels]:
    """Train on the impressions of the time of the `late` events, which the earlier stages never saw.

    Those of the validation time choose the epoch and, as requests with one candidate each, the calibrator:
    logits there leave out what placement and position do, as in serving. `before` and `known` are the funnel
    before the late events and before validation.

    Raises:
        ValueError: there are no sponsored impressions, or none was clicked in one of the two times.
    """
    dataset = features.dataset
    shown = sponsored(dataset, features.timeline)
    starts = [int(dataset.event_time_ms[part[0]]) for part in (late, split.validation)]
    if len(split.test):
        shown = shown.before(int(dataset.event_time_ms[split.test[0]]))
    parts = {
        "training": _thinned(shown.since(starts[0]).before(starts[1]), config.ranker.requests),
        "validation": _thinned(shown.since(starts[1]), config.ranker.requests),
    }
    for name, part in parts.items():
        if not part.clicked.any():
            raise ValueError(
                f"{dataset.name}: none of {len(part)} sponsored impressions of the ranker's {name} time was "
                'clicked; raise split.ranker_share or split.validation, or use ranker.samples = "events"'
            )
    cross = [_cross(funnel, part) for funnel, part in zip((before, known), parts.values(), strict=True)]
    model = train_impressions(
        features,
        parts["training"],
        parts["validation"],
        config.ranker,
        config.auction,
        config.seed,
        query=config.tower.dim + 1,
        cross=(cross[0], cross[1]),
    )
    later = parts["validation"]
    logits = model.won_logits(later, cross[1])
    asked = later.requests
    levels = Levels(list(logits[:, None]), _pools(later, cross[1]), asked.placement, asked.now_ms)
    return model.as_ranker(), levels


def _thinned(shown: Shown, at_most: int) -> Shown:
    """At most so many, evenly spread."""
    if len(shown) <= at_most:
        return shown
    return shown.at(np.linspace(0, len(shown) - 1, at_most).astype(np.int64))


def _cross(funnel: Funnel, shown: Shown) -> Floats:
    return funnel.cross_of(shown.requests, shown.requests.target[:, None])[:, 0]


def _pools(shown: Shown, cross: Floats) -> list[Pool]:
    """Each impression as a request with one candidate, which is its target if it was clicked."""
    places = np.where(shown.clicked, 0, -1).tolist()
    rows = shown.requests.target[:, None]
    return [Pool(row, own[None], own, place) for row, own, place in zip(rows, cross, places, strict=True)]
