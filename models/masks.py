"""Questions to masks of a request's size, for which numpy's `all` and `any` take several times as long."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def every(mask: Mask) -> bool:
    """Whether all of a mask of any shape is True; so it is of an empty one."""
    return 0 not in mask.tobytes()


def some(mask: Mask) -> bool:
    """Whether any of a mask of any shape is True."""
    return 1 in mask.tobytes()


def marked(positions: NDArray[np.integer] | Mask, size: int) -> Mask:
    """[size] True at `positions`, or at those of a mask."""
    mask = np.zeros(size, bool)
    mask[positions] = True
    return mask
