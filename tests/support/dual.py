"""Dual vectors for the tiny bundle: who goes with whom is planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models import artifacts
from retrieval.index import IndexSettings, build_index
from tests.support.tiny_bundle import reseal
from tests.support.tiny_world import ITEMS, TASTES


def add_dual_vectors(bundle: Path, unmet: tuple[int, ...] = ()) -> Path:
    """Items of a taste are alike, and the next taste goes with them; `unmet` items have no vectors."""
    taste = np.arange(ITEMS) % len(TASTES)
    rng = np.random.default_rng(4)
    directions = np.eye(len(TASTES), 6, dtype=np.float32)
    inward = directions[taste] + rng.normal(0, 0.1, (ITEMS, 6)).astype(np.float32)
    # Whom taste t asks for answers with the direction of t: that is the taste after it.
    outward = directions[(taste - 1) % len(TASTES)] + rng.normal(0, 0.1, (ITEMS, 6)).astype(np.float32)
    for name, vectors in ((artifacts.COMPLEMENT_IN, inward), (artifacts.COMPLEMENT_OUT, outward)):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[list(unmet)] = 0.0
        np.save(bundle / name, vectors)
    build_index(outward, IndexSettings("flat"), 1).save(bundle / artifacts.COMPLEMENT_INDEX)
    reseal(bundle)
    return bundle
