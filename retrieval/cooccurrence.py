"""Co-occurrence counts: for each pair of items, how many users did something with both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Longs = NDArray[np.int64]

PAIRS = 1 << 22
"""Bound on the pairs that are expanded at once."""


class Interactions:
    """Distinct (user, item) pairs, of each user the last `max_history`, readable by user and by item.

    `by_user` lists items user after user, user u's from `start[u]` to `start[u + 1]`; `by_item` lists users
    item after item, item i's from `item_start[i]` to `item_start[i + 1]`.
    """

    def __init__(self, users: Rows, items: Rows, item_count: int, max_history: int) -> None:
        user_of, item_of = _newest_distinct(users, items, item_count, max_history)
        user_count = int(user_of[-1]) + 1 if len(user_of) else 0
        self.item_count = item_count
        self.by_user = item_of
        self.start = _offsets(user_of, user_count)
        order = np.argsort(item_of, kind="stable")
        self.by_item = user_of[order]
        self.item_start = _offsets(item_of, item_count)

    @property
    def users_of_item(self) -> Longs:
        """Number of users of each item [m]."""
        return np.diff(self.item_start)

    def counts(self) -> Iterator[tuple[range, Rows, Rows, Longs]]:
        """Consecutive ranges of items with their co-occurring pairs: local owner, item, count; sorted.

        A pair of an item with itself is left out.
        """
        history_length = np.diff(self.start)
        pairs = np.zeros(self.item_count + 1, np.int64)
        np.cumsum(history_length[self.by_item], out=(spread := np.zeros(len(self.by_item), np.int64)))
        pairs[1:] = np.concatenate([[0], spread])[self.item_start[1:]]
        first = 0
        while first < self.item_count:
            last = int(np.searchsorted(pairs, pairs[first] + PAIRS, side="right")) - 1
            block = range(first, max(last, first + 1))
            yield block, *self._count_block(block, int(pairs[block.stop] - pairs[block.start]))
            first = block.stop

    def _count_block(self, block: range, pairs: int) -> tuple[Rows, Rows, Longs]:
        if pairs == 0:
            return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64)
        cells = len(block) * self.item_count
        if cells <= max(8 * pairs, PAIRS):
            table = np.zeros(cells, np.int64)
            for keys in self._keys(block):
                table += np.bincount(keys, minlength=cells)
            found = np.flatnonzero(table)
            count = table[found]
        else:
            keys = np.sort(np.concatenate(list(self._keys(block))))
            edge = np.flatnonzero(np.diff(keys, prepend=-1))
            found, count = keys[edge], np.diff(edge, append=len(keys))
        owner, item = np.divmod(found, self.item_count)
        other = owner + block.start != item
        return owner[other].astype(np.int32), item[other].astype(np.int32), count[other]

    def _keys(self, block: range) -> Iterator[Longs]:
        """local owner * m + item of every pair in the block, at most about `PAIRS` at once."""
        begin, end = self.item_start[block.start], self.item_start[block.stop]
        owners = np.repeat(np.arange(len(block)), np.diff(self.item_start[block.start : block.stop + 1]))
        users = self.by_item[begin:end]
        length = np.diff(self.start)[users]
        done = np.cumsum(length)
        cut = 0
        while cut < len(users):
            base = done[cut - 1] if cut else 0
            upto = max(int(np.searchsorted(done, base + PAIRS, side="right")), cut + 1)
            part = slice(cut, upto)
            size = length[part]
            within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
            item = self.by_user[np.repeat(self.start[users[part]], size) + within]
            yield np.repeat(owners[part], size) * self.item_count + item
            cut = upto


def _newest_distinct(users: Rows, items: Rows, item_count: int, max_history: int) -> tuple[Longs, Longs]:
    """Distinct pairs sorted by user, then from the newest; at most `max_history` per user."""
    newest_first = np.arange(len(users) - 1, -1, -1)
    pair = users[newest_first].astype(np.int64) * item_count + items[newest_first]
    _, first = np.unique(pair, return_index=True)
    kept = newest_first[np.sort(first)]
    kept = kept[np.argsort(users[kept], kind="stable")]
    user_of = users[kept].astype(np.int64)
    start = np.flatnonzero(np.diff(user_of, prepend=-1))
    rank = np.arange(len(kept)) - np.repeat(start, np.diff(start, append=len(kept)))
    kept = kept[rank < max_history]
    return users[kept].astype(np.int64), items[kept].astype(np.int64)


def _offsets(values: Longs, count: int) -> Longs:
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(values, minlength=count), out=offsets[1:])
    return offsets
