"""Which candidates the ranker gets to see: weights of what is known before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.encode import CROSS
from models.plan import ONLY_PRERANK
from models.training.funnel import Pool, ordered
from models.training.listwise import fit_listwise
from models.training.timeline import Requests

FITTED = 1000
"""Requests of the fit at most, with all of their candidates."""


def learn_cut(
    requests: Requests, pools: Sequence[Pool], held_out: Requests, held_pools: Sequence[Pool], width: int
) -> dict[str, float]:
    """Weights of `models.encode.CROSS` whose best `width` keep most held-out targets (our choice).

    Candidates are the pre-ranker's score alone, and a listwise linear fit of all scores to the targets that
    retrieval found.
    """
    alone, blend = dict(ONLY_PRERANK), fitted(pools)
    if not blend:
        return alone
    kept = {
        name: _kept(cut_anew(held_out, held_pools, weights), width)
        for name, weights in (("alone", alone), ("blend", blend))
    }
    return blend if kept["blend"] > kept["alone"] else alone


def fitted(pools: Sequence[Pool]) -> dict[str, float]:
    """The weights of the fit; none where no pool holds its target."""
    able = [pool for pool in pools if pool.place >= 0 and len(pool.rows) > 1]
    if not able:
        return {}
    able = [able[r] for r in np.linspace(0, len(able) - 1, min(len(able), FITTED)).astype(int).tolist()]
    scale = np.concatenate([pool.cross for pool in able]).std(axis=0) + 1e-6
    weights = fit_listwise([pool.cross / scale for pool in able], [pool.place for pool in able]) / scale
    return {name: float(weight) for name, weight in zip(CROSS, weights, strict=True)}


def cut_anew(requests: Requests, pools: Sequence[Pool], weights: Mapping[str, float]) -> list[Pool]:
    """The same candidates in the order of other weights."""
    return [ordered(pool, int(target), weights) for pool, target in zip(pools, requests.target, strict=True)]


def _kept(pools: Sequence[Pool], width: int) -> float:
    return float(np.mean([0 <= pool.place < width for pool in pools])) if pools else 0.0
