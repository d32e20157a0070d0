"""What a ranker starts from: how much to trust each score of the funnel, and its own experts.

A linear fit learns that from few requests, and what follows it may be worse than it, never the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.encode import CROSS
from models.training.funnel import Pool, cut_weights
from models.training.listwise import fit_listwise

Floats = NDArray[np.float32]
Index = NDArray[np.int64]
Columns = Callable[[Index, list[Pool]], list[Floats]]
"""Standardised scores and the experts' logit [N, X + 1] of so many candidates of each of the requests."""

STACK = 1000
"""Requests of a fit at most (our choice)."""
TOP = 50
"""Candidates of the fit that cares for the top of the list (our choice)."""


def starts(
    pools: Sequence[Pool], targets: NDArray[np.int32], width: int, columns: Columns
) -> list[tuple[Floats, float]]:
    """Weights [X] of the standardised scores and of the experts, by listwise fits to the `targets` [R].

    Of everything that is known over the best `width` candidates; of the pre-ranker's score alone, and of the
    fusion's; and of everything over the few that the fusion of the sources has first, for likelihood cares
    most for what stands deep in a list, and users look at its top.
    """
    some = spread(np.arange(len(pools)))
    whole = [with_target(pools[r], int(targets[r]), width) for r in some]
    scores, places = columns(some, whole), [pool.place for pool in whole]
    fits = [fit_listwise(scores, places)]
    for name in ("prerank", "fused"):
        alone, place = np.zeros(len(CROSS) + 1, np.float32), CROSS.index(name)
        alone[place] = fit_listwise([each[:, [place]] for each in scores], places)[0]
        fits.append(alone)
    first = [top(pool, width) for pool in pools]
    reached = spread(np.array([r for r, pool in enumerate(first) if pool.place >= 0], np.int64))
    if len(reached):
        few = [first[r] for r in reached.tolist()]
        fits.append(fit_listwise(columns(reached, few), [pool.place for pool in few]))
    return [(fit[:-1], float(fit[-1])) for fit in fits]


def as_cut(cut: Mapping[str, float], scale: Floats) -> tuple[Floats, float]:
    """The order of the cut, for scores that were divided by `scale` [X]; the experts have no say."""
    return cut_weights(cut) * scale, 0.0


def spread(index: Index) -> Index:
    """At most `STACK` of them, evenly spread."""
    return index[np.linspace(0, len(index) - 1, min(len(index), STACK)).astype(np.int64)]


def top(pool: Pool, width: int) -> Pool:
    """Of the best `width` candidates the `TOP` that the fusion has first; no place if the target is none."""
    first = np.argsort(-pool.cross[:width, CROSS.index("fused")], kind="stable")[:TOP]
    found = np.flatnonzero(first == pool.place)
    return Pool(pool.rows[first], pool.cross[first], pool.target_cross, int(found[0]) if len(found) else -1)


def with_target(pool: Pool, target: int, width: int) -> Pool:
    """The best `width` candidates, and the target behind them where it is not among them."""
    if 0 <= pool.place < width:
        return Pool(pool.rows[:width], pool.cross[:width], pool.target_cross, pool.place)
    rows = np.append(pool.rows[:width], np.int32(target))
    return Pool(
        rows, np.concatenate([pool.cross[:width], pool.target_cross[None]]), pool.target_cross, len(rows) - 1
    )
