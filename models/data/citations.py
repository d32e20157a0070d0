"""HEP-TH citations (Leskovec, Kleinberg & Faloutsos 2005, "Graphs over Time"): papers that cite papers.

The file `cit-HepTh.txt.gz` is at https://snap.stanford.edu/data/cit-HepTh.html, for research. This is the
kind of data that kNN-Embed (El-Kishky et al. 2022, arXiv 2205.06205) was judged on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.columns import PARTS, Dataset
from models.data.lines import as_id, bad_line, columns, read_lines, text_file
from models.data.plain_events import plain_dataset, row_times, shuffled
from models.data.problems import DataError

LEAST = 5
"""A paper of fewer citations only trains."""
_SOURCE = "take cit-HepTh.txt.gz of https://snap.stanford.edu/data/cit-HepTh.html and give its folder"
_SEED = 0


def load_hep_th(folder: Path) -> Dataset:
    """`cit-HepTh.txt` of a folder, perhaps with `.gz`: `from<TAB>to` a line, comments start with a hash.

    The citing paper is the user, the cited one the item: 352,807 citations, by 25,059 papers of 23,180 ones,
    27,770 in all; 39 cite themselves. There are no times and no order: `order` is `none`, events are shuffled
    with a fixed seed and the times are made up (`models.data.plain_events.row_times`).

    The split is ours: of each of the 17,597 papers with at least `LEAST` citations a random tenth (one at
    least) is validation and a random fifth (one at least) is test, drawn with a fixed seed.

    Raises:
        DataError: the file is missing or empty, or a line is of another form.
    """
    path = text_file(folder, "cit-HepTh.txt", _SOURCE)
    rows = []
    for line, text in read_lines(path):
        if text.startswith("#"):
            continue
        cells = text.split("\t")
        if len(cells) != 2:
            raise bad_line(path, line, "two papers, separated by a tab", text)
        rows.append((as_id(path, line, "from", cells[0]), as_id(path, line, "to", cells[1])))
    if not rows:
        raise DataError(f"{path}: no citation; {_SOURCE}")
    users, items = columns(rows)
    order = shuffled(users, np.zeros(len(users), np.int8), _SEED)
    users, items = users[order], items[order]
    return plain_dataset(
        "hep-th", "cite", users, items, row_times(len(users)), parts=held_out_parts(users), order="none"
    )


def held_out_parts(users: NDArray[np.int64]) -> NDArray[np.int8]:
    """Part of each event [E], `users` being sorted: at the end of a user's n events come max(1, n / 10)
    of validation and then max(1, n / 5) of test, both rounded; a user of fewer than `LEAST` only trains."""
    _, events = np.unique(users, return_counts=True)
    count, end = np.repeat(events, events), np.repeat(np.cumsum(events), events)
    from_end = end - np.arange(len(users))
    test = np.maximum(1, (2 * count + 5) // 10)
    validation = np.maximum(1, (count + 5) // 10)
    parts = np.zeros(len(users), np.int8)
    parts[(count >= LEAST) & (from_end <= test + validation)] = PARTS.index("validation")
    parts[(count >= LEAST) & (from_end <= test)] = PARTS.index("test")
    return parts
