"""A graph that keeps its last answers: whoever pages through a list asks the same of it again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from numpy.typing import NDArray

from models.graph import Floats, Graph

Told = Callable[[bool], None]
"""Hears of each run whether its answer was at hand."""

_DIGEST = 16


class Remembering(Graph):
    """`graph` with its last `most` first outputs at hand, by all that it reads of its inputs.

    So an answer is that of the very same numbers, whatever has changed in between: an event, an item's
    vector, or the bucket of an age. An entry takes the bytes of the output and about 200 more. Safe to run
    from several threads.
    """

    def __init__(self, graph: Graph, most: int, told: Told) -> None:
        super().__init__(graph.session)
        self._most = most
        self._told = told
        self._known: dict[bytes, Floats] = {}
        self._lock = threading.Lock()

    def run(self, **inputs: NDArray[Any]) -> Floats:
        """The first output, which nobody may write into; see `Graph.run`."""
        key = self._key(inputs)
        with self._lock:
            found = self._known.pop(key, None)
            if found is not None:
                self._known[key] = found
        self._told(found is not None)
        return self._new(key, inputs) if found is None else found

    def _new(self, key: bytes, inputs: dict[str, NDArray[Any]]) -> Floats:
        answer = super().run(**inputs)
        answer.flags.writeable = False
        with self._lock:
            self._known[key] = answer
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        return answer

    def _key(self, inputs: dict[str, NDArray[Any]]) -> bytes:
        digest = blake2b(digest_size=_DIGEST)
        for name in self.inputs:
            digest.update(repr(inputs[name].shape).encode())
            digest.update(inputs[name].tobytes())
        return digest.digest()
