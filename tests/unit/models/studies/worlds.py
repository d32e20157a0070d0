"""A tiny world that brings its own split, and towers that train on it in a moment."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from models.data.columns import Dataset
from models.data.simulator import simulate
from models.data.splits import leave_last_out
from models.training.config import TrainConfig

CONFIG = TrainConfig.model_validate(
    {
        "threads": 1,
        "history_length": 10,
        "split": {"protocol": "given"},
        "tower": {"dim": 8, "layers": 1, "epochs": 1, "batch": 64, "learning_rate": 0.01},
    }
)
COLD = 6
"""So many items are met in the test only, the next one in validation and test."""


@cache
def split_world() -> Dataset:
    """A simulated world that brings its own split."""
    drawn, _ = simulate(users=120, items=90, seed=4, sessions=5.0)
    split = leave_last_out(drawn)
    part = np.zeros(drawn.events, np.int8)
    part[split.validation], part[split.test] = 1, 2
    item = drawn.event_item.copy()
    rng = np.random.default_rng(0)
    early = np.flatnonzero((part < 2) & (item <= COLD))
    item[early] = rng.integers(COLD + 1, drawn.items, len(early))
    cold = split.test[::5]
    item[cold] = np.arange(len(cold)) % COLD
    item[split.validation[0]] = item[split.test[-1]] = COLD
    return replace(drawn, event_item=item, event_part=part)


STRANGERS = 20
"""Of so many users every event is a test event."""


@cache
def strangers_world() -> Dataset:
    """The same world, where nothing is known of the first users before the test."""
    drawn = split_world()
    assert drawn.event_part is not None
    part = drawn.event_part.copy()
    part[drawn.event_user < STRANGERS] = 2
    return replace(drawn, event_part=part)
