"""A request, its hydrated form and its answer: frozen data that no stage can change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

from models.encode import History
from models.masks import marked
from retrieval.interests import NO_PREFERENCES, Interests
from retrieval.order import descending
from retrieval.preferences import Preferences

UserId = NewType("UserId", str)
ItemId = NewType("ItemId", str)
Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Hashes = NDArray[np.uint32]

NO_ROWS: Rows = np.zeros(0, np.int32)
"""No item."""
_NO_HASHES: Hashes = np.zeros(0, np.uint32)


class Kind(StrEnum):
    """What is asked for; each kind has its own cascade."""

    RECOMMEND = "recommend"
    SEARCH = "search"
    SIMILAR = "similar"
    COMPLEMENTARY = "complementary"
    SPONSORED = "sponsored"
    """What could be sold in a list of another kind; nobody asks for it by itself."""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """An event that the caller sends along; without a timestamp it happened now."""

    item_id: ItemId
    event: str
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` items with the same value of `field` in any `window` places; None = in all places."""

    field: str
    most: int
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """Items whose category or set `field` has the user's id, or a value of his profile attribute."""

    field: str
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Selling:
    """What a list may sell: the places `slots`, from 1 over all pages, to bids in `currency`.

    No click is sold below `reserve_micros`; a list has at most `per_advertiser` ads of one advertiser, and a
    user sees at most `user_most` of them in `user_hours`, None = any number.
    """

    slots: tuple[int, ...]
    reserve_micros: int
    currency: str
    per_advertiser: int = 1
    user_most: int | None = None
    user_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Request:
    """A call as the caller made it, ids as strings, types checked by the API layer.

    `text` belongs to search, `item_id` to similar and complementary. `filter` and `boost` are in the language
    of `service.rules`. `include_seen` None = the kind's habit: recommend leaves out what the user has seen,
    the others do not.
    """

    kind: Kind = Kind.RECOMMEND
    user_id: UserId | None = None
    session: Sequence[SessionEvent] = ()
    count: int = 20
    placement: str = "default"
    text: str | None = None
    item_id: ItemId | None = None
    filter: Mapping[str, Any] | None = None
    boost: Sequence[Mapping[str, Any]] = ()
    exclude_items: Sequence[ItemId] = ()
    exclude_own: Own | None = None
    caps: Sequence[Cap] = ()
    include_seen: bool | None = None
    diversity: float | None = None
    cursor: str | None = None
    explain: bool = False
    trace: bool = False
    """Keep a trace of the answer, as `explain` does, without explaining it here."""
    facets: Sequence[str] = ()
    """Attributes whose values are counted over what a search chose from."""
    placement_filter: Mapping[str, Any] | None = None
    """What the operator lets through at the placement, besides the caller's filter."""
    placement_boost: Sequence[Mapping[str, Any]] = ()
    selling: Selling | None = None
    """None = nothing is sold in this list."""


@dataclass(frozen=True, slots=True)
class User:
    """What is known of the user at this request, in the bundle's rows.

    `rows`, `kinds`, `timestamps` [H] are ALL known events, oldest first (session events of the request
    included); `history` is the newest part of them as the models read it, a batch of one; `profile` [P] are
    field tokens; `known` says whether the store had anything of this user.
    """

    rows: Rows
    kinds: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    history: History
    profile: NDArray[np.int64]
    known: bool


@dataclass(frozen=True, slots=True)
class UserState:
    """The user-side arithmetic of one request, done once and shared by sources and scorers.

    Each field is filled by one hydrator; None = it did not run, or failed and is labelled.
    """

    vector: Floats | None = None
    """[d + 1] of the hydrator `user_tower`: unit vector times scale, then the bias weight."""
    interests: Interests | None = None
    """The user's interests as queries of the index, of the hydrator `user_interests`."""
    factors: Floats | None = None
    """[f] of the hydrator `user_factors`; None also where there are no events or no factors."""
    words: Floats | None = None
    """[d + 1] of the hydrator `query_tower`: a search's text as a query of the index; None also where the
    tower knows nothing of it."""


@dataclass(frozen=True)
class Query:
    """One call for a list after validation and hydration.

    `count` items are wanted after the `offset` items of earlier pages; `shown` are the rows of those,
    `trail` the hashes of their ids; `exclude` are rows that the caller rules out; `rule` is the caller's
    filter compiled to a mask over all item rows (None = no rule) and `boost` a factor per item row. `seed`
    makes every random choice repeatable. `placement` is the row of the popularity table, `placement_name`
    what the caller said. `quality` in 0..1 scales how many candidates are pre-ranked and ranked.
    """

    request_id: str
    kind: Kind
    now_ms: int
    user_id: UserId | None
    user: User
    placement: int
    count: int
    seed: int
    placement_name: str = "default"
    state: UserState = UserState()
    offset: int = 0
    shown: Rows = field(default_factory=lambda: NO_ROWS)
    trail: Hashes = field(default_factory=lambda: _NO_HASHES)
    exclude: Rows = field(default_factory=lambda: NO_ROWS)
    own: Rows = field(default_factory=lambda: NO_ROWS)
    """Rows of the user's own items, which are ruled out."""
    ads: Rows = field(default_factory=lambda: NO_ROWS)
    """Rows, ascending, of the items with a bid that could be sold in this list."""
    caps: tuple[Cap, ...] = ()
    before: Rows = field(default_factory=lambda: NO_ROWS)
    """Rows of earlier pages that the caps look at, the last place last."""
    anchor: int | None = None
    """Row of the item that `similar` or `complementary` starts from."""
    text: str | None = None
    """The words of a search."""
    rule: NDArray[np.bool_] | None = None
    boost: Floats | None = None
    include_seen: bool = False
    preferences: Preferences = NO_PREFERENCES
    """Interests that the user pinned and muted."""
    include_muted: bool = False
    """Whether items of muted interests may be returned."""
    diversity: float | None = None
    explain: bool = False
    quality: float = 1.0
    deadline: float | None = None
    """Moment on `time.monotonic()`; None = no deadline."""

    def with_state(self, state: UserState) -> Query:
        """The same query with another state: `dataclasses.replace`, several times faster."""
        other: Query = object.__new__(Query)
        other.__dict__.update(self.__dict__, state=state)
        return other

    @property
    def hides_muted(self) -> bool:
        """Whether anything is ruled out because the user muted its interest."""
        return not self.include_muted and len(self.preferences.muted) > 0


@dataclass(frozen=True, slots=True)
class Fate:
    """Where candidates ended: those that the stage `saw`, but for those that it `kept`.

    `stage` "answer" = returned; "filter" = ruled out by the filter `reason`; else the round that cut them,
    the first of them right behind the candidates that it kept. Who they are is found out when somebody asks,
    since few do; with `scores` [N] of all that it saw the best of them come first.
    """

    stage: str
    reason: str
    saw: Rows
    scores: Floats | None = None
    kept: NDArray[np.intp] | NDArray[np.bool_] | None = None
    """Positions or a mask; None = nothing."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rows(self) -> Rows:
        """[N] best first as that stage saw them."""
        rows, scores = self.saw, self.scores
        if self.kept is not None:
            gone = ~marked(self.kept, len(rows))
            rows, scores = rows[gone], None if scores is None else scores[gone]
        return rows if scores is None else rows[descending(scores, rows)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a query, in rows: `rows` [n] best first with equally long `columns`.

    Columns: `score` always; `pctr` if the plan goes as far as the ranker (NaN where the ranker did not run);
    `sources` (bit i = `source_names[i]` proposed the item); `interest_index` (which of `state.interests`
    found it, -1 = none) if that source answered; and every feature that a scorer added. `fates` account for
    every candidate that was fetched, each exactly once. `degraded` names the stages whose fallback was taken.
    `timings_ms` are by sort and stage, as in `source.popular`, and their `total`.
    """

    rows: Rows
    columns: Mapping[str, NDArray[Any]]
    source_names: tuple[str, ...]
    degraded: tuple[str, ...]
    fates: tuple[Fate, ...]
    timings_ms: Mapping[str, float]
    state: UserState = UserState()
