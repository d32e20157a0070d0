"""A validated request and its answer: frozen data that no stage can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

from models.encode import History

UserId = NewType("UserId", str)
ItemId = NewType("ItemId", str)
Rows = NDArray[np.int32]

_NO_ROWS: Rows = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class User:
    """What is known of the user at this request, in the bundle's rows.

    `rows`, `kinds`, `timestamps` [H] are ALL known events, oldest first (session events of the request included);
    `history` is the newest part of them as the models read it, a batch of one; `profile` [P] are field tokens;
    `known` says whether the store had anything of this user.
    """

    rows: Rows
    kinds: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    history: History
    profile: NDArray[np.int64]
    known: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One recommend, search or similar call after validation and hydration.

    `count` items are wanted from position `offset` of the list; `shown` are rows that earlier pages returned;
    `exclude` are rows that the caller rules out; `rule` is the caller's filter compiled to a mask over all item
    rows (None = no rule) and `boost` a factor per item row. `seed` makes every random choice repeatable.
    """

    request_id: str
    now_ms: int
    user_id: UserId | None
    user: User
    placement: str
    count: int
    seed: int
    offset: int = 0
    shown: Rows = field(default_factory=lambda: _NO_ROWS)
    exclude: Rows = field(default_factory=lambda: _NO_ROWS)
    anchor: int | None = None
    """Row of the item that `similar` starts from."""
    text: str | None = None
    """The words of a search."""
    rule: NDArray[np.bool_] | None = None
    boost: NDArray[np.float32] | None = None
    include_seen: bool = False
    diversity: float | None = None
    explain: bool = False
    deadline: float | None = None
    """Moment on `time.monotonic()`; None = no deadline."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Where every candidate ended: `stage` and `reason` name it; `rows` are item rows; `rank` the order at the cut."""

    stage: str
    reason: str
    rows: Rows


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a query, in rows: `rows` [n] best first with equally long `columns` (score, pctr, source bits ...).

    `fates` account for every candidate that was fetched: returned, filtered with a reason, or cut by a stage.
    """

    rows: Rows
    columns: Mapping[str, NDArray[Any]]
    degraded: tuple[str, ...]
    fates: tuple[Fate, ...]
    timings_ms: Mapping[str, float]
