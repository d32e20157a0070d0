"""What a process keeps in memory after the bundle is open."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

from numpy.typing import NDArray


def release(array: NDArray[Any]) -> None:
    """Let go of the pages of a memory-mapped array; whoever reads it again finds them in the system's cache.

    An array that is no memory map stays as it is.
    """
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def release_freed() -> None:
    """Give freed memory back to the system, where the C library can: opening a bundle frees a lot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
