"""Skip-gram over what users take together: dual vectors of items, for lists of complements."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from models.data.baselines import interactions
from models.data.columns import Dataset
from models.training.config import ComplementConfig
from models.training.losses import SampledSoftmax
from models.training.spectral import item_graph, spectral_vectors
from retrieval.complements import Complements
from retrieval.index import IndexSettings, build_index

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

DAY_MS = 86_400_000
GRAPH_SHARE = 0.5
"""How much of an item's start is that of the items that the same users met, so that rare ones have one."""
GRAPH_NEIGHBOURS = 20


def learn_complements(
    dataset: Dataset,
    events: NDArray[np.int64],
    config: ComplementConfig,
    index: IndexSettings,
    seed: int,
    threads: int,
) -> Complements | None:
    """Train IN and OUT vectors on `events`; None if the configuration wants none.

    A pair of items that a user takes within a window speaks for IN(one) . OUT(other), both ways, against
    sampled negatives (skip-gram: Mikolov et al. 2013, arXiv 1310.4546; item2vec: Barkan & Koenigstein 2016,
    arXiv 1603.04259). The loss is the sampled softmax of the towers over cosines, and both vectors start at
    the spectrum of who met what (our choices): from a random start 10^5 events teach nothing.
    """
    if config.epochs == 0:
        return None
    inward, outward = train_dual(dataset, events, config, seed)
    return Complements(inward, outward, build_index(outward, index, seed, threads=threads))


def train_dual(
    dataset: Dataset,
    events: NDArray[np.int64],
    config: ComplementConfig,
    seed: int,
    start: Floats | None = None,
) -> tuple[Floats, Floats]:
    """IN and OUT vectors [m, d] of length 1; an item that no event touches has zeros.

    `start` [m, d] is what both begin at, as `started` makes it, which takes a good part of the time.
    """
    torch.manual_seed(seed)
    start = started(dataset, events, config.dim, seed) if start is None else start
    inward, outward = (nn.Parameter(torch.from_numpy(start.copy())) for _ in range(2))
    one, other, weight = windowed(dataset, events, config)
    if len(one):
        _fit(inward, outward, (one, other, weight), config, seed)
    met = np.bincount(dataset.event_item[events], minlength=dataset.items) > 0
    found = [F.normalize(each.detach(), dim=1).numpy() * met[:, None] for each in (inward, outward)]
    return found[0].astype(np.float32), found[1].astype(np.float32)


def started(dataset: Dataset, events: NDArray[np.int64], dim: int, seed: int) -> Floats:
    """[m, d] directions of the spectrum, smoothed over the item graph."""
    seen = interactions(dataset, events).tocsr()
    vectors = spectral_vectors(seen, dim, seed)
    smoothed = (1 - GRAPH_SHARE) * vectors + GRAPH_SHARE * (item_graph(seen, GRAPH_NEIGHBOURS) @ vectors)
    unit: Floats = F.normalize(torch.from_numpy(smoothed.astype(np.float32)), dim=1).numpy()
    return unit


def windowed(
    dataset: Dataset, events: NDArray[np.int64], config: ComplementConfig
) -> tuple[Rows, Rows, Floats]:
    """Pairs of different items of a user within the window, both ways: items [P], items [P], weights [P].

    Two events are within the window if at most `window_days` and at most `window` places apart; where times
    are made up only the places count. Pairs are drawn by weight; those of a user weigh 1 together (our
    choice): else whoever takes many items at once would drown out all others.
    """
    order = np.argsort(dataset.event_user[events], kind="stable")
    events = events[order]
    user, item, time_ms = (
        column[events] for column in (dataset.event_user, dataset.event_item, dataset.event_time_ms)
    )
    longest = config.window_days * DAY_MS if dataset.order == "time" else np.inf
    firsts, seconds = [], []
    for gap in range(1, min(config.window, len(events) - 1) + 1):
        same = (user[gap:] == user[:-gap]) & (time_ms[gap:] - time_ms[:-gap] <= longest)
        near = np.flatnonzero(same & (item[gap:] != item[:-gap]))
        firsts.append(near)
        seconds.append(near + gap)
    first, second = (np.concatenate([np.zeros(0, np.int64), *each]) for each in (firsts, seconds))
    owner = user[first]
    weight = 1.0 / np.maximum(np.bincount(owner, minlength=1)[owner], 1)
    one = np.concatenate([item[first], item[second]]).astype(np.int32)
    other = np.concatenate([item[second], item[first]]).astype(np.int32)
    return one, other, np.tile(weight, 2).astype(np.float32)


def _fit(
    inward: nn.Parameter,
    outward: nn.Parameter,
    pairs: tuple[Rows, Rows, Floats],
    config: ComplementConfig,
    seed: int,
) -> None:
    one, other, weight = pairs
    partner = torch.from_numpy(other.astype(np.int64))
    often = np.bincount(other, weights=weight, minlength=len(outward)).astype(np.float32)
    loss_of = SampledSoftmax(torch.from_numpy(often), config.negatives)
    chance = np.cumsum(weight, dtype=np.float64)
    draws = min(len(one), config.pairs)
    steps = config.epochs * -(-draws // config.batch)
    optimiser = torch.optim.Adam([inward, outward], config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps + 1)
    random = np.random.default_rng(seed)
    for _ in tqdm(range(config.epochs), desc="complements", unit="epoch", disable=None):
        drawn = np.searchsorted(chance, random.random(draws) * chance[-1], side="right")
        for index in torch.from_numpy(np.minimum(drawn, len(one) - 1)).split(config.batch):
            queries = F.normalize(inward[one[index]], dim=1) / config.temperature
            loss = loss_of(queries, F.normalize(outward, dim=1), partner[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
