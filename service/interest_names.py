"""How interests read in an answer: the labels of a bundle with the titles of this moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from retrieval.interests import OWN
from service.cascade.query import Rows
from service.catalogue import Catalogue
from service.interest_labels import InterestLabels

OWN_ID = "own"
OWN_LABEL = "Your taste overall"
TITLES = 2
"""How many titles stand in a label."""


@dataclass(frozen=True)
class InterestNames:
    """The names of interests over one snapshot of the catalogue: a hidden item is in no label."""

    labels: InterestLabels
    catalogue: Catalogue
    _known: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    def id_of(self, cluster: int) -> str:
        """The public id of an interest."""
        return OWN_ID if cluster == OWN else self.labels.ids[cluster]

    def label(self, cluster: int) -> str:
        """What the interest is about, as in "Drama, 1990s: Fargo; Jerry Maguire"; never empty."""
        if cluster == OWN:
            return OWN_LABEL
        if cluster not in self._known:
            self._known[cluster] = self._label(cluster)
        return self._known[cluster]

    def typical(self, cluster: int) -> list[tuple[str, str | None]]:
        """Ids and titles of the interest's typical items that are available now, the most typical first."""
        if cluster == OWN:
            return []
        rows = self._available(cluster)
        return list(zip(self.catalogue.ids_of(rows), map(self._title, rows.tolist()), strict=True))

    def _label(self, cluster: int) -> str:
        attributes = ", ".join(self.labels.attributes[cluster])
        titles = filter(None, map(self._title, self._available(cluster).tolist()))
        parts = (attributes, "; ".join(islice(titles, TITLES)))
        return ": ".join(part for part in parts if part) or f"Interest {cluster}"

    def _available(self, cluster: int) -> Rows:
        rows = self.labels.typical[cluster]
        return rows[self.catalogue.available[rows]]

    def _title(self, row: int) -> str | None:
        title = (self.catalogue.record_of(row) or {}).get("title")
        return None if title is None else str(title)
