"""Item factors by weighted alternating least squares, with the library `implicit`."""

from __future__ import annotations

import implicit
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.data.baselines import interactions
from models.data.columns import Dataset
from models.training.config import RetrievalConfig
from retrieval.factors import Factors
from retrieval.index import IndexSettings, build_index

ITERATIONS = 15


def learn_factors(
    dataset: Dataset, events: NDArray[np.int64], config: RetrievalConfig, seed: int, threads: int
) -> Factors | None:
    """Factorise who met what in `events` (Hu, Koren, Volinsky 2008); None if the configuration wants none."""
    if config.factors == 0:
        return None
    # The library parallelises over rows itself and warns of a BLAS that does so, too.
    with threadpool_limits(1, "blas"):
        model = implicit.als.AlternatingLeastSquares(
            config.factors,
            regularization=config.factors_l2,
            alpha=config.factors_alpha,
            iterations=ITERATIONS,
            use_gpu=False,
            random_state=seed,
            num_threads=threads,
        )
        model.fit(interactions(dataset, events), show_progress=False)
    vectors = np.ascontiguousarray(model.item_factors, np.float32)
    index = build_index(vectors, IndexSettings(config.index), seed, threads=threads)
    return Factors(vectors, index, config.factors_alpha, config.factors_l2)
