from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encode import (
    CROSS,
    GAP_BUCKETS,
    bucket_span,
    cross_features,
    encode_histories,
    encode_history,
    encode_records,
    field_tokens,
    kind_tokens,
    text_grams,
    total_size,
    total_width,
)
from models.schema import Field, FieldKind, Schema

TITLE = Field("title", FieldKind.TEXT, width=6, hash_size=50)
GENRES = Field("genres", FieldKind.SET, vocabulary=("a", "b", "c"), width=2)
YEAR = Field("year", FieldKind.NUMBER, edges=(1990.0, 2000.0))
TOWN = Field("town", FieldKind.CATEGORY, vocabulary=("x", "y"))
SCHEMA = Schema((TITLE, GENRES, YEAR), (TOWN,), ("view", "buy"), history_length=4, session_gap_ms=1000)
SECOND = 1000


def history(times: list[int], now: int, schema: Schema = SCHEMA):
    rows = np.arange(1, len(times) + 1, dtype=np.int32)
    return encode_history(schema, rows, np.ones(len(times), np.int64), np.array(times, np.int64), now)


class TestRecords:
    def test_the_tokens_of_records_never_change(self):
        """Golden values: another answer would break every bundle that is out there."""
        records = [
            {"title": "Toy Story", "genres": ["c", "z", "a", "b"], "year": 1995},
            {},
            {"title": "ÄÖ", "genres": "b", "year": float("nan")},
        ]
        assert encode_records(SCHEMA.item_fields, records).tolist() == [
            [41, 37, 50, 41, 48, 15, 54, 52, 57],
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
            [7, 31, 7, 0, 0, 0, 53, 0, 0],
        ]

    def test_words_come_before_their_trigrams_in_lower_case(self):
        assert text_grams("Café No-1") == [
            *("café", "no", "1"),
            *("<ca", "caf", "afé", "fé>", "<no", "no>", "<1>"),
        ]

    @pytest.mark.parametrize(
        ("field", "value", "tokens"),
        [
            (GENRES, ["c", "a", "b"], [3, 1]),
            (GENRES, ["z"], []),
            (GENRES, "c", [3]),
            (GENRES, (), []),
            (TOWN, "y", [2]),
            (TOWN, "nowhere", []),
            (TOWN, 7, []),
            (TOWN, None, []),
            (YEAR, 1989, [1]),
            (YEAR, 1990, [2]),
            (YEAR, "1999.5", [2]),
            (YEAR, 2000, [3]),
            (YEAR, float("nan"), []),
            (YEAR, None, []),
            (TITLE, "", []),
            (TITLE, None, []),
        ],
    )
    def test_a_value_becomes_tokens(self, field, value, tokens):
        assert field_tokens(field, value) == tokens

    @pytest.mark.parametrize("value", ["young", [1990], {}])
    def test_what_is_no_number_is_refused(self, value):
        with pytest.raises((TypeError, ValueError)):
            field_tokens(YEAR, value)

    @given(st.text(max_size=40), st.lists(st.sampled_from("abcz"), max_size=5), st.floats(width=32))
    def test_tokens_stay_in_the_range_of_their_field(self, title, genres, year):
        row = encode_records(SCHEMA.item_fields, [{"title": title, "genres": genres, "year": year}])[0]
        parts = np.split(row, np.cumsum([f.width for f in SCHEMA.item_fields])[:-1])
        offset = 0
        for field, part in zip(SCHEMA.item_fields, parts, strict=True):
            used = part[part > 0] - offset
            assert ((used >= 1) & (used < field.size)).all()
            offset += field.size
        assert offset == total_size(SCHEMA.item_fields)

    def test_without_fields_there_is_still_a_column(self):
        assert total_width(()) == total_size(()) == 1
        assert encode_records((), [{}, {"a": 1}]).tolist() == [[0], [0]]


class TestSpans:
    def test_buckets_are_powers_of_two_of_seconds(self):
        spans = np.array([0, 999, 1000, 1999, 2000, 3000, 4000, 7000, 8000])
        assert bucket_span(spans).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5]

    def test_a_clock_that_jumped_back_counts_as_none(self):
        assert bucket_span(np.array([-1, -(10**15)])).tolist() == [1, 1]

    def test_the_last_bucket_takes_all_the_rest(self):
        years = 365 * 86_400 * 1000
        assert bucket_span(np.array([69 * years, 10**18])).tolist() == [GAP_BUCKETS - 1] * 2

    @given(st.lists(st.integers(0, 10**18), min_size=2, max_size=30))
    def test_a_longer_span_has_no_lower_bucket(self, spans):
        buckets = bucket_span(np.sort(np.array(spans, np.int64)))
        assert (np.diff(buckets) >= 0).all()
        assert buckets.min() >= 1


class TestHistory:
    def test_gap_leads_to_the_next_event_and_age_to_now(self):
        encoded = history([0, 2 * SECOND, 9 * SECOND], now=25 * SECOND)
        spans = {"gap": [2, 7, 16], "age": [25, 23, 16]}
        for name, seconds in spans.items():
            expected = bucket_span(np.array(seconds) * SECOND)
            assert getattr(encoded, name)[0].tolist() == expected.tolist()

    def test_recent_is_the_newest_run_without_a_pause(self):
        encoded = history([0, 500, 1600, 2600, 3500], now=10**9, schema=SCHEMA)
        assert encoded.rows.tolist() == [[2, 3, 4, 5]]
        assert encoded.recent.tolist() == [[False, True, True, True]]

    def test_a_pause_of_exactly_the_limit_does_not_part_sessions(self):
        assert history([0, 1000, 2001], now=2001).recent.tolist() == [[False, False, True]]

    def test_the_pause_before_now_does_not_end_the_session(self):
        assert history([0, 10], now=10**12).recent.tolist() == [[True, True]]

    def test_only_the_newest_are_read(self):
        encoded = history(list(range(9)), now=10)
        assert encoded.rows.tolist() == [[6, 7, 8, 9]]
        assert encoded.mask.all()

    def test_nothing_is_one_masked_place_of_zeros(self):
        encoded = history([], now=5)
        assert len(encoded) == 1
        for name in ("rows", "kind", "gap", "age", "recent", "mask"):
            assert getattr(encoded, name).tolist() == [[0]], name
        assert encoded.rows.dtype == np.int32
        assert encoded.mask.dtype == bool

    def test_padding_on_the_left_changes_nothing_at_real_places(self):
        times = np.array([[0, 0, 0, 700, 5000]])
        padded = encode_histories(
            SCHEMA,
            np.array([[9, 9, 1, 2, 3]], np.int32),
            np.ones((1, 5), np.int64),
            times,
            np.array([[False, False, True, True, True]]),
            np.array([6000]),
        )
        alone = history([0, 700, 5000], now=6000)
        for name in ("rows", "kind", "gap", "age", "recent", "mask"):
            assert getattr(padded, name)[:, 2:].tolist() == getattr(alone, name).tolist(), name
            assert not getattr(padded, name)[:, :2].any(), name

    def test_a_batch_encodes_like_its_singles(self):
        rng = np.random.default_rng(0)
        times = np.sort(rng.integers(0, 9000, (6, 4)), axis=1)
        rows = rng.integers(0, 50, (6, 4)).astype(np.int32)
        kinds = rng.integers(0, 3, (6, 4))
        together = encode_histories(SCHEMA, rows, kinds, times, np.ones((6, 4), bool), np.full(6, 9500))
        for b in range(6):
            alone = encode_history(SCHEMA, rows[b], kinds[b], times[b], 9500)
            for name in ("rows", "kind", "gap", "age", "recent", "mask"):
                assert getattr(together.at(slice(b, b + 1)), name).tolist() == getattr(alone, name).tolist()


def test_an_unknown_kind_is_token_0():
    assert kind_tokens(SCHEMA, ["buy", "view", "share"]).tolist() == [2, 1, 0]
    assert kind_tokens(SCHEMA, []).dtype == np.int64


def test_cross_features_stand_in_the_order_of_their_names():
    columns = {name: np.full(3, place, np.float32) for place, name in enumerate(CROSS)}
    stacked = cross_features({**columns, "other": np.ones(3, np.float32)})
    assert stacked.dtype == np.float32
    assert stacked.tolist() == [list(range(len(CROSS)))] * 3


def test_a_missing_cross_feature_is_named():
    with pytest.raises(KeyError, match="tower"):
        cross_features({})
