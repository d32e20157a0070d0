"""FAISS's OpenMP threads, bounded in the thread that calls it."""

from __future__ import annotations

import threading

import faiss

_bound = threading.local()


def bound_threads(count: int) -> None:
    """Let FAISS use at most `count` OpenMP threads when it is called from this thread.

    OpenMP keeps the number per calling thread, so a bound that the main thread set says nothing of a worker
    thread; asking again for the same number costs one attribute look-up.
    """
    if getattr(_bound, "count", None) != count:
        faiss.omp_set_num_threads(count)
        _bound.count = count
