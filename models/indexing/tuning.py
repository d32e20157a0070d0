"""Find the cheapest index that reaches a recall: build, search, time and compare with exact search.

A setting is chosen on the queries of every other user and reported on those of the rest. To be chosen its
recall must be a standard error above what is stated; should the rest of the users nevertheless say that it
misses, the next cheapest is taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.indexing.grid import builds, searches
from models.indexing.source import IndexSource
from retrieval.exact import best_scores, found_share
from retrieval.index import VectorIndex, open_index
from retrieval.index_card import IndexCard, MissedRecall, Recall
from retrieval.index_settings import IndexSettings

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

FLAT = 0.0005
"""Where a more thorough search finds no more than this share on top, the sweep ends."""
_FILE = "index"


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting: `recall` on the users that choose, with its standard error, `held_out` on the others.

    `micros` is the median time of a query, asked as serving asks, in batches of one user's interests.
    """

    settings: IndexSettings
    micros: float
    recall: float
    error: float
    held_out: float
    bytes_per_item: float

    def passes(self, stated: float) -> bool:
        """Whether it may be chosen."""
        # An index that found everything has no error to be afraid of.
        return self.recall - self.error >= stated and self.held_out >= stated


@dataclass(frozen=True, slots=True)
class Tuned:
    """The chosen index, saved as `path`, with its card; `tried` is the whole curve."""

    path: Path
    card: IndexCard
    chosen: Tried
    tried: tuple[Tried, ...]


class Exam:
    """The queries of real users and their exact answers; the users of odd number are held out."""

    def __init__(self, source: IndexSource, k: int, *, threads: int = 1) -> None:
        self._vectors = source.vectors
        self._queries = source.queries
        self._k = min(k, len(source.vectors))
        self._batches = np.repeat(np.arange(len(self._queries)), [len(each) for each in self._queries])
        self._asked = np.concatenate(self._queries)
        self._best = best_scores(source.vectors, self._asked, self._k, threads=threads)

    def __len__(self) -> int:
        return len(self._asked)

    def take(self, index: VectorIndex, settings: IndexSettings, bytes_per_item: float) -> Tried:
        """Ask the index, searched as `settings` says, and time it."""
        searched = index.searching(settings)
        micros, found = [], []
        for queries in self._queries:
            started = time.perf_counter()
            _, rows = searched.search(queries, self._k)
            micros.append((time.perf_counter() - started) * 1e6 / len(queries))
            found.append(rows)
        shares = found_share(self._vectors, self._asked, np.concatenate(found), self._best)
        # Queries of one user are alike, so that users are what counts for the error.
        by_user = np.bincount(self._batches, shares) / np.bincount(self._batches)
        choosing, rest = by_user[::2], by_user[1::2]
        error = float(choosing.std(ddof=1)) / math.sqrt(len(choosing)) if len(choosing) > 1 else 0.0
        held_out = float(rest.mean()) if len(rest) else float(choosing.mean())
        return Tried(
            settings, float(np.median(micros)), float(choosing.mean()), error, held_out, bytes_per_item
        )


def tune(
    source: IndexSource, kinds: Sequence[str], promise: Recall, scratch: Path, *, seed: int, threads: int = 1
) -> Tuned:
    """Build and search every setting of the grid in the folder `scratch`; keep the cheapest that passes.

    Searches run on one thread, as in serving; `threads` builds.

    Raises:
        MissedRecall: no setting reaches the stated recall; names the best.
        ValueError: the snapshot has no users to ask for.
    """
    if not source.queries:
        raise ValueError(f"{source.folder}: the snapshot has no users, so there is no query to tune with")
    exam = Exam(source, promise.k, threads=threads)
    tried: list[Tried] = []
    best: tuple[Tried, Path] | None = None
    plans = [plan for kind in kinds for plan in builds(kind, len(source.vectors), len(source.centroids))]
    for number, plan in enumerate(tqdm(plans, "tuning", unit="index", disable=None)):
        path = scratch / f"{_FILE}.{number}"
        source.build(plan, seed, threads=threads).save(path)
        size = path.stat().st_size / len(source.vectors)
        # Timed from the file, because serving maps it.
        mine = list(_sweep(exam, open_index(path), plan, size, (1 + promise.stated) / 2))
        tried.extend(mine)
        passing = [each for each in mine if each.passes(promise.stated)]
        cheapest = min(passing, key=lambda each: each.micros, default=None)
        if cheapest is not None and (best is None or cheapest.micros < best[0].micros):
            if best is not None:
                best[1].unlink()
            best = cheapest, path
        else:
            path.unlink()
    if best is None:
        most = max(tried, key=lambda each: each.held_out)
        raise MissedRecall(
            f"{source.folder}: no index of {', '.join(kinds)} finds {promise.stated:g} of the exact best "
            f"{promise.k}; the best is {words(most.settings)} with {most.held_out:.4f}. Nothing was written"
        )
    chosen, path = best
    reached = Recall(promise.stated, round(chosen.held_out, 6), promise.k, len(exam))
    card = IndexCard.of(open_index(path), chosen.settings, reached, source.schema_hash)
    return Tuned(path, card.with_curve([point(each) for each in tried]), chosen, tuple(tried))


def _sweep(
    exam: Exam, index: VectorIndex, plan: IndexSettings, size: float, enough: float
) -> Iterator[Tried]:
    """Ever more thorough searches, until `enough` is found or no more is."""
    for rising in searches(plan):
        before = 0.0
        for settings in rising:
            tried = exam.take(index, settings, size)
            yield tried
            reached = min(tried.recall, tried.held_out)
            if reached >= enough or (reached > enough / 2 and reached - before < FLAT):
                break
            before = reached


def point(tried: Tried) -> dict[str, Any]:
    """One entry of the card's curve, with the settings that matter for its kind."""
    values = asdict(tried)
    settings = values.pop("settings")
    return {
        "kind": settings["kind"],
        **{name: settings[name] for name in _MATTERS[settings["kind"]]},
        **{name: round(value, 6) for name, value in values.items()},
    }


def words(settings: IndexSettings) -> str:
    """The kind and the settings that matter for it, in a few words."""
    said = [f"{name} {getattr(settings, name)}" for name in _MATTERS[settings.kind]]
    return ", ".join([settings.kind, *said])


_MATTERS = {
    "flat": (),
    "ivf": ("lists", "probes"),
    "half": ("lists", "probes"),
    "sq8": ("lists", "probes"),
    "ivfpq": ("lists", "probes", "refine"),
    "pq4": ("lists", "probes", "refine"),
    "hnsw": ("links", "breadth"),
}
