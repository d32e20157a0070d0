"""Gowalla check-ins (Cho, Myers & Leskovec 2011, "Friendship and Mobility") in the split of LightGCN's paper.

The files `train.txt`, `valid.txt` and `test.txt` are at https://github.com/geon0325/LightGCNpp, folder
`data/gowalla`: the training events of LightGCN (He et al. 2020, arXiv 2002.02126), a share of which is
`valid.txt`, and its test events. The check-ins are SNAP's (https://snap.stanford.edu/data/loc-gowalla.html),
for research.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.columns import PARTS, Dataset
from models.data.lines import read_item_lists, text_file
from models.data.plain_events import plain_dataset, row_times, shuffled
from models.data.problems import DataError

_FILES = ("train.txt", "valid.txt", "test.txt")
_SOURCE = "take data/gowalla of https://github.com/geon0325/LightGCNpp and give its folder"
_SEED = 0


def load_gowalla(folder: Path) -> Dataset:
    """The three files of a folder: `user item item ...` a line, a user once in each file, perhaps with `.gz`.

    29,858 users, 40,981 places, 1,027,370 visits: 719,081 to train, 91,047 to validate and 217,242 to test.
    The files know no time and no order (training items are sorted by number). So `order` is `none`: within a
    user and part the events are shuffled with a fixed seed, and the times are made up
    (`models.data.plain_events.row_times`).

    Raises:
        DataError: a file is missing or empty, or a line is of another form.
    """
    paths = [text_file(folder, name, _SOURCE) for name in _FILES]
    lists = [read_item_lists(path) for path in paths]
    if empty := [path for path, (users, _) in zip(paths, lists, strict=True) if not len(users)]:
        raise DataError(f"{empty[0]}: no event; {_SOURCE}")
    users, items = (np.concatenate(column) for column in zip(*lists, strict=True))
    parts = np.repeat(np.arange(len(PARTS), dtype=np.int8), [len(each) for each, _ in lists])
    order = shuffled(users, parts, _SEED)
    return plain_dataset(
        "gowalla",
        "visit",
        users[order],
        items[order],
        row_times(len(users)),
        parts=parts[order],
        order="none",
    )
