"""Filters are the authority: each holds whatever a source proposes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from retrieval.preferences import Preferences
from service.cascade.candidates import Candidates
from service.cascade.filters.available import Available
from service.cascade.filters.excluded import Excluded
from service.cascade.filters.muted import Muted
from service.cascade.filters.rule import Rule
from service.cascade.filters.seen import Seen, Shown
from tests.support.queries import a_query, a_user

BATCH = Candidates.of(np.array([4, 1, 3, 2], np.int32))
TWO = np.array([2, 4], np.int32)
CATALOGUE: Any = SimpleNamespace(
    available=np.array([True, False, True, True, False]), clusters_of=lambda rows: rows % 2
)
ODD = Preferences.of(muted=[1])


@pytest.mark.parametrize(
    ("one", "query", "kept"),
    [
        (Seen(), a_query(user=a_user((2, 4))), [1, 3]),
        (Seen(), a_query(user=a_user((2, 4)), include_seen=True), [4, 1, 3, 2]),
        (Shown(), a_query(shown=TWO), [1, 3]),
        (Shown(), a_query(), [4, 1, 3, 2]),
        (Excluded(), a_query(exclude=TWO), [1, 3]),
        (Excluded(), a_query(exclude=TWO, anchor=3), [1]),
        (Available(CATALOGUE), a_query(), [3, 2]),
        (Muted(CATALOGUE), a_query(preferences=ODD), [4, 2]),
        (Muted(CATALOGUE), a_query(preferences=ODD, include_muted=True), [4, 1, 3, 2]),
        (Muted(CATALOGUE), a_query(preferences=Preferences.of(pinned=[1])), [4, 1, 3, 2]),
        (Rule(), a_query(rule=np.array([True, True, False, False, True])), [4, 1]),
        (Rule(), a_query(), [4, 1, 3, 2]),
    ],
)
def test_a_filter_keeps_what_its_name_says(one: Any, query: Any, kept: list[int]) -> None:
    batch = BATCH.take(one.keep(query, BATCH)) if one.applies(query) else BATCH
    assert batch.rows.tolist() == kept
