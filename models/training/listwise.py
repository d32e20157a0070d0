"""A listwise linear fit: how much to trust each score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_ABSENT = -1e9
_SHRINKAGE = 1e-3


def fit_listwise(lists: Sequence[Floats], targets: Sequence[int]) -> Floats:
    """Weights [F] that maximise the softmax likelihood of each list's target: lists [N_i, F], targets [R].

    L-BFGS with a small ridge, so that columns that say the same share their weight.
    """
    longest = max(len(each) for each in lists)
    features = torch.zeros(len(lists), longest, lists[0].shape[1])
    absent = torch.ones(len(lists), longest, dtype=torch.bool)
    for row, each in enumerate(lists):
        features[row, : len(each)] = torch.from_numpy(np.ascontiguousarray(each, np.float32))
        absent[row, : len(each)] = False
    goal = torch.tensor(list(targets))
    weights = torch.zeros(features.shape[2], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        logits = (features @ weights).masked_fill(absent, _ABSENT)
        loss = torch.nn.functional.cross_entropy(logits, goal) + _SHRINKAGE * weights.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach().numpy()
