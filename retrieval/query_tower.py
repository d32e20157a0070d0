"""The query tower at serving: the words of a search to a query of the item index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import BundleError
from models.graph import Graph
from models.text import encode_texts

Floats = NDArray[np.float32]

LEAST_GRAMS = 0.5
"""Of a text without any known word, so many of the n-grams have to be known: else it is only letters."""


class QueryTower:
    """Text -> query vector [d + 1], in the space of the item vectors. Safe to use from several threads."""

    def __init__(self, graph: Graph, known: NDArray[np.bool_]) -> None:
        self._graph = graph
        self._known = known

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> QueryTower | None:
        """The tower of a bundle folder; None where the bundle has none.

        Raises:
            BundleError: it has one that cannot be read.
        """
        if not (folder / artifacts.QUERY_TOWER).exists():
            return None
        try:
            known = np.load(folder / artifacts.QUERY_TOKENS, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BundleError(f"{folder / artifacts.QUERY_TOKENS}: {error}") from error
        if known.ndim != 2 or len(known) != 2 or known.dtype != bool:
            raise BundleError(f"{folder / artifacts.QUERY_TOKENS}: not two rows of flags")
        return cls(Graph.open(folder / artifacts.QUERY_TOWER, threads=threads), known)

    @property
    def graph(self) -> Graph:
        """The ONNX graph."""
        return self._graph

    def vector(self, text: str) -> Floats | None:
        """The query [d + 1] of a text; None where training has met neither its words nor most of its n-grams.

        Tokens that training never met are left out: their embeddings are what they were at the start.
        """
        words, grams = encode_texts([text], self._known.shape[1] - 1)
        kept_words, kept_grams = (
            np.where(known[tokens], tokens, 0)
            for known, tokens in zip(self._known, (words, grams), strict=True)
        )
        given, kept = np.count_nonzero(grams), np.count_nonzero(kept_grams)
        if not kept_words.any() and (kept == 0 or kept < LEAST_GRAMS * given):
            return None
        found: Floats = self._graph.run(words=kept_words, grams=kept_grams)[0]
        return found
