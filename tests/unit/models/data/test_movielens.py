import numpy as np
import pytest

from models.data.movielens import load_movielens_100k, load_movielens_small
from models.data.problems import DataError
from tests.unit.models.data.wheels import FILES, build_wheel

SMALL = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,7,4.0,20\n1,8,3.5,10\n2,7,0.5,30\n",
    "movies.csv": "movieId,title,genres\n"
    '7,"Matrix, The (1999)",Action|Sci-Fi\n8,Babylon 5,(no genres listed)\n',
    "tags.csv": "userId,movieId,tag,timestamp\n1,7,Dark,1\n2,7,cyber,1\n",
}


@pytest.fixture
def hundred_k(tmp_path):
    return load_movielens_100k(build_wheel(tmp_path), cache=tmp_path)


@pytest.fixture
def small(tmp_path):
    for name, text in SMALL.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_ratings_become_events_in_order_of_time_with_ties_in_file_order(hundred_k):
    assert [hundred_k.item_ids[row] for row in hundred_k.event_item] == ["20", "10", "20", "30"]
    assert hundred_k.event_time_ms.tolist() == [100_000, 100_000, 500_000, 500_000]
    assert hundred_k.event_value.tolist() == [5, 4, 3, 1]
    assert [hundred_k.event_kinds[kind] for kind in hundred_k.event_kind] == [
        "like",
        "like",
        "watch",
        "watch",
    ]


def test_records_are_readable_and_hold_only_what_is_known(hundred_k):
    record = dict(zip(hundred_k.item_ids, hundred_k.item_records, strict=True))
    assert record["10"] == {"title": "The Usual Suspects", "genres": ["Crime", "Thriller"], "year": 1995}
    assert record["20"] == {"title": 'The "Quoted" One', "year": 1990}
    assert record["267"] == {"title": "unknown"}
    assert record["30"] == {}
    assert hundred_k.user_records[0] == {"age": 24, "gender": "M", "occupation": "technician"}


def test_a_wheel_of_something_else_is_refused(tmp_path):
    without = {name: text for name, text in FILES.items() if name != "ml-100k.item"}
    with pytest.raises(DataError, match="does not hold MovieLens-100K"):
        load_movielens_100k(build_wheel(tmp_path, without), cache=tmp_path)


def test_tags_are_searches_in_order_of_time(small):
    (small / "tags.csv").write_text(
        "userId,movieId,tag,timestamp\n1,7,Dark,3\n2,8,a b,1\n2,999,of no film,1\n9,7,x,2\n2,7, ,2\n"
    )
    dataset = load_movielens_small(small)
    assert dataset.queries.text == ["a b", "x", "Dark"]
    assert dataset.queries.user.tolist() == [1, -1, 0]
    assert [dataset.item_ids[row] for row in dataset.queries.item] == ["8", "7", "7"]
    assert dataset.queries.time_ms.tolist() == [1000, 2000, 3000]


def test_the_small_set_without_tags_has_no_searches(small):
    (small / "tags.csv").unlink()
    assert load_movielens_small(small).queries is None


def test_the_small_set_takes_years_from_titles_and_tags_are_no_attributes(small):
    dataset = load_movielens_small(small)
    assert dataset.item_records == [
        {"title": "The Matrix", "genres": ["Action", "Sci-Fi"], "year": 1999},
        {"title": "Babylon 5"},
    ]
    assert [dataset.event_kinds[kind] for kind in dataset.event_kind] == ["watch", "like", "watch"]
    np.testing.assert_allclose(dataset.event_value, [3.5, 4.0, 0.5])


def test_a_missing_file_says_where_the_set_is_to_be_had(small):
    (small / "movies.csv").unlink()
    with pytest.raises(DataError, match=r"movies\.csv: no such file; unpack https://files\.grouplens\.org"):
        load_movielens_small(small)


def test_another_form_is_refused(small):
    (small / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,7,good,20\n")
    with pytest.raises(DataError, match="not ml-latest-small: could not convert"):
        load_movielens_small(small)
