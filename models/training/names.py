"""The registries that a configuration names things in: one place that knows them all."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from models.networks.aw_moe import FORMS
from models.networks.encoders import ENCODERS
from models.networks.market_price import MARKET_PRICE_NETWORKS
from models.training.config import ConfigError, TrainConfig
from models.training.losses import RETRIEVAL_LOSSES
from models.training.neighbours import NEIGHBOUR_METHODS
from models.training.ranker_losses import RANKER_LOSSES
from ranking.calibration import calibrators

NAMES: Mapping[str, Collection[str]] = {
    "tower.encoder": ENCODERS,
    "tower.loss": ("auto", *RETRIEVAL_LOSSES),
    "preranker.loss": ("auto", *RETRIEVAL_LOSSES),
    "ranker.loss": RANKER_LOSSES,
    "auction.market_price_network": MARKET_PRICE_NETWORKS,
    "ranker.kind": FORMS,
    "retrieval.neighbour_method": ("auto", *NEIGHBOUR_METHODS),
    "calibration": ("auto", *calibrators),
}
"""What each key of the configuration may name."""


def check_names(config: TrainConfig) -> None:
    """Refuse a name that stands for nothing, before anything is trained.

    Raises:
        ConfigError: names the key, what it says, and what it may say.
    """
    for key, known in NAMES.items():
        value: object = config
        for part in key.split("."):
            value = getattr(value, part)
        if value not in known:
            raise ConfigError(f"{key}: unknown name {value!r}; known are {', '.join(known)}")
