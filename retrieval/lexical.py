"""Text search over titles and attribute words (tantivy, BM25)."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tantivy
from numpy.typing import NDArray

from models.artifacts import BundleError
from retrieval.order import descending

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

_ANALYZER = "folded"
_LONGEST_WORD = 40
_MOST_WORDS = 32
"""Words of a query that are looked up; a pasted page costs no more than a long question."""
_MOST_GUESSES = 4
"""Misspelt words of a query that are matched within an edit distance."""
_FIELDS = {"title": 3.0, "text": 1.0}
"""Fields and their boosts."""
_GUESS = 0.5
"""A misspelt word counts less than a word that matches, whose BM25 score is rarely under 1."""


def build_lexical(folder: Path, titles: Iterable[str], texts: Iterable[str]) -> None:
    """Write an index over m items into the new or empty `folder`; item row i has title i and words i."""
    folder.mkdir(parents=True, exist_ok=True)
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("row", fast=True)
    for name in _FIELDS:
        builder.add_text_field(name, tokenizer_name=_ANALYZER, index_option="freq")
    schema = builder.build()
    index = tantivy.Index(schema, path=str(folder), reuse=False)
    index.register_tokenizer(_ANALYZER, _analyzer())
    writer = index.writer(128_000_000, 1)
    for row, (title, text) in enumerate(zip(titles, texts, strict=True)):
        fields = {"row": row, "title": _clean(title), "text": _clean(text)}
        writer.add_document(tantivy.Document.from_dict(fields, schema))
    writer.commit()
    writer.wait_merging_threads()
    for lock in folder.glob(".tantivy-*.lock"):
        lock.unlink()


class LexicalIndex:
    """An opened index; safe to use from several threads."""

    def __init__(self, index: tantivy.Index) -> None:
        self._schema = index.schema
        self._searcher = index.searcher()
        self._words = _analyzer()

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
            with tempfile.TemporaryDirectory(prefix="cascada-lexical-") as links:
                for file in folder.resolve().iterdir():
                    os.symlink(file, Path(links, file.name))
                index = tantivy.Index.open(links)
                index.config_reader("Manual", 1)
                return cls(index)
        except (OSError, ValueError) as error:
            raise BundleError(f"{folder}: not a readable lexical index: {error}") from error

    @property
    def size(self) -> int:
        """Number of items."""
        return int(self._searcher.num_docs)

    def search(self, text: str, k: int) -> tuple[Rows, Floats]:
        """The best k items for any text a user may type: rows and BM25 scores, best first, ties by row.

        Case and accents are ignored, and so is everything that is not a letter or a digit. A word that no
        item has is matched within an edit distance of one (two from eight letters on). Words add up: an item
        need not have all of them. Text without a word finds nothing.
        """
        words = list(dict.fromkeys(self._words.analyze(_clean(text[: 4 * _LONGEST_WORD * _MOST_WORDS]))))
        queries = self._queries(words[:_MOST_WORDS])
        if k < 1 or not queries:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        either = [(tantivy.Occur.Should, query) for query in queries]
        hits = self._searcher.search(tantivy.Query.boolean_query(either), limit=k, count=False).hits
        scores = np.array([score for score, _ in hits], np.float32)
        rows = np.array(self._searcher.fast_field_values("row", [address for _, address in hits]), np.int32)
        order = descending(scores, rows)
        return rows[order], scores[order]

    def _queries(self, words: list[str]) -> list[tantivy.Query]:
        """One query per word and field that has it, boosted by field."""
        queries, guesses = [], 0
        for word in words:
            having = [name for name in _FIELDS if self._searcher.doc_freq(name, word)]
            for name in having:
                exact = tantivy.Query.term_query(self._schema, name, word, "freq")
                queries.append(tantivy.Query.boost_query(exact, _FIELDS[name]))
            if not having and len(word) > 2 and guesses < _MOST_GUESSES:
                guesses += 1
                queries.extend(self._guess(name, word) for name in _FIELDS)
        return queries

    def _guess(self, name: str, word: str) -> tantivy.Query:
        distance = 2 if len(word) >= 8 else 1
        similar = tantivy.Query.fuzzy_term_query(self._schema, name, word, distance)
        return tantivy.Query.boost_query(similar, _GUESS * _FIELDS[name])


def _analyzer() -> tantivy.TextAnalyzer:
    """Runs of letters and digits, lower-case, without accents."""
    folding = (
        tantivy.Filter.remove_long(_LONGEST_WORD),
        tantivy.Filter.lowercase(),
        tantivy.Filter.ascii_fold(),
    )
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for one in folding:
        builder = builder.filter(one)
    return builder.build()


def _clean(text: str) -> str:
    """One form per character, and none of the lone surrogates that JSON may carry and UTF-8 cannot."""
    return unicodedata.normalize("NFKC", text).encode("utf-8", "replace").decode("utf-8")
