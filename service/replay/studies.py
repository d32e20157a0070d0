"""Studies that `cascada evaluate --study NAME` runs: they train what they judge, and tell a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.studies import aie, aw_moe, calibration, cold, hcn, knn_embed, market_price, sources, towers
from service.replay import off_policy_study, relation_study, search_study
from service.replay.aie_tables import tell_aie
from service.replay.calibration_tables import tell_calibration
from service.replay.hcn_tables import tell_hcn
from service.replay.market_price_tables import tell_market_price
from service.replay.ranker_tables import tell_rankers
from service.replay.relation_tables import tell_relations
from service.replay.source_tables import tell_sources
from service.replay.study_tables import Found, tell_cold, tell_knn_embed, tell_towers


@dataclass(frozen=True, slots=True)
class Study:
    """`run(dataset, config, seeds, fit=...)` gives plain JSON types, `tell` a Markdown text of them."""

    run: Callable[..., dict[str, Any]]
    tell: Callable[[Found], str]
    reads_folder: bool = False
    """`run` takes the data set's folder, too (`folder=...`): it reads more of it than a data set holds."""


STUDIES: Mapping[str, Study] = {
    "aie": Study(aie.study, tell_aie, reads_folder=True),
    "tower": Study(towers.study, tell_towers),
    "aw-moe": Study(aw_moe.study, tell_rankers),
    "calibration": Study(calibration.study, tell_calibration),
    "cold": Study(cold.study, tell_cold),
    "hcn": Study(hcn.study, tell_hcn),
    "knn-embed": Study(knn_embed.study, tell_knn_embed),
    "search": Study(search_study.study, search_study.tell),
    "off-policy": Study(off_policy_study.study, off_policy_study.tell),
    "market-price": Study(market_price.study, tell_market_price),
    "sources": Study(sources.study, tell_sources),
    "relations": Study(relation_study.study, tell_relations),
}
