"""An answer in steps: work that can pause after each stage, so that several answers can take turns."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Pauses where others may go on; what it returns is the work's result, what it raises its failure."""


def finish(steps: Steps[T]) -> T:
    """Take every step at once; the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
