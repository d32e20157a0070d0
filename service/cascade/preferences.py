"""What a user wants of interests, found again in the clusters of this bundle."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from retrieval.preferences import Preferences, majority
from service.catalogue import Catalogue
from service.features.store import Preference, PreferenceKind


def clusters_of(preferences: Sequence[Preference], catalogue: Catalogue) -> list[int]:
    """The cluster that most anchors of each preference are in; -1 where the catalogue knows none of them."""
    sizes = [len(one.anchors) for one in preferences]
    rows = catalogue.rows_of(list(chain.from_iterable(one.anchors for one in preferences)))
    parts = np.split(catalogue.clusters_of(rows), np.cumsum(sizes)[:-1]) if sizes else []
    return [majority(part) for part in parts]


def resolve(preferences: Sequence[Preference], catalogue: Catalogue) -> Preferences:
    """Preferences, oldest first, in this bundle's clusters; of two for one cluster the newer counts."""
    if not preferences:
        return Preferences()
    wanted: dict[int, PreferenceKind] = {}
    for one, cluster in zip(preferences, clusters_of(preferences, catalogue), strict=True):
        wanted.pop(cluster, None)
        wanted[cluster] = one.kind
    wanted.pop(-1, None)
    latest = [(cluster, kind) for cluster, kind in reversed(wanted.items())]
    return Preferences.of(
        pinned=[cluster for cluster, kind in latest if kind is PreferenceKind.PIN],
        muted=[cluster for cluster, kind in latest if kind is PreferenceKind.MUTE],
    )
