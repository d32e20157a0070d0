"""What a trained cascade has to beat: popularity, item-kNN, EASE and iALS.

Each is fitted on a binary matrix of distinct interactions, users by items [n, m], and gives a scorer:
histories [B, m] in the same form -> scores [B, m] over the whole catalogue. Histories may be of unseen users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.data.columns import Dataset
from models.data.splits import Split
from retrieval.metrics import ndcg

Scores = NDArray[np.float32]
Scorer = Callable[[Any], Scores]


def interactions(dataset: Dataset, events: NDArray[np.integer[Any]]) -> Any:
    """The events as a binary CSR matrix [n, m] of float32: every kind of event counts, repeats count once."""
    cells = (np.ones(len(events), np.float32), (dataset.event_user[events], dataset.event_item[events]))
    matrix = sparse.csr_matrix(cells, shape=(dataset.users, dataset.items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def popularity(train: Any) -> Scorer:
    """Number of users of each item, the same for all."""
    counts = np.asarray(train.sum(axis=0), np.float32).ravel()
    return lambda histories: np.tile(counts, (histories.shape[0], 1))


def item_knn(train: Any, k: int = 0) -> Scorer:
    """Sum over the history of cosine similarities, of which each item keeps its `k` largest (0: all)."""
    users = np.asarray(train.sum(axis=0)).ravel()
    unit = train @ sparse.diags(1 / np.sqrt(np.maximum(users, 1)))
    similarity = (unit.T @ unit).tocsr()
    similarity.setdiag(0)
    similarity = _largest(similarity, k or similarity.shape[1])
    return lambda histories: (histories @ similarity).toarray().astype(np.float32)


def ease(train: Any, l2: float = 100.0) -> Scorer:
    """EASE (Steck 2019, arXiv 1905.03375): items regressed on items, zero diagonal; dense [m, m]."""
    gram = np.asarray((train.T @ train).todense(), np.float64)
    gram[np.diag_indices_from(gram)] += l2
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return lambda histories: np.asarray(histories @ weights.astype(np.float32), np.float32)


def ials(
    train: Any,
    dimensions: int = 64,
    l2: float = 0.003,
    unobserved: float = 0.3,
    exponent: float = 1.0,
    iterations: int = 16,
    seed: int = 0,
) -> Scorer:
    """iALS as revisited by Rendle et al. (2021, arXiv 2110.14037): alternating least squares over all cells.

    An absent cell weighs `unobserved`; the ridge of a row is `l2` times its (count + unobserved * the other
    side's size) to the power `exponent`. A history is folded in by one least squares solve.
    """
    rng = np.random.default_rng(seed)
    items = rng.normal(0, 0.1 / np.sqrt(dimensions), (train.shape[1], dimensions))
    by_item = train.T.tocsr()
    for _ in range(iterations):
        users = _solve(train, items, l2, unobserved, exponent)
        items = _solve(by_item, users, l2, unobserved, exponent)
    return lambda histories: (_solve(histories, items, l2, unobserved, exponent) @ items.T).astype(np.float32)


BASELINES: Mapping[str, tuple[Callable[..., Scorer], tuple[Mapping[str, float], ...]]] = {
    "popularity": (popularity, ({},)),
    "item-kNN": (item_knn, ({"k": 0}, {"k": 10}, {"k": 20}, {"k": 100})),
    "EASE": (ease, ({"l2": 50}, {"l2": 100}, {"l2": 200}, {"l2": 500})),
    "iALS": (
        ials,
        tuple(
            {"dimensions": dimensions, "l2": l2, "unobserved": unobserved}
            for dimensions in (32, 64)
            for l2 in (0.003, 0.01)
            for unobserved in (0.1, 0.3)
        ),
    ),
}
"""Each baseline's fit and the settings to choose from on validation."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A baseline refitted on train + validation with the settings that validation chose."""

    settings: Mapping[str, float]
    validation_ndcg: float
    scorer: Scorer


def tune(name: str, dataset: Dataset, split: Split) -> Tuned:
    """Choose a baseline's settings by NDCG@10 of the validation events, then refit on train + validation."""
    fit, grid = BASELINES[name]
    train = interactions(dataset, split.train)
    histories = train[dataset.event_user[split.validation]]
    target = dataset.event_item[split.validation]
    quality = [
        float(ndcg(rank(fit(train, **settings), histories, 10), target, 10).mean()) for settings in grid
    ]
    best = int(np.argmax(quality))
    refitted = fit(interactions(dataset, split.train_and_validation), **grid[best])
    return Tuned(grid[best], quality[best], refitted)


def rank(scorer: Scorer, histories: Any, k: int, batch: int = 1024) -> NDArray[np.int32]:
    """The best `k` items of each history [n, k], the history itself removed, ties by row; -1 pads."""
    ranked = np.full((histories.shape[0], k), -1, np.int32)
    for start in range(0, histories.shape[0], batch):
        block = histories[start : start + batch]
        scores = scorer(block)
        scores[block.nonzero()] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        listed = np.isfinite(np.take_along_axis(scores, best, axis=1))
        ranked[start : start + batch, : best.shape[1]] = np.where(listed, best, -1)
    return ranked


def _largest(matrix: Any, k: int) -> Any:
    """Only the `k` largest entries of each row."""
    order = np.lexsort((-matrix.data, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))))
    rank_in_row = np.empty(matrix.nnz, np.int64)
    rank_in_row[order] = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], np.diff(matrix.indptr))
    matrix.data[rank_in_row >= k] = 0
    matrix.eliminate_zeros()
    return matrix


def _solve(rows: Any, other: NDArray[Any], l2: float, unobserved: float, exponent: float) -> NDArray[Any]:
    """The vector of each row, given the other side's vectors [m, d]."""
    everywhere = unobserved * other.T @ other
    identity = np.eye(other.shape[1])
    solved = np.zeros((rows.shape[0], other.shape[1]))
    for row in range(rows.shape[0]):
        seen = other[rows.indices[rows.indptr[row] : rows.indptr[row + 1]]]
        ridge = l2 * (len(seen) + unobserved * len(other)) ** exponent
        solved[row] = np.linalg.solve(seen.T @ seen + everywhere + ridge * identity, seen.sum(axis=0))
    return solved
