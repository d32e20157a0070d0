"""The query tower at serving: the words of a search to a query of the item index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import BundleError
from models.graph import Graph
from models.text import encode_texts
from retrieval.text_encoder import TextEncoder

Floats = NDArray[np.float32]
Inputs = dict[str, NDArray[Any]]

LEAST_GRAMS = 0.5
"""Of a text without any known word, so many of the n-grams have to be known: else it is only letters."""


class Reader(Protocol):
    """What a query tower reads of a text."""

    def read(self, text: str) -> Inputs | None:
        """The graph's inputs for one text; None where there is nothing to go by."""


@dataclass(frozen=True, slots=True)
class Hashes:
    """Hashed words and n-grams; `known` [2, buckets + 1] are those that training has met."""

    known: NDArray[np.bool_]

    @classmethod
    def open(cls, folder: Path) -> Hashes:
        """Those of a bundle folder.

        Raises:
            BundleError: they cannot be read.
        """
        path = folder / artifacts.QUERY_TOKENS
        try:
            known = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BundleError(f"{path}: {error}") from error
        if known.ndim != 2 or len(known) != 2 or known.dtype != bool:
            raise BundleError(f"{path}: not two rows of flags")
        return cls(known)

    def read(self, text: str) -> Inputs | None:
        """Known tokens; None where training has met neither the words nor most of the n-grams.

        Tokens that training never met are left out: their embeddings are what they were at the start.
        """
        words, grams = encode_texts([text], self.known.shape[1] - 1)
        kept_words, kept_grams = (
            np.where(known[tokens], tokens, 0)
            for known, tokens in zip(self.known, (words, grams), strict=True)
        )
        given, kept = np.count_nonzero(grams), np.count_nonzero(kept_grams)
        if not kept_words.any() and (kept == 0 or kept < LEAST_GRAMS * given):
            return None
        return {"words": kept_words, "grams": kept_grams}


@dataclass(frozen=True, slots=True)
class Encoded:
    """The vector of a frozen text model."""

    encoder: TextEncoder

    def read(self, text: str) -> Inputs | None:
        """The vector; None where the model's tokenizer knows nothing of the text."""
        vector = self.encoder.vector(text)
        return None if vector is None else {"embedding": vector[None]}


class QueryTower:
    """Text -> query vector [d + 1], in the space of the item vectors. Safe to use from several threads."""

    def __init__(self, graph: Graph, reader: Reader) -> None:
        self.graph = graph
        self.reader = reader

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> QueryTower | None:
        """The tower of a bundle folder; None where the bundle has none.

        Raises:
            BundleError: it has one that cannot be read, or that wants the package `tokenizers`.
        """
        if not (folder / artifacts.QUERY_TOWER).exists():
            return None
        encoder = TextEncoder.within(folder, threads=threads)
        reader: Reader = Hashes.open(folder) if encoder is None else Encoded(encoder)
        return cls(Graph.open(folder / artifacts.QUERY_TOWER, threads=threads), reader)

    @property
    def encoder(self) -> TextEncoder | None:
        """The text model that it reads with; None where it reads hashes."""
        return self.reader.encoder if isinstance(self.reader, Encoded) else None

    def vector(self, text: str) -> Floats | None:
        """The query [d + 1] of a text; None where the text says nothing that the tower knows."""
        inputs = self.reader.read(text)
        if inputs is None:
            return None
        found: Floats = self.graph.run(**inputs)[0]
        return found
