"""How good lists and probabilities are: per user, over the whole catalogue, so that methods compare in pairs.

Ranked lists are item rows [B, k], best first, -1 where a list is shorter. What is relevant to each of the B
users is one row each [B], or several as [B, R] padded with -1. The caller leaves out users with none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Values = NDArray[np.floating[Any]]
Labels = NDArray[np.bool_] | NDArray[np.integer[Any]] | NDArray[np.floating[Any]]


def hits(ranked: Rows, relevant: Rows) -> NDArray[np.bool_]:
    """Whether each place of a list holds a relevant item, [B, k]; an item counts at its first place only."""
    relevant = relevant[:, None] if relevant.ndim == 1 else relevant
    found = np.zeros(ranked.shape, bool)
    users = np.arange(len(ranked))
    for column in relevant.T:
        match = (ranked == column[:, None]) & (column >= 0)[:, None]
        first = match.argmax(axis=1)
        found[users, first] |= match[users, first]
    return found


def hit_rate(ranked: Rows, relevant: Rows, k: int) -> Floats:
    """1 where the first k hold a relevant item, else 0, [B]."""
    hit: Floats = hits(ranked[:, :k], relevant).max(axis=1, initial=False).astype(np.float64)
    return hit


def recall(ranked: Rows, relevant: Rows, k: int) -> Floats:
    """Share of a user's relevant items that the first k hold, [B]."""
    share: Floats = hits(ranked[:, :k], relevant).sum(axis=1) / _relevant_count(relevant)
    return share


def ndcg(ranked: Rows, relevant: Rows, k: int) -> Floats:
    """Binary NDCG: hits discounted by log2(rank + 1), over the best that k places could reach, [B]."""
    found = hits(ranked[:, :k], relevant)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(_relevant_count(relevant), k) - 1]
    gained: Floats = found @ discount[: found.shape[1]] / ideal
    return gained


def mrr(ranked: Rows, relevant: Rows, k: int) -> Floats:
    """1 / rank of the first relevant item among the first k, else 0, [B]."""
    found = hits(ranked[:, :k], relevant)
    reciprocal: Floats = np.where(found.any(axis=1), 1 / (found.argmax(axis=1) + 1), 0.0)
    return reciprocal


def ranking_metrics(
    ranked: Rows, relevant: Rows, cutoffs: tuple[int, ...] = (10, 20, 100)
) -> dict[str, Floats]:
    """`HR@k`, `NDCG@k`, `Recall@k` and `MRR@k` for each cutoff, each [B]."""
    measures = {"HR": hit_rate, "NDCG": ndcg, "Recall": recall, "MRR": mrr}
    return {
        f"{name}@{k}": measure(ranked, relevant, k) for name, measure in measures.items() for k in cutoffs
    }


def mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean over users and its standard error (NaN for fewer than two users)."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return float(np.mean(values)), error


def coverage(ranked: Rows, items: int) -> float:
    """Share of the catalogue of `items` that any list holds."""
    return len(np.unique(ranked[ranked >= 0])) / items


def novelty(ranked: Rows, counts: Values) -> Floats:
    """Mean self-information of a list's items in bits, [B]; NaN for an empty list. `counts` [m] are events.

    -log2 of an item's share of all events, each item counted once more than it was met (Zhou et al. 2010; the
    one more is our choice, for items that nobody met).
    """
    bits = -np.log2((counts + 1.0) / (counts.sum(dtype=np.float64) + len(counts)))
    mask = ranked >= 0
    size = mask.sum(axis=1)
    total = np.where(mask, bits[np.where(mask, ranked, 0)], 0.0).sum(axis=1)
    mean: Floats = np.divide(total, size, out=np.full(len(ranked), np.nan), where=size > 0)
    return mean


def serendipity(ranked: Rows, expected: Rows, relevant: Rows) -> Floats:
    """Share of a user's relevant items that a list holds and the list `expected` [B, j] does not, [B].

    After Ge et al. 2010: what is useful, and not what a primitive method would have shown, too.
    """
    found = hits(ranked, relevant)
    primitive = (ranked[:, :, None] == expected[:, None, :]).any(axis=2)
    share: Floats = (found & ~primitive).sum(axis=1) / _relevant_count(relevant)
    return share


def mean_pairwise_distance(ranked: Rows, vectors: NDArray[np.floating[Any]]) -> Floats:
    """Mean 1 - cosine over the pairs of a list, [B]; NaN for fewer than two items. `vectors` is [m, d]."""
    mask = ranked >= 0
    taken = vectors[np.where(mask, ranked, 0)].astype(np.float64)
    norms = np.linalg.norm(taken, axis=2, keepdims=True)
    unit = np.divide(taken, norms, out=np.zeros_like(taken), where=norms > 0) * mask[:, :, None]
    count = mask.sum(axis=1)
    # The squared length of the sum is the sum of all cosines, each item with itself included.
    cosines = (unit.sum(axis=1) ** 2).sum(axis=1) - (unit**2).sum(axis=(1, 2))
    pairs = count * (count - 1)
    distance: Floats = np.divide(pairs - cosines, pairs, out=np.full(len(ranked), np.nan), where=pairs > 0)
    return distance


def auc(labels: Labels, scores: Values) -> float:
    """Chance that a positive scores above a negative, ties half; NaN where one of the classes is absent."""
    areas, _ = _areas_by_group(labels, scores, np.zeros(len(scores), np.int64))
    return float(areas[0]) if len(areas) else float("nan")


def gauc(labels: Labels, scores: Values, groups: Rows) -> float:
    """Mean AUC of the groups (users, requests) that have both classes, weighted by their rows; else NaN."""
    areas, sizes = _areas_by_group(labels, scores, groups)
    judged = ~np.isnan(areas)
    return float(np.average(areas[judged], weights=sizes[judged])) if judged.any() else float("nan")


def log_loss(labels: Labels, probabilities: Values) -> float:
    """Mean negative log likelihood; probabilities are kept 1e-7 away from 0 and 1."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    y = labels.astype(np.float64)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def ece(labels: Labels, probabilities: Values, bins: int = 20) -> float:
    """Expected calibration error: mean |predicted - observed| over bins of equal mass."""
    order = np.argsort(probabilities, kind="stable")
    surplus = probabilities[order].astype(np.float64) - labels[order]
    parts = np.array_split(surplus, min(bins, max(len(surplus), 1)))
    return float(sum(abs(part.sum()) for part in parts) / max(len(surplus), 1))


def copc(labels: Labels, probabilities: Values) -> float:
    """Predicted over observed clicks: above 1 = it promises too much; NaN without a click."""
    observed = float(labels.sum(dtype=np.float64))
    return float(probabilities.sum(dtype=np.float64)) / observed if observed else float("nan")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired comparison over users: mean of a - b, its standard error, and the two-sided p value."""

    difference: float
    standard_error: float
    p_value: float


def paired_test(a: Values, b: Values) -> Comparison:
    """Paired t-test of per-user values, with the normal approximation (meant for 100 users and more).

    Raises:
        ValueError: the two differ in length, or there are fewer than two users.
    """
    if a.shape != b.shape or len(a) < 2:
        raise ValueError(
            f"a paired test needs two equally long columns of users, got {a.shape} and {b.shape}"
        )
    mean, error = mean_and_error(a.astype(np.float64) - b)
    if error == 0:
        return Comparison(mean, 0.0, 1.0 if mean == 0 else 0.0)
    return Comparison(mean, error, math.erfc(abs(mean / error) / math.sqrt(2)))


def bootstrap_interval(
    values: Values, seed: int, level: float = 0.95, rounds: int = 2000
) -> tuple[float, float]:
    """Percentile interval of the mean of per-user values (or of their paired differences)."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(rounds)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _areas_by_group(labels: Labels, scores: Values, groups: Rows) -> tuple[Floats, NDArray[np.int64]]:
    """AUC of each group (NaN where a class is absent) and its number of rows."""
    order = np.lexsort((scores, groups))
    group, score, positive = groups[order], scores[order], labels[order].astype(bool)
    new_group = np.concatenate([[True], group[1:] != group[:-1]])[: len(group)]
    new_block = (new_group | np.concatenate([[True], score[1:] != score[:-1]])[: len(group)]).cumsum() - 1
    number = new_group.cumsum() - 1
    sizes = np.bincount(number)
    rank = np.arange(len(group)) - (np.cumsum(sizes) - sizes)[number] + 1
    tied_rank = (np.bincount(new_block, rank) / np.bincount(new_block))[new_block]
    positives = np.bincount(number, positive)
    pairs = positives * (sizes - positives)
    above = np.bincount(number, tied_rank * positive) - positives * (positives + 1) / 2
    return np.divide(above, pairs, out=np.full(len(sizes), np.nan), where=pairs > 0), sizes


def _relevant_count(relevant: Rows) -> NDArray[np.int64]:
    if relevant.ndim == 1:
        return np.ones(len(relevant), np.int64)
    count: NDArray[np.int64] = (relevant >= 0).sum(axis=1)
    if np.any(count == 0):
        raise ValueError("a user without a relevant item has no recall; leave such users out")
    return count
