"""Text search over titles and attribute words (tantivy, BM25)."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from math import log1p
from pathlib import Path

import numpy as np
import tantivy
from numpy.typing import NDArray

from models.artifacts import BundleError
from models.text import query_words, words
from retrieval.order import descending

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

TITLE, TEXT = "title", "text"
"""Fields of every index: the title, and the words of whatever has no field of its own."""
WEIGHTS: Mapping[str, float] = {TITLE: 3.0}
"""Weights of fields; one that is not named counts 1 (our choice)."""
GUESS = 0.5
"""What a guessed word counts of a word that few items have, see `LexicalIndex.guess_score`."""
SHORTEST_GUESS = 3
"""Letters from which on a word may be misspelt."""
SHORTEST_PREFIX = 2
"""Letters from which on the last word may be the beginning of one."""
LONG_WORD = 8
"""Letters from which on two letters may be wrong."""
_MOST_GUESSES = 4
"""Unknown words of a query that are guessed at."""
_MOST_ENDINGS = 16
"""Words that the last, unfinished word of a query may become, those of the most items first."""
_FEW = 5
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def build_lexical(
    folder: Path,
    titles: Iterable[str],
    texts: Iterable[str],
    columns: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Write an index over m items into the new or empty `folder`; item row i has title i and words i.

    `columns` are attributes with a field of their own, each of m texts; see `has_field`.

    Raises:
        ValueError: the columns differ in length, or the name of one cannot be a field's.
    """
    columns = columns or {}
    if odd := [name for name in columns if not has_field(name)]:
        raise ValueError(f"{odd[0]!r} cannot be a field of its own")
    folder.mkdir(parents=True, exist_ok=True)
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("row", fast=True)
    names = (TITLE, TEXT, *columns)
    for name in names:
        # Words are cut before they get here, as the query's are.
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    schema = builder.build()
    index = tantivy.Index(schema, path=str(folder), reuse=False)
    writer = index.writer(128_000_000, 1)
    for row, values in enumerate(zip(titles, texts, *columns.values(), strict=True)):
        fields = {name: " ".join(words(value)) for name, value in zip(names, values, strict=True)}
        writer.add_document(tantivy.Document.from_dict({"row": row, **fields}, schema))
    writer.commit()
    writer.wait_merging_threads()
    for lock in folder.glob(".tantivy-*.lock"):
        lock.unlink()


def has_field(name: str) -> bool:
    """Whether an attribute of that name can have a field of its own; the others share `TEXT`."""
    return _FIELD.fullmatch(name) is not None and name not in ("row", TITLE, TEXT)


class LexicalIndex:
    """An opened index; safe to use from several threads."""

    def __init__(self, index: tantivy.Index, fields: Iterable[str]) -> None:
        self._schema = index.schema
        self._searcher = index.searcher()
        self.fields = tuple(fields)

    @classmethod
    def open(cls, folder: Path) -> LexicalIndex:
        """Map an index into memory without writing to its folder.

        Tantivy creates a lock file beside the index that it opens, which a read-only bundle refuses and a
        bundle with hashes should not contain; so it is shown a temporary folder of links, gone when it has
        mapped the files.

        Raises:
            BundleError: the folder holds no readable index.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="cascada-lexical-", ignore_cleanup_errors=True) as links:
                for file in folder.resolve().iterdir():
                    os.symlink(file, Path(links, file.name))
                index = tantivy.Index.open(links)
                index.config_reader("Manual", 1)
                described = json.loads(Path(links, "meta.json").read_bytes())["schema"]
                return cls(index, [entry["name"] for entry in described if entry["type"] == "text"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{folder}: not a readable lexical index: {error}") from error

    @property
    def size(self) -> int:
        """Number of items."""
        return int(self._searcher.num_docs)

    def search(self, text: str, k: int, weights: Mapping[str, float] = WEIGHTS) -> tuple[Rows, Floats]:
        """The best k items for any text a user may type: rows and scores, best first, ties by row.

        The score is the sum over words and fields of BM25 times the field's weight; an item need not have all
        words. A word that no item has is guessed at: within an edit distance of one (two from eight letters
        on), and the last one, which may be unfinished, as a beginning. Text without a word finds nothing.
        """
        queries = self._queries(query_words(text), weights)
        if k < 1 or not queries:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        either = [(tantivy.Occur.Should, query) for query in queries]
        hits = self._searcher.search(tantivy.Query.boolean_query(either), limit=k, count=False).hits
        scores = np.array([score for score, _ in hits], np.float32)
        rows = np.array(self._searcher.fast_field_values("row", [address for _, address in hits]), np.int32)
        order = descending(scores, rows)
        return rows[order], scores[order]

    def knows(self, word: str) -> bool:
        """Whether any item has this folded word."""
        return any(self._searcher.doc_freq(name, word) for name in self.fields)

    def word_score(self, field: str, word: str) -> float:
        """What an item of average length scores for having this word once in this field: BM25's idf."""
        having = self._searcher.doc_freq(field, word) if field in self.fields else 0
        return self._idf(having)

    def guess_score(self) -> float:
        """What a guessed word scores: `GUESS` of a word that few items have."""
        return GUESS * self._idf(min(_FEW, self.size))

    def _idf(self, having: int) -> float:
        return log1p((self.size - having + 0.5) / (having + 0.5))

    def _queries(self, wanted: list[str], weights: Mapping[str, float]) -> list[tantivy.Query]:
        """One query per word and field that has it, boosted by field."""
        queries: list[tantivy.Query] = []
        guesses = 0
        for word in wanted:
            having = [name for name in self.fields if self._searcher.doc_freq(name, word)]
            queries += [self._term(name, word, weights.get(name, 1.0)) for name in having]
            if not having and guesses < _MOST_GUESSES:
                guesses += 1
                for name in self.fields:
                    queries += self._guess(name, word, weights.get(name, 1.0), last=word == wanted[-1])
        return queries

    def _guess(self, name: str, word: str, weight: float, *, last: bool) -> list[tantivy.Query]:
        found = []
        if last and len(word) >= SHORTEST_PREFIX:
            endings = self._searcher.terms_with_prefix(name, word, limit=_MOST_ENDINGS)
            found = [self._term(name, ending, GUESS * weight) for ending, _ in endings]
        if not found and len(word) >= SHORTEST_GUESS:
            similar = tantivy.Query.fuzzy_term_query(self._schema, name, word, distance_of(word))
            found = [tantivy.Query.boost_query(similar, self.guess_score() * weight)]
        return found

    def _term(self, name: str, word: str, weight: float) -> tantivy.Query:
        exact = tantivy.Query.term_query(self._schema, name, word, "freq")
        return tantivy.Query.boost_query(exact, weight)


def distance_of(word: str) -> int:
    """How many letters of a word may be wrong, missing, too many or swapped."""
    return 2 if len(word) >= LONG_WORD else 1
