from dataclasses import replace

import numpy as np
import pytest

from models.data.auctions import simulate_auctions
from models.training.config import ConfigError, TrainConfig
from models.training.run import train
from tests.support.trained import CONFIG


def sponsored_config(**ranker):
    raw = CONFIG.model_dump()
    raw["split"] |= {"protocol": "global-time", "ranker_share": 0.4, "validation": 0.2}
    raw["ranker"] |= {"samples": "impressions", "requests": 1500, "learning_rate": 0.01} | ranker
    raw["auction"] = {"market_price_weight": 0.1, "bid_weight": 1.0}
    raw["complements"] |= {"epochs": 0}
    return TrainConfig.model_validate(raw)


@pytest.fixture(scope="module")
def log():
    return simulate_auctions(12_000, seed=8, users=150, advertisers=20, days=4)[0]


def test_a_run_learns_its_ranker_from_sponsored_impressions(log, one_thread):
    trained = train(log, sponsored_config())
    found = trained.metrics["validation"]
    # The calibrator speaks of impressions: a few in a hundred are clicked, not one in a list.
    rate = float(log.impressions.clicked.mean())
    assert trained.calibrator(np.zeros(1)).shape == (1,)
    assert found["copc"] == pytest.approx(1, abs=0.05)
    assert "gauc" not in found
    assert 0.5 * rate < float(np.exp(-found["log_loss"])) < 1
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    assert found["log_loss"] == pytest.approx(entropy, rel=0.35)


def test_impressions_want_a_split_by_time_and_clicks(log):
    other = sponsored_config().model_dump()
    other["split"] |= {"protocol": "leave-last-out"}
    with pytest.raises(ConfigError, match='wants split.protocol "global-time"'):
        train(log, TrainConfig.model_validate(other))
    dark = replace(log, impressions=replace(log.impressions, clicked=np.zeros(len(log.impressions), bool)))
    with pytest.raises(ValueError, match="training time was clicked"):
        train(dark, sponsored_config())
