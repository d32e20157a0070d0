from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text import (
    GRAM_TOKENS,
    LONGEST_WORD,
    MOST_WORDS,
    WORD_TOKENS,
    encode_texts,
    hashed,
    query_words,
    words,
)

BUCKETS = 1 << 14


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Matrix (1999)", ["the", "matrix", "1999"]),
        ("Amélie AND the Straße", ["amelie", "and", "the", "strasse"]),
        ("ame\u0301lie", ["amelie"]),
        ("Ørsted's æon", ["orsteds", "aeon"]),
        ("Schindler's don\u2019t", ["schindlers", "dont"]),
        ("ＦＵＬＬ\u3000width", ["full", "width"]),
        ("Ёлки", ["елки"]),
        ("Ελληνικά", ["ελληνικα"]),
        ("مُحَمَّد", ["محمد"]),
        ("हिन्दी फ़िल्म", ["हिन्दी", "फ़िल्म"]),
        ("東京物語", ["東京", "京物", "物語"]),
        ("東", ["東"]),
        ("한국어 영화", ["한국", "국어", "영화"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
        ("mixed東京x", ["mixed", "東京", "x"]),
        ("a\x00b\x1fc", ["a", "b", "c"]),
        ("snake_case", ["snake", "case"]),
        ("\ud800x", ["x"]),
        ("", []),
        ("...!? 😀", []),
    ],
)
def test_the_words_of_any_script(text: str, expected: list[str]) -> None:
    assert query_words(text) == expected


def test_what_is_indexed_has_single_signs_too() -> None:
    assert words("東京") == ["東", "京", "東京"]


def test_a_flood_of_words_is_bounded() -> None:
    assert len(query_words(" ".join(f"w{n}" for n in range(5000)))) == MOST_WORDS
    assert query_words("a" * 10_000) == ["a" * LONGEST_WORD]
    assert len(hashed("word " * 4000, BUCKETS)[0]) <= WORD_TOKENS


@given(st.text(st.characters(codec=None)))
def test_any_text_has_tokens_within_bounds(text: str) -> None:
    word_tokens, gram_tokens = hashed(text, 100)
    for tokens, most in ((word_tokens, WORD_TOKENS), (gram_tokens, GRAM_TOKENS)):
        assert len(tokens) <= most
        assert ((tokens >= 1) & (tokens <= 100)).all()
    assert bool(len(word_tokens)) == bool(query_words(text))


def test_case_and_accents_do_not_change_the_tokens() -> None:
    for one, other in (("AMÉLIE", "amelie"), ("ｔｅｓｔ", "Test")):
        assert all(
            np.array_equal(a, b) for a, b in zip(hashed(one, BUCKETS), hashed(other, BUCKETS), strict=True)
        )


def test_a_typo_keeps_most_of_the_grams() -> None:
    right, wrong = (set(hashed(text, BUCKETS)[1].tolist()) for text in ("terminator", "termintor"))
    assert len(right & wrong) >= len(right) // 2


def test_encoded_rows_are_padded_with_nought() -> None:
    word_rows, gram_rows = encode_texts(["star wars", ""], BUCKETS)
    assert word_rows.shape == (2, WORD_TOKENS)
    assert gram_rows.shape == (2, GRAM_TOKENS)
    assert np.count_nonzero(word_rows[0]) == 3
    assert not word_rows[1].any()
    assert not gram_rows[1].any()
