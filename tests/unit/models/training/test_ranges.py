"""What is measured of a ranker's experts, for who rounds them."""

from __future__ import annotations

import pytest
import torch

from models.networks.aw_moe import AwMoe
from models.training.ranges import Ranges
from tests.support.networks import CONFIG, small_networks


@pytest.fixture(scope="module")
def ranker() -> AwMoe:
    return small_networks(seed=5).ranker


def read(ranker: AwMoe, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 20, ranker.experts.first.in_features, generator=generator)


def test_the_largest_of_all_batches(ranker):
    batches = [read(ranker, seed) for seed in range(3)]
    found = Ranges.of(ranker, iter(batches))
    torch.testing.assert_close(found.inputs, torch.cat(batches).flatten(0, 1).abs().amax(0))
    layers: list[torch.Tensor] = []
    hook = ranker.experts.first.register_forward_hook(lambda module, given, gave: layers.append(gave))
    for batch in batches:
        ranker.experts(batch)
    hook.remove()
    torch.testing.assert_close(found.first, torch.cat(layers).flatten(0, 1).relu().amax(0))
    first, second = CONFIG.ranker.hidden
    assert found.first.shape == (CONFIG.ranker.experts * first,)
    assert found.second.shape == (CONFIG.ranker.experts * second,)


def test_the_second_layers_units_are_those_that_the_score_is_made_of(ranker):
    """One candidate: the experts' scores are the weighted sums of what was measured."""
    one = read(ranker, 0)[:1, :1]
    units = Ranges.of(ranker, [one]).second.view(CONFIG.ranker.experts, 1, -1)
    torch.testing.assert_close((units @ ranker.experts.last)[:, 0, 0], ranker.experts(one)[0, 0])


def test_they_come_back_from_disk(ranker, tmp_path):
    assert Ranges.load(tmp_path) is None
    found = Ranges.of(ranker, [read(ranker, 0)])
    found.save(tmp_path)
    again = Ranges.load(tmp_path)
    assert again is not None
    torch.testing.assert_close(
        (again.inputs, again.first, again.second), (found.inputs, found.first, found.second)
    )


def test_without_a_request_there_is_nothing_to_measure(ranker):
    with pytest.raises(ValueError, match="no request"):
        Ranges.of(ranker, [])
