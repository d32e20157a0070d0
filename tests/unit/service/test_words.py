from __future__ import annotations

import pytest

from service.words import Words

WORDS = Words(
    [
        (7, {"title": "The Café of Horror", "genres": ["Drama", "Film-Noir"], "year": 1990, "colour": True}),
        (3, {"title": "A quiet place", "genres": None}),
    ]
)


@pytest.mark.parametrize(
    ("text", "rows", "shares"),
    [
        ("horror", [7], [1.0]),
        ("CAFE horror", [7], [1.0]),
        ("noir", [7], [1.0]),
        ("horror place", [3, 7], [0.5, 0.5]),
        ("horror horror quiet place", [3, 7], [2 / 3, 1 / 3]),
        ("1990", [7], [1.0]),
        ("true", [], []),
        ("nothing", [], []),
        ("", [], []),
        ("!?", [], []),
    ],
)
def test_rows_by_the_share_of_words_that_they_hold(text: str, rows: list[int], shares: list[float]) -> None:
    found, held = WORDS.search(text)

    assert found.tolist() == rows
    assert held.tolist() == pytest.approx(shares)
