from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.lexical import LexicalIndex, build_lexical
from service.words import Words

WORDS = Words(
    [
        (7, {"title": "The Café of Horror", "genres": ["Drama", "Film-Noir"], "year": 1990, "colour": True}),
        (3, {"title": "A quiet place", "genres": None}),
        (5, {"title": "東京物語", "genres": ["Drama"]}),
    ]
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    folder: Path = tmp_path_factory.mktemp("lexical")
    titles = ["Quiet river", *["Drama"] * 20, "Hairspray"]
    build_lexical(folder, titles, ["place"] * len(titles))
    return LexicalIndex.open(folder)


def found(index: LexicalIndex, text: str) -> list[int]:
    return WORDS.search(text, index)[0].tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("horror", [7]),
        ("CAFE horror", [7]),
        ("noir", [7]),
        ("horror place", [3, 7]),
        ("1990", [7]),
        ("true", []),
        ("nothing", []),
        ("", []),
        ("!?", []),
        ("京物", [5]),
        ("東", [5]),
        ("hororr", [7]),
        ("horrr quiet", [3, 7]),
        ("film qui", [3, 7]),
    ],
)
def test_rows_that_hold_a_word_or_what_it_may_mean(index: LexicalIndex, text: str, rows: list[int]) -> None:
    assert found(index, text) == rows


def test_a_word_that_the_index_knows_is_not_guessed_at(index: LexicalIndex) -> None:
    assert found(index, "river") == []
    assert found(index, "hairspray") == []


def test_scores_are_those_that_the_index_would_give(index: LexicalIndex) -> None:
    rows, scores = WORDS.search("quiet drama place", index)
    by_row = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    own = index.word_score("title", "quiet") * 3 + index.word_score("title", "place") * 3

    assert by_row[3] == pytest.approx(own, rel=1e-6)
    assert by_row[7] == by_row[5] == pytest.approx(index.word_score("text", "drama"), rel=1e-6)


def test_fields_have_the_weights_that_are_asked_for(index: LexicalIndex) -> None:
    plain = WORDS.search("horror", index, {"title": 1.0})[1]
    heavy = WORDS.search("horror", index, {"title": 4.0})[1]

    assert heavy.tolist() == pytest.approx((4 * plain).tolist())


def test_a_guess_counts_less_than_the_word(index: LexicalIndex) -> None:
    assert WORDS.search("hororr", index)[1][0] < WORDS.search("horror", index)[1][0]
