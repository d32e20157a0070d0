from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.placing import placed
from service.auction.field import Field
from service.auction.listing import Draft, listed
from service.cascade.candidates import Candidates
from service.cascade.query import Fate, Outcome
from service.offers import Ads, Offer


def outcome(rows: list[int], cut: list[int]) -> Outcome:
    columns = {
        "score": np.linspace(1, 0, len(rows), dtype=np.float32),
        "pctr": np.full(len(rows), 0.5, np.float32),
        "sources": np.ones(len(rows), np.int32),
        "interest_index": np.zeros(len(rows), np.int32),
    }
    fates = (Fate("rank", "cut", _rows(cut)), Fate("answer", "returned", _rows(rows)))
    return Outcome(_rows(rows), columns, ("popular",), (), fates, {})


def _rows(rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int32)


def field(ranked: list[int], found: list[int]) -> Field:
    """Ads that the list's own cascade ranked, and those that only the one for ads found."""
    ads = Ads.of({row: Offer(row + 1, "EUR", "a") for row in ranked + found})
    own = Candidates.of(
        _rows(ranked),
        score=np.full(len(ranked), 0.25, np.float32),
        pctr=np.full(len(ranked), 0.2, np.float32),
        sources=np.ones(len(ranked), np.int32),
        interest_index=np.full(len(ranked), 3, np.int32),
    )
    lane = Candidates.of(_rows(found), pctr=np.full(len(found), 0.1, np.float32))
    rows = _rows(ranked + found)
    return Field(
        ads=ads,
        rows=rows,
        pctr=np.concatenate([own["pctr"], lane["pctr"]]).astype(np.float64),
        bids=ads.bids[ads.at(rows)],
        owners=ads.advertiser[ads.at(rows)],
        parts=(own, lane),
        part=np.repeat([0, 1], [len(ranked), len(found)]),
        position=np.concatenate([np.arange(len(ranked)), np.arange(len(found))]),
        most=np.array([9]),
        fates=(),
    )


@given(
    organic=st.lists(st.integers(0, 9), unique=True, max_size=8),
    cut=st.lists(st.integers(10, 14), unique=True, max_size=4),
    late=st.lists(st.integers(20, 24), unique=True, max_size=4),
    slots=st.sets(st.integers(0, 7), max_size=4),
    data=st.data(),
)
def test_nothing_comes_twice_and_every_candidate_ends_once(
    organic: list[int], cut: list[int], late: list[int], slots: set[int], data: st.DataObject
) -> None:
    before = outcome(organic, cut)
    ranked = [row for row in (*organic, *cut) if row % 2]
    whole = field(ranked, late)
    winners = np.array(
        data.draw(st.lists(st.sampled_from(range(max(1, len(whole)))), unique=True, max_size=len(slots)))
        if len(whole)
        else [],
        np.intp,
    )
    stay = np.flatnonzero(~np.isin(before.rows, whole.rows[winners]))
    page = placed(len(stay), len(winners), sorted(slots), 8)
    drafted = Draft(page, stay, winners)
    after = listed(before, whole, drafted)
    rows = after.rows.tolist()
    assert len(set(rows)) == len(rows)
    ended = np.concatenate([fate.rows for fate in after.fates]).tolist()
    assert sorted(ended) == sorted({*organic, *cut, *rows})
    assert len(set(ended)) == len(ended)
    assert after.fates[-1].rows.tolist() == rows
    assert set(drafted.places) <= slots
    assert [row for row in rows if row not in whole.rows[winners]] == [
        row for row in organic if row not in whole.rows[winners] and row in rows
    ]
    for place, row in enumerate(rows):
        bits = int(after.columns["sources"][place])
        is_ad = place in drafted.places
        assert bool(bits & 2) == is_ad
        assert np.isfinite(after.columns["score"][place])
        if is_ad and row in late:
            assert (bits, int(after.columns["interest_index"][place])) == (2, -1)
            assert after.columns["score"][place] == np.float32(0.1)
        elif is_ad:
            assert (bits, int(after.columns["interest_index"][place])) == (3, 3)
            assert after.columns["score"][place] == np.float32(0.25)
    assert after.source_names == ("popular", "sponsored")
