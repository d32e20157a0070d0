"""Train the query tower: texts and the items that they mean, in the space of the item tower."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from models import artifacts
from models.data.columns import Dataset, Queries
from models.data.splits import Split
from models.networks.query_tower import QueryTower
from models.schema import FieldKind
from models.text import encode_texts, hashed
from models.training.batches import Schedule, fit
from models.training.config import QueryConfig
from models.training.losses import retrieval_loss

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

NAME = Path(artifacts.QUERY_TOWER).stem
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


@dataclass(frozen=True)
class QueryModel:
    """A trained query tower, and which of its tokens training has seen."""

    tower: QueryTower
    known: NDArray[np.bool_]
    """[2, buckets + 1]: words, grams."""

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Query vectors [n, d + 1], of the tokens that are known."""
        tokens = encode_texts(texts, self.known.shape[1] - 1)
        words, grams = (
            torch.from_numpy(np.where(known[each], each, 0))
            for known, each in zip(self.known, tokens, strict=True)
        )
        with torch.no_grad():
            found: Floats = self.tower.eval()(words, grams).numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write the network and what it has met."""
        save_file(self.tower.state_dict(), folder / f"{NAME}.safetensors")
        np.save(folder / artifacts.QUERY_TOKENS, self.known)

    @classmethod
    def load(cls, folder: Path, config: QueryConfig, dim: int) -> QueryModel | None:
        """What `save` wrote; None where the run is of a time when there was no query tower.

        Raises:
            RuntimeError: the network has other tensors.
        """
        if not (folder / f"{NAME}.safetensors").exists():
            return None
        tower = _untrained(config, dim)
        tower.load_state_dict(load_file(folder / f"{NAME}.safetensors"))
        return cls(tower.eval(), np.load(folder / artifacts.QUERY_TOKENS))


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
    dataset: Dataset, queries: Queries | None, vectors: Floats, config: QueryConfig, seed: int
) -> QueryModel:
    """Train on the data set's texts and `queries`; item `vectors` [m, d + 1] stay as they are.

    An epoch draws its pairs by sort: every query `query_share` of the time, else titles and attribute values
    half and half, so that a genre with thousands of items does not drown the titles.
    """
    torch.manual_seed(seed)
    pairs = pairs_of(dataset, queries)
    tower = _untrained(config, vectors.shape[1] - 1)
    known = np.zeros((2, config.buckets + 1), bool)
    if not len(pairs):
        return QueryModel(tower.eval(), known)
    table = torch.from_numpy(np.array(vectors, np.float32))
    targets = torch.from_numpy(pairs.items.astype(np.int64))
    loss_of = retrieval_loss(
        config.loss, torch.bincount(targets, minlength=len(table)).float(), config.negatives
    )
    random = np.random.default_rng(seed)
    words, grams = encode_texts(pairs.texts, config.buckets)
    for row, tokens in enumerate((words, grams)):
        known[row, np.unique(tokens)] = True
    known[:, 0] = False
    draw = _Draw(pairs, config, random)

    def loss(index: Tensor) -> Tensor:
        tower.train()
        rows = index.numpy()
        word_rows, gram_rows = _disturbed(pairs.texts, words, grams, rows, config, random)
        asked = tower(torch.from_numpy(word_rows), torch.from_numpy(gram_rows))
        return loss_of(asked, table, targets[index])

    fit(
        "query tower",
        list(tower.parameters()),
        Schedule(config.epochs, config.learning_rate, config.weight_decay),
        draw,
        loss,
    )
    return QueryModel(tower.eval(), known)


def _untrained(config: QueryConfig, dim: int) -> QueryTower:
    return QueryTower(config.buckets, dim, config.hidden, config.dropout, config.temperature)


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
