import pytest
import torch

from models.networks.market_price import MARKET_PRICE_NETWORKS, DynamicLinear, DynamicMarketPrice


@pytest.mark.parametrize("name", MARKET_PRICE_NETWORKS)
def test_a_price_law_that_differs_by_scenario_is_learned(name):
    torch.manual_seed(0)
    network = MARKET_PRICE_NETWORKS[name](6, 3, 16, 4)
    x, scenario = torch.randn(600, 6), torch.arange(600) % 3
    price = torch.stack([x[:, 0], -x[:, 0], x[:, 1]], dim=1)[torch.arange(600), scenario]
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        away = (network(x, scenario) - price).abs().mean()
        away.backward()
        optimiser.step()
    assert network(x, scenario).shape == (600,)
    assert away.item() < 0.3 * price.abs().mean().item()


def test_the_dynamic_layer_is_the_low_rank_product_of_the_scenario():
    torch.manual_seed(1)
    layer = DynamicLinear(5, 3, 2)
    x, e = torch.randn(4, 5), torch.randn(4, 8)
    for row in range(4):
        weights = layer.first.weight.T @ torch.diag(layer.scenario(e[row])) @ layer.second.weight.T
        torch.testing.assert_close(layer(x, e)[row], x[row] @ weights + layer.second.bias)


def test_scenarios_begin_with_the_same_weights_and_part_in_training():
    torch.manual_seed(2)
    network = DynamicMarketPrice(5, 2, 8, 4)
    with torch.no_grad():
        network.embedding.weight.zero_()
    x = torch.randn(3, 5)
    first, second = (network(x, torch.full((3,), place)) for place in (0, 1))
    torch.testing.assert_close(first, second)
    first.sum().backward()
    assert network.embedding.weight.grad[0].abs().sum() > 0
    assert network.embedding.weight.grad[1].abs().sum() == 0
