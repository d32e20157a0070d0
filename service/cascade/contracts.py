"""What the runner checks of a stage's result. A breach is a programmer's error, never a degradation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.masks import every, marked, some
from service.cascade.candidates import Candidates
from service.cascade.membership import has_twice
from service.cascade.query import Query
from service.cascade.stages import Stage
from service.errors import ContractViolation

_SINGLE, _MASK = np.dtype(np.float32), np.dtype(np.bool_)


class NoFiniteScore(Exception):
    """A scorer failed: of several candidates it could score none."""


def query(stage: Stage, result: Any) -> Query:
    """A hydrator's result."""
    if not isinstance(result, Query):
        raise ContractViolation(stage.name, f"returned {type(result).__name__}, not a Query")
    return result


def candidates(stage: Stage, result: Any) -> Candidates:
    """A source's result: distinct int32 rows with a float32 score."""
    if not isinstance(result, Candidates):
        raise ContractViolation(stage.name, f"returned {type(result).__name__}, not Candidates")
    if result.rows.dtype != np.int32 or result.rows.ndim != 1:
        raise ContractViolation(stage.name, f"proposed rows of {_form(result.rows)}, not int32 [N]")
    if "score" not in result.columns:
        raise ContractViolation(stage.name, "proposed candidates without a column 'score'")
    _vector(stage, result["score"], _SINGLE, len(result))
    if has_twice(result.rows):
        raise ContractViolation(stage.name, "proposed an item twice")
    return result


def mask(stage: Stage, result: Any, batch: Candidates) -> NDArray[np.bool_]:
    """A filter's result."""
    return _vector(stage, result, _MASK, len(batch))


@dataclass(frozen=True, slots=True)
class Scored:
    """A scorer's `values` [N], of which `odd` are not finite."""

    values: NDArray[np.float32]
    odd: int

    def __len__(self) -> int:
        return len(self.values)


def scores(stage: Stage, result: Any, batch: Candidates) -> Scored:
    """A scorer's result.

    Raises:
        NoFiniteScore: none of the scores is finite.
    """
    vector = _vector(stage, result, _SINGLE, len(batch))
    finite = np.isfinite(vector)
    if every(finite):
        return Scored(vector, 0)
    if not some(finite):
        raise NoFiniteScore(f"none of {len(vector)} scores of {stage.name!r} is finite")
    return Scored(vector, len(vector) - int(np.count_nonzero(finite)))


def positions(stage: Stage, result: Any, batch: Candidates, size: int) -> NDArray[np.intp]:
    """A selector's result: at most `size` distinct positions in the batch."""
    if not isinstance(result, np.ndarray) or result.ndim != 1 or result.dtype.kind not in "iu":
        raise ContractViolation(stage.name, f"picked {_form(result)}, not integers [n]")
    if len(result) > size:
        raise ContractViolation(stage.name, f"picked {len(result)} candidates, at most {size} were wanted")
    count = len(batch)
    # As numbers without a sign negative ones are the largest.
    if not every(result.astype(np.uintp) < count):
        raise ContractViolation(stage.name, f"picked a position outside 0..{count - 1}")
    if len(result) > np.count_nonzero(marked(result, count)):
        raise ContractViolation(stage.name, "picked a candidate twice")
    return result


def chances(
    stage: Stage, result: Any, batch: Candidates, picked: NDArray[np.intp]
) -> NDArray[np.float32] | None:
    """A propensity of each pick, or None."""
    if result is None:
        return None
    vector = _vector(stage, result, _SINGLE, len(picked))
    if not every((vector > 0) & (vector <= 1 + 1e-6)):
        raise ContractViolation(stage.name, "gave a pick a propensity that is not above 0 and at most 1")
    return vector


def _vector(stage: Stage, result: Any, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    if not isinstance(result, np.ndarray) or result.shape != (size,) or result.dtype != dtype:
        raise ContractViolation(stage.name, f"returned {_form(result)}, not {dtype} [{size}]")
    return result


def _form(result: Any) -> str:
    return f"{result.dtype} {list(result.shape)}" if isinstance(result, np.ndarray) else type(result).__name__
