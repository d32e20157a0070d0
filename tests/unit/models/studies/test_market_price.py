from dataclasses import replace

import numpy as np
import pytest

from models.data.auctions import simulate_auctions
from models.data.columns import ABSENT
from models.studies import market_price
from service.replay.market_price_tables import tell_market_price
from tests.unit.models.studies.test_aie import CONFIG


def test_the_heads_are_judged_beside_the_constants(one_thread):
    dataset, _ = simulate_auctions(8000, seed=6, users=200, advertisers=20, days=3)
    ranker = CONFIG.ranker.model_copy(update={"epochs": 4})
    found = market_price.study(dataset, CONFIG.model_copy(update={"ranker": ranker}), [0, 1])
    assert found["judged"] == pytest.approx(0.25 * found["impressions"], rel=0.05)
    for trial in found["trials"]:
        methods = trial["methods"]
        assert methods["median"]["MAE, log"] <= methods["mean"]["MAE, log"]
        assert methods["median of the placement"]["MAE, log"] < methods["median"]["MAE, log"]
        assert methods["AM2 dynamic"]["MAE, log"] < 0.95 * methods["median"]["MAE, log"]
        assert methods["AM2 dynamic"]["p against median"] < 0.01
        assert methods["median"]["p against median"] == 1
    told = tell_market_price(found)
    assert "AM2 static" in told
    unpriced = replace(
        dataset.impressions,
        market_price_micros=np.full(len(dataset.impressions), ABSENT, np.int64),
    )
    with pytest.raises(ValueError, match="0 impressions have a market price"):
        market_price.study(replace(dataset, impressions=unpriced), CONFIG, [0])
