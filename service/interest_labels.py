"""The interests of a bundle by name: a short id of each cluster, and what the export found typical of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import INTEREST_LABELS, BundleError

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

_ID_BYTES = 6


@dataclass(frozen=True)
class InterestLabels:
    """C interests: `ids`, the values that are typical of each, and the rows of its typical items.

    An id is a hash of its cluster's centre: bundles of one clustering share their ids, and an id of another
    clustering is unknown instead of meaning something else.
    """

    ids: tuple[str, ...]
    attributes: tuple[tuple[str, ...], ...]
    typical: tuple[Rows, ...]

    @classmethod
    def open(cls, folder: Path, centroids: Floats, items: int) -> InterestLabels:
        """Those of a bundle folder with `items` items; a bundle from before the file has ids only.

        Raises:
            BundleError: the file cannot be read, or does not fit the clusters or the items.
        """
        ids = tuple(_id(cluster, centroid) for cluster, centroid in enumerate(centroids))
        path = folder / INTEREST_LABELS
        if not path.exists():
            nothing = np.zeros(0, np.int32)
            return cls(ids, ((),) * len(ids), (nothing,) * len(ids))
        try:
            listed = json.loads(path.read_bytes())["interests"]
            attributes = tuple(tuple(str(value) for value in one["attributes"]) for one in listed)
            typical = tuple(np.array(one["items"], np.int32) for one in listed)
        except (OSError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise BundleError(f"{path}: not the labels of interests: {error!r}") from error
        if len(listed) != len(ids):
            raise BundleError(f"{path}: {len(listed)} interests; there are {len(ids)} clusters")
        if any(((rows < 0) | (rows >= items)).any() or rows.ndim != 1 for rows in typical):
            raise BundleError(f"{path}: names an item row outside 0..{items - 1}")
        return cls(ids, attributes, typical)

    def cluster_of(self, interest: str) -> int | None:
        """The cluster of an id; None = it is of another clustering, or of none."""
        return self._clusters.get(interest)

    @cached_property
    def _clusters(self) -> Mapping[str, int]:
        return {interest: cluster for cluster, interest in enumerate(self.ids)}


def _id(cluster: int, centroid: NDArray[Any]) -> str:
    content = cluster.to_bytes(4, "little") + np.ascontiguousarray(centroid, "<f4").tobytes()
    return hashlib.blake2b(content, digest_size=_ID_BYTES).hexdigest()
