"""Text as search reads it: folded, cut into words, hashed. Shared by training, indexing and serving.

Any script is read. Case, accents and width do not count. Scripts that are written without spaces (Chinese,
Japanese, Thai ...) and Hangul are cut into pairs of signs. All of this is our choice; the pairs are those of
Lucene's CJKBigramFilter, with the single signs beside them.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LONGEST_WORD = 40
"""Letters of a word that count; what follows is left out."""
MOST_WORDS = 32
"""Words of a query that count: a pasted page costs no more than a long question."""
MOST_LETTERS = 1000
"""Characters of a query that are read at all."""

WORD_TOKENS = 24
GRAM_TOKENS = 96
"""Columns of a query's tokens: words and pairs of words, and character n-grams."""

_ASCII = re.compile(r"[a-z0-9]+")
_APOSTROPHES = re.compile("(?<=\\w)['\u2019\u02bc](?=\\w)")
_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŧ": "t"}
)
"""Latin letters that have no accent to take away."""
_ACCENTS = ((0x0300, 0x036F), (0x0591, 0x05C7), (0x064B, 0x065F), (0x1AB0, 0x1AFF), (0x20D0, 0x20FF))
"""Marks that a reader may leave out: of Latin, Greek and Cyrillic, and the vowel points of Hebrew and Arabic.
The marks of Indic scripts are letters to their readers and stay."""
_SPACELESS = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x3005, 0x3007),
    (0x3040, 0x30FF), (0x3130, 0x318F), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip


def words(text: str, *, query: bool = False) -> list[str]:
    """The words of a text in order, folded; empty for a text without any letter or digit.

    A run of a script without spaces is its pairs of signs and, in what is indexed, each sign as well; a
    `query` has single signs only where a run is a single one.
    """
    folded = fold(text)
    if folded.isascii():
        return [word[:LONGEST_WORD] for word in _ASCII.findall(folded)]
    return [word[:LONGEST_WORD] for run in _runs(folded) for word in _cut(run, query)]


def query_words(text: str) -> list[str]:
    """The distinct words of a query, in order: at most `MOST_WORDS` of its first `MOST_LETTERS` signs."""
    return list(dict.fromkeys(words(text[:MOST_LETTERS], query=True)))[:MOST_WORDS]


def fold(text: str) -> str:
    """Lower case without accents, full-width signs as usual ones; lone surrogates become question marks."""
    if text.isascii():
        return text.lower().replace("'", "") if "'" in text else text.lower()
    safe = text.encode("utf-8", "replace").decode("utf-8")
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", safe) if not _within(ord(sign), _ACCENTS))
    whole = unicodedata.normalize("NFKC", bare).casefold().translate(_LETTERS)
    return _APOSTROPHES.sub("", whole)


def hashed(text: str, buckets: int) -> tuple[Ints, Ints]:
    """Tokens 1..`buckets` of a query's words with their pairs, and of its character n-grams; no padding.

    The n-grams are those of 3 and 4 characters of each word between marks, so that a misspelt word shares
    most of them with the right one (fastText's idea, arXiv 1607.04606).
    """
    found = words(text[:MOST_LETTERS], query=True)[:MOST_WORDS]
    pairs = [f"{one} {other}" for one, other in pairwise(found)]
    # Both kinds get some room, single words first.
    return (
        _tokens([*found, *pairs][:WORD_TOKENS], "w:", buckets),
        _tokens([gram for word in found for gram in _grams(word)][:GRAM_TOKENS], "g:", buckets),
    )


def encode_texts(texts: Sequence[str], buckets: int) -> tuple[Ints, Ints]:
    """`hashed` of n texts: [n, WORD_TOKENS] and [n, GRAM_TOKENS], 0 pads."""
    word_rows = np.zeros((len(texts), WORD_TOKENS), np.int64)
    gram_rows = np.zeros((len(texts), GRAM_TOKENS), np.int64)
    for row, text in enumerate(texts):
        word_tokens, gram_tokens = hashed(text, buckets)
        word_rows[row, : len(word_tokens)] = word_tokens
        gram_rows[row, : len(gram_tokens)] = gram_tokens
    return word_rows, gram_rows


def _tokens(parts: Iterable[str], mark: str, buckets: int) -> Ints:
    return np.array([1 + zlib.crc32((mark + part).encode()) % buckets for part in parts], np.int64)


def _grams(word: str) -> Iterator[str]:
    marked = f"<{word}>"
    for size in (3, 4):
        for start in range(len(marked) - size + 1):
            yield marked[start : start + size]


def _runs(folded: str) -> Iterator[tuple[bool, str]]:
    """Runs of letters, digits and marks; True where it is of a script without spaces."""
    run, kind = "", 0
    for sign in folded:
        of = _kind(sign)
        if of != kind and run:
            yield kind == 2, run
            run = ""
        run, kind = run + sign if of else "", of
    if run:
        yield kind == 2, run


def _cut(run: tuple[bool, str], query: bool) -> Iterator[str]:
    spaceless, text = run
    if not spaceless or len(text) == 1:
        yield text
        return
    if not query:
        yield from text
    yield from (one + other for one, other in pairwise(text))


@lru_cache(1 << 14)
def _kind(sign: str) -> int:
    """0 no part of a word, 1 of one, 2 of a script without spaces."""
    if _within(ord(sign), _SPACELESS) and unicodedata.category(sign)[0] in "LMN":
        return 2
    return int(unicodedata.category(sign)[0] in "LMN")


def _within(code: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return code > 0x02FF and any(low <= code <= high for low, high in ranges)
