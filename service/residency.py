"""What a process keeps in memory after the bundle is open."""

from __future__ import annotations

import ctypes
import gc
import mmap
from typing import Any

from numpy.typing import NDArray

_M_ARENA_MAX = -8
"""glibc's number for how many heaps `malloc` spreads threads over; by itself eight for each core."""

_GARBAGE = 5_000
"""So many more objects than were freed are there before garbage is looked for (Python's own 700 are a few
calls in progress, which leave no garbage; our choice)."""


def settle() -> None:
    """Look at what is there by now no more when garbage is collected: it stays as long as the process.

    A collection looks at every object that a process has: 120,000 after the start, which takes some 70 ms,
    and no answer is computed meanwhile. What is there may still be freed, as soon as nothing refers to it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, *gc.get_threshold()[1:])


def share_heap() -> None:
    """Let all threads share one heap, where the C library has more; to be called before there are threads.

    Each heap keeps what was freed in it. A bundle is opened in another thread than the one before it, so with
    a heap per thread the process grows with every swap until each of them has held a bundle.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_M_ARENA_MAX, 1)


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
