import pytest

from models.data.titles import readable_title, split_year


@pytest.mark.parametrize(
    ("listed", "readable"),
    [
        ("Usual Suspects, The", "The Usual Suspects"),
        ("Fish Called Wanda, A", "A Fish Called Wanda"),
        ("Enfer, L'", "L'Enfer"),
        ("Hate (Haine, La)", "Hate (La Haine)"),
        ("Visitors, The (Visiteurs, Les)", "The Visitors (Les Visiteurs)"),
        ("Sex, Lies, and Videotape", "Sex, Lies, and Videotape"),
        (
            "To Wong Foo, Thanks for Everything! Julie Newmar",
            "To Wong Foo, Thanks for Everything! Julie Newmar",
        ),
        ("I, Robot", "I, Robot"),
        ("20,000 Leagues Under the Sea", "20,000 Leagues Under the Sea"),
        ("Toy Story", "Toy Story"),
    ],
)
def test_the_article_goes_in_front_and_nothing_else_moves(listed, readable):
    assert readable_title(listed) == readable


def test_the_year_is_taken_off_the_end_only():
    assert split_year("Toy Story (1995)") == ("Toy Story", 1995)
    assert split_year("2001: A Space Odyssey (1968) ") == ("2001: A Space Odyssey", 1968)
    assert split_year("Babylon 5") == ("Babylon 5", None)
    assert split_year("Movie (1984) again") == ("Movie (1984) again", None)
