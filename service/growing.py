"""A table that grows: each snapshot sees its own rows, and a longer one need not copy them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_SPARE = 1.5
_LEAST = 256


class Growing:
    """n rows of d float32 that never change. Made by one thread at a time, read by many."""

    def __init__(self, buffer: _Buffer, size: int) -> None:
        self._buffer = buffer
        self._size = size

    @classmethod
    def of(cls, values: Floats) -> Growing:
        """The rows of `values` [n, d]."""
        return cls(_Buffer(values, len(values)), len(values))

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> Floats:
        """[n, d]; not to be written to."""
        return self._buffer.array[: self._size]

    def put(self, index: Sequence[int], values: Floats) -> Growing:
        """These rows with `values` [k, d] at the positions `index` [k], which may lie just past the end."""
        size = max([self._size, *(i + 1 for i in index)])
        buffer = self._buffer
        appends = all(i >= self._size for i in index)
        # Whoever made another table from this one already has written just past its end.
        if not appends or buffer.used != self._size or size > len(buffer.array):
            buffer = self._copied(size)
        buffer.array[list(index)] = values
        buffer.used = size
        return Growing(buffer, size)

    def take(self, index: Sequence[int]) -> Growing:
        """The rows at these positions alone."""
        return Growing.of(self.values[list(index)])

    def _copied(self, size: int) -> _Buffer:
        width = self._buffer.array.shape[1]
        array = np.zeros((max(_LEAST, int(size * _SPARE)), width), np.float32)
        array[: self._size] = self.values
        return _Buffer(array, self._size)


class _Buffer:
    """Room for rows, of which the first `used` belong to a table."""

    def __init__(self, array: Floats, used: int) -> None:
        self.array = array
        self.used = used
