"""Word search over the few items that changed since the bundle's lexical index was written."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.text import query_words, words
from retrieval.lexical import (
    GUESS,
    SHORTEST_GUESS,
    SHORTEST_PREFIX,
    TEXT,
    WEIGHTS,
    LexicalIndex,
    distance_of,
)

Hit = tuple[int, str]
"""A row, and the field that holds the word."""

_MOST_SIMILAR = 16
"""Words that an unknown one may stand for."""


class Words:
    """Which changed rows hold which word in which attribute, scored as the bundle's index would do it."""

    def __init__(self, records: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        self._hits: defaultdict[str, list[Hit]] = defaultdict(list)
        for row, record in records:
            for field, value in record.items():
                for word in dict.fromkeys(_words(value)):
                    self._hits[word].append((row, field))

    def search(
        self, text: str, index: LexicalIndex, weights: Mapping[str, float] = WEIGHTS
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows that hold a word of the text, ascending, and scores that compare with those of `index`.

        A word counts what an item of average length would score for it there; one that neither knows is
        guessed at as there.
        """
        scores: defaultdict[int, float] = defaultdict(float)
        wanted = query_words(text)
        for word in wanted if self._hits else ():
            for held, share in self._meant(word, index, last=word == wanted[-1]):
                for row, field in self._hits[held]:
                    own = field if field in index.fields else TEXT
                    worth = index.guess_score() if share < 1 else index.word_score(own, held)
                    scores[row] += weights.get(own, 1.0) * worth
        rows = sorted(scores)
        return np.array(rows, np.int32), np.array([scores[row] for row in rows], np.float32)

    def _meant(self, word: str, index: LexicalIndex, *, last: bool) -> Iterator[tuple[str, float]]:
        """The words held here that this one can mean, and what each counts of a word that is there."""
        if word in self._hits:
            yield word, 1.0
        elif not index.knows(word):
            for guess in islice(self._similar(word, last=last), _MOST_SIMILAR):
                yield guess, GUESS

    def _similar(self, word: str, *, last: bool) -> Iterator[str]:
        if last and len(word) >= SHORTEST_PREFIX:
            start = bisect_left(self._sorted, word)
            begun = [one for one in self._sorted[start : start + _MOST_SIMILAR] if one.startswith(word)]
            if begun:
                yield from begun
                return
        if len(word) >= SHORTEST_GUESS:
            most = distance_of(word)
            # The first letter is hardly ever the wrong one, and so few words are compared.
            start = bisect_left(self._sorted, word[0])
            for one in islice(self._sorted, start, None):
                if one[0] != word[0]:
                    return
                if abs(len(one) - len(word)) <= most and _distance(one, word) <= most:
                    yield one

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._hits)


def _words(value: Any) -> list[str]:
    """Folded words of a text or number, or of each in a list."""
    if isinstance(value, (list, tuple)):
        return [word for one in value for word in _words(one)]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return []
    return words(str(value))


def _distance(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with a neighbour (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        now = [i]
        for j, b in enumerate(other, start=1):
            cost = min(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            now.append(cost)
        before, last = last, now
    return last[-1]
