"""Train the scorer of personalised item-to-item on pairs that the lists themselves propose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from retrieval.pairs import FEATURES, Pairs, PairScorer

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

HIDDEN = 16
NEGATIVES = 200
"""Pairs sampled per request from those that are not the target's."""
EPOCHS = 20
BATCH = 64
LEARNING_RATE = 3e-3


def train_pairs(pairs_for: Callable[[int], Pairs], targets: Rows, seed: int) -> PairScorer:
    """Learn which target of a user's lists the user goes for; `pairs_for(r)` are the pairs of request r.

    A request's loss is the log loss of its target among all targets of its lists, a target's score being the
    log of the sum over its triggers of exp(logit), as when serving. The negatives are trigger-target pairs
    of the same lists, sampled evenly and weighed up to stand for all (PI2I, arXiv 2601.16815, takes its
    negatives from the pairs, too; the loss is our choice). A request whose lists lack the target teaches
    nothing; without any other the scorer follows the similarity alone.
    """
    rng = np.random.default_rng(seed)
    features, positive, weight = _sampled(pairs_for, targets, rng)
    if len(features) == 0:
        return _by_similarity()
    torch.manual_seed(seed)
    flat = features[weight > 0]
    mean, spread = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-3)
    x = torch.from_numpy((features - mean) / spread)
    y, log_weight = torch.from_numpy(positive), torch.from_numpy(np.log(np.maximum(weight, 1e-12)))
    log_weight[torch.from_numpy(weight == 0)] = -torch.inf
    first, second = nn.Linear(len(FEATURES), HIDDEN), nn.Linear(HIDDEN, 1, bias=False)
    optimiser = torch.optim.Adam([*first.parameters(), *second.parameters()], LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(EPOCHS), desc="pairs", unit="epoch", disable=None):
        for index in torch.randperm(len(x), generator=generator).split(BATCH):
            logits = second(torch.relu(first(x[index])))[..., 0]
            loss = _loss(logits + log_weight[index], y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    folded = (first.weight.detach().numpy().T / spread[:, None]).astype(np.float32)
    bias = (first.bias.detach().numpy() - mean @ folded).astype(np.float32)
    return PairScorer(folded, bias, second.weight.detach().numpy()[0].copy())


def _loss(logits: Tensor, positive: Tensor) -> Tensor:
    own = torch.logsumexp(logits.masked_fill(~positive, -torch.inf), dim=1)
    return (torch.logsumexp(logits, dim=1) - own).mean()


def _sampled(
    pairs_for: Callable[[int], Pairs], targets: Rows, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """[Q, S, F] features, [Q, S] which are the target's, [Q, S] how many pairs each stands for (0 = pad)."""
    found = []
    for r in tqdm(range(len(targets)), desc="pairs, training", unit="request", disable=None):
        pairs = pairs_for(r)
        own = pairs.rows[pairs.target] == targets[r]
        if not own.any() or own.all():
            continue
        chosen = np.flatnonzero(own)
        others = np.flatnonzero(~own)
        drawn = rng.choice(others, min(NEGATIVES, len(others)), replace=False)
        stands_for = np.concatenate([np.ones(len(chosen)), np.full(len(drawn), len(others) / len(drawn))])
        found.append((pairs.features[np.concatenate([chosen, drawn])], len(chosen), stands_for))
    width = max((len(each[2]) for each in found), default=0)
    features = np.zeros((len(found), width, len(FEATURES)), np.float32)
    positive, weight = np.zeros((len(found), width), bool), np.zeros((len(found), width), np.float32)
    for q, (values, count, stands_for) in enumerate(found):
        features[q, : len(values)], weight[q, : len(values)] = values, stands_for
        positive[q, :count] = True
    return features, positive, weight


def _by_similarity() -> PairScorer:
    first = np.zeros((len(FEATURES), 2), np.float32)
    first[0] = (1.0, -1.0)
    return PairScorer(first, np.zeros(2, np.float32), np.array([1.0, -1.0], np.float32))
