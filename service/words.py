"""Word search over the few items that changed since the bundle's lexical index was written."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+")


class Words:
    """Which changed rows hold which word, in any of their attributes."""

    def __init__(self, records: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        self._rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, record in records:
            for word in {word for value in record.values() for word in _words(value)}:
                self._rows[word].append(row)

    def search(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows that hold a word of the text, ascending, and the share of its words that they hold."""
        wanted = set(_words(text))
        held = Counter(row for word in wanted for row in self._rows.get(word, ()))
        rows = np.array(sorted(held), np.int32)
        shares = np.array([held[row] / len(wanted) for row in sorted(held)], np.float32)
        return rows, shares


def _words(value: Any) -> list[str]:
    """Lower-case words without accents of a text or number, or of each in a list."""
    if isinstance(value, (list, tuple)):
        return [word for one in value for word in _words(one)]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return []
    folded = unicodedata.normalize("NFKD", str(value)).lower()
    return _WORD.findall("".join(sign for sign in folded if not unicodedata.combining(sign)))
