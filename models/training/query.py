"""Train the query tower: texts and the items that they mean, in the space of the item tower."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.columns import Dataset, Queries
from models.data.splits import Split
from models.schema import FieldKind
from models.text import encode_texts, hashed
from models.training.batches import Schedule, fit
from models.training.config import QueryConfig
from models.training.losses import retrieval_loss
from models.training.query_model import EncodedQuery, HashedQuery, QueryModel, untrained
from retrieval.text_encoder import TextEncoder

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

_NO_ATTRIBUTE = (FieldKind.TEXT, FieldKind.NUMBER)


@dataclass(frozen=True)
class Pairs:
    """P texts and the item row that each means, by sort: `titles`, `attributes` and `queries` come in turn.

    `sort` [P] is 0 for a title, 1 for an attribute's value, 2 for a query.
    """

    texts: list[str]
    items: Rows
    sort: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.texts)


def usable(dataset: Dataset, split: Split, protocol: str) -> Queries | None:
    """The queries that tell training nothing of held-out events.

    None in which a user takes what he is held out to take; under global-time none from when that begins.
    """
    asked = dataset.queries
    if asked is None:
        return None
    held_out = np.concatenate([split.validation, split.test])
    taken = dataset.event_user[held_out].astype(np.int64) * dataset.items + dataset.event_item[held_out]
    fine = ~np.isin(asked.user.astype(np.int64) * dataset.items + asked.item, taken)
    if protocol == "global-time" and len(held_out):
        fine &= asked.time_ms < dataset.event_time_ms[held_out].min()
    return asked.at(fine)


def pairs_of(dataset: Dataset, queries: Queries | None) -> Pairs:
    """(title, item), (value of a category or set, item) and (query, item taken) of a data set."""
    texts: list[str] = []
    items: list[int] = []
    sort: list[int] = []

    def add(text: str, item: int, kind: int) -> None:
        texts.append(text)
        items.append(item)
        sort.append(kind)

    labels = [name for name, kind in dataset.item_fields.items() if kind not in _NO_ATTRIBUTE]
    for row, record in enumerate(dataset.item_records):
        if title := str(record.get("title") or ""):
            add(title, row, 0)
        for name in labels:
            value = record.get(name)
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    add(str(one), row, 1)
    if queries is not None:
        for text, row in zip(queries.text, queries.item.tolist(), strict=True):
            add(text, row, 2)
    return Pairs(texts, np.array(items, np.int32), np.array(sort, np.int8))


def train_query(
    dataset: Dataset,
    queries: Queries | None,
    vectors: Floats,
    config: QueryConfig,
    seed: int,
    encoder: TextEncoder | None = None,
) -> QueryModel:
    """Train on the data set's texts and `queries`; item `vectors` [m, d + 1] stay as they are.

    With an `encoder` the tower reads its vectors instead of hashed words. An epoch draws its pairs by sort:
    every query `query_share` of the time, else titles and attribute values half and half, so that a genre
    with thousands of items does not drown the titles.
    """
    torch.manual_seed(seed)
    pairs = pairs_of(dataset, queries)
    model = untrained(config, vectors.shape[1] - 1, encoder)
    if not len(pairs):
        model.tower.eval()
        return model
    table = torch.from_numpy(np.array(vectors, np.float32))
    targets = torch.from_numpy(pairs.items.astype(np.int64))
    loss_of = retrieval_loss(
        config.loss, torch.bincount(targets, minlength=len(table)).float(), config.negatives
    )
    random = np.random.default_rng(seed)
    if isinstance(model, HashedQuery):
        asked = _hashes_asked(model, pairs, config, random)
    else:
        asked = _texts_asked(model, pairs)
    draw = _Draw(pairs, config, random)

    def loss(index: Tensor) -> Tensor:
        model.tower.train()
        return loss_of(asked(index), table, targets[index])

    fit(
        "query tower",
        list(model.tower.parameters()),
        Schedule(config.epochs, config.learning_rate, config.weight_decay),
        draw,
        loss,
    )
    model.tower.eval()
    return model


def _hashes_asked(
    model: HashedQuery, pairs: Pairs, config: QueryConfig, random: np.random.Generator
) -> Callable[[Tensor], Tensor]:
    """Queries [B, d + 1] of the pairs at B places, words hidden and misspelt; what is met becomes known."""
    words, grams = encode_texts(pairs.texts, config.buckets)
    for known, tokens in zip(model.known, (words, grams), strict=True):
        known[np.unique(tokens)] = True
        known[0] = False

    def asked(index: Tensor) -> Tensor:
        rows = _disturbed(pairs.texts, words, grams, index.numpy(), config, random)
        found: Tensor = model.tower(*map(torch.from_numpy, rows))
        return found

    return asked


def _texts_asked(model: EncodedQuery, pairs: Pairs) -> Callable[[Tensor], Tensor]:
    """Queries [B, d + 1] of the pairs at B places; a text's vector never changes, so it is made once."""
    texts, place = np.unique(np.array(pairs.texts, object), return_inverse=True)
    found = torch.from_numpy(model.encoder.encode(texts.tolist()))
    places = torch.from_numpy(place)
    model.tower.mean.copy_(found.mean(0))

    def asked(index: Tensor) -> Tensor:
        rows: Tensor = model.tower(found[places[index]])
        return rows

    return asked


class _Draw:
    """One epoch's batches: as many pairs as there are titles and queries, at least `batch`."""

    def __init__(self, pairs: Pairs, config: QueryConfig, random: np.random.Generator) -> None:
        self._by_sort = [np.flatnonzero(pairs.sort == kind) for kind in range(3)]
        rest = 1 - config.query_share
        shares = np.array([rest / 2, rest / 2, config.query_share])
        shares *= [len(rows) > 0 for rows in self._by_sort]
        self._shares = shares / shares.sum()
        self._size = max(len(self._by_sort[0]) + len(self._by_sort[2]), config.batch)
        self._batch, self._random = config.batch, random

    def __call__(self, epoch: int) -> list[Tensor]:
        sorts = self._random.choice(3, self._size, p=self._shares)
        places = np.zeros(self._size, np.int64)
        for kind, rows in enumerate(self._by_sort):
            mine = np.flatnonzero(sorts == kind)
            if len(mine):
                places[mine] = rows[self._random.integers(0, len(rows), len(mine))]
        return list(torch.from_numpy(places).split(self._batch))


def _disturbed(
    texts: Sequence[str],
    words: NDArray[np.int64],
    grams: NDArray[np.int64],
    rows: NDArray[Any],
    config: QueryConfig,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tokens of a batch, a share of its texts misspelt, a share of the words hidden."""
    word_rows, gram_rows = words[rows].copy(), grams[rows].copy()
    for place in np.flatnonzero(random.random(len(rows)) < config.typos).tolist():
        wrong = misspelt(texts[rows[place]], random)
        for out, tokens in zip((word_rows, gram_rows), hashed(wrong, config.buckets), strict=True):
            out[place] = 0
            out[place, : len(tokens)] = tokens
    hidden = random.random(word_rows.shape) < config.word_dropout
    return np.where(hidden, 0, word_rows), gram_rows


_SPOIL: Sequence[Callable[[str, int, str], str]] = (
    lambda text, at, letter: text[:at] + text[at + 1 :],
    lambda text, at, letter: text[:at] + letter + text[at:],
    lambda text, at, letter: text[:at] + letter + text[at + 1 :],
    lambda text, at, letter: text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :],
)


def misspelt(text: str, random: np.random.Generator) -> str:
    """The text with one letter missing, too many, wrong or swapped."""
    at = int(random.integers(0, max(len(text), 1)))
    letter = string.ascii_lowercase[int(random.integers(0, 26))]
    return _SPOIL[int(random.integers(0, len(_SPOIL)))](text, at, letter)
