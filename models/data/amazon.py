"""Amazon's product reviews (McAuley et al. 2015, arXiv 1506.04757), two categories, for research.

Every review is an event of the one kind `review`: there are no ratings in these files. The reviews are
those of http://jmcauley.ucsd.edu/data/amazon.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from models.data.columns import RELATIONS, Dataset
from models.data.lines import Ids, as_id, bad_line, columns, read_columns, read_item_lists, text_file
from models.data.plain_events import plain_dataset, row_times
from models.data.problems import DataError
from models.schema import FieldKind

_BEAUTY_SOURCE = "take data/Beauty.txt of https://github.com/salesforce/ICLRec and give its folder"
_GROCERY_SOURCE = (
    "take data/Grocery_and_Gourmet_Food of https://github.com/THUwangcy/ReChorus: user_id, item_id and time "
    "of train.csv, dev.csv and test.csv, sorted by time, are interactions.csv, item_meta.csv is items.csv"
)
_EVENTS = ("user_id", "item_id", "time")
_ITEMS = ("item_id", "i_category", "r_complement", "r_substitute")
_READ_AS = {"r_complement": "complementary", "r_substitute": "similar"}
_COLUMN_OF = {relation: column for column, relation in _READ_AS.items()}
_LAST_SECOND = 253_402_300_799


def load_amazon_beauty(folder: Path) -> Dataset:
    """`Beauty.txt` of a folder: a line `user item item ...` per user, in order of time.

    22,363 users, 12,101 items, 198,502 reviews, nobody on an item twice. The file is at
    https://github.com/salesforce/ICLRec, folder `data`. It has no times, so `order` is `sequence` and the
    times are made up (`models.data.plain_events.row_times`).

    Raises:
        DataError: the file is missing or empty, or a line is of another form.
    """
    path = text_file(folder, "Beauty.txt", _BEAUTY_SOURCE)
    users, items = read_item_lists(path)
    if not len(users):
        raise DataError(f"{path}: no event; {_BEAUTY_SOURCE}")
    return plain_dataset("amazon-beauty", "review", users, items, row_times(len(users)), order="sequence")


def load_amazon_grocery(folder: Path) -> Dataset:
    """`interactions.csv` and `items.csv` of a folder, perhaps with `.gz`: tables separated by tabs.

    14,681 users, 121,892 reviews of 8,687 items, and 26 items more that only `items.csv` has: 8,713. Times
    are real, in days from 2000-08-09 to 2014-07-22; equal times keep the order of the file. The last tenth by
    time begins on 2014-01-27: 12,282 reviews by 2,990 users with an earlier one and 588 without, 1,194 of
    them on items that nobody had reviewed. An item's one attribute is its `category`, of 57; 8,349 have the
    first.

    Which items belong together is no attribute but the table of relations, the truth that lists of related
    items are judged by. The shop's pages named them: `r_complement` is "customers who bought this also
    bought", read as complementary, `r_substitute` is "customers who viewed this also viewed", read as similar
    (as in McAuley et al. 2015, arXiv 1506.08839). Who looks at both may take one or the other, so three of
    five pairs of the second are in the first, too; nothing sorts them apart. 7,999 items have the first,
    28.5 each over all, 7,994 the second, 14.3 each; the order within a list means nothing. The set is
    ReChorus's (https://github.com/THUwangcy/ReChorus, folder `data/Grocery_and_Gourmet_Food`): user_id,
    item_id and time of its three parts, sorted by time, and its `item_meta.csv` as `items.csv`.

    Raises:
        DataError: a file is missing or empty, or a line is of another form.
    """
    events, items = (text_file(folder, name, _GROCERY_SOURCE) for name in ("interactions.csv", "items.csv"))
    rows = []
    for line, cells in read_columns(events, _EVENTS):
        user, item, time = (as_id(events, line, *pair) for pair in zip(_EVENTS, cells, strict=True))
        if time > _LAST_SECOND:
            raise bad_line(events, line, "time: seconds since 1970", cells[2])
        rows.append((user, item, time))
    if not rows:
        raise DataError(f"{events}: no event; {_GROCERY_SOURCE}")
    users, bought, seconds = columns(rows)
    records, relations = _items(items)
    return plain_dataset(
        "amazon-grocery",
        "review",
        users,
        bought,
        seconds * 1000,
        item_fields={"category": FieldKind.CATEGORY},
        item_records=records,
        relations=relations,
    )


def _items(path: Path) -> tuple[dict[int, dict[str, Any]], tuple[Ids, Ids, Ids]]:
    """The items' categories by number, and their relations; what is listed has to be an item of the file."""
    records: dict[int, dict[str, Any]] = {}
    pairs: dict[tuple[int, int, int], int] = {}
    for line, cells in read_columns(path, _ITEMS):
        item, category = (as_id(path, line, *pair) for pair in zip(_ITEMS[:2], cells[:2], strict=True))
        if item in records:
            raise DataError(f"{path}:{line}: item {item} has a line already")
        for column, cell in zip(_ITEMS[2:], cells[2:], strict=True):
            relation = RELATIONS.index(_READ_AS[column])
            pairs |= {(item, other, relation): line for other in _list(path, line, column, cell)}
        records[item] = {"category": str(category)}
    for (item, other, relation), line in pairs.items():
        if other not in records or other == item:
            raise bad_line(
                path, line, f"{_COLUMN_OF[RELATIONS[relation]]}: other items of this file", str(other)
            )
    first, second, kind = np.array(list(pairs), np.int64).reshape(-1, 3).T
    return records, (first, second, kind)


def _list(path: Path, line: int, column: str, cell: str) -> list[int]:
    try:
        listed = json.loads(cell)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(type(item) is int for item in listed):
        raise bad_line(path, line, f"{column}: a list of items", cell)
    return listed
