import pytest
import torch

from models.encode import CROSS
from models.networks.aw_moe import Activation, AwMoe
from tests.support.networks import empty, history, one, padded, small_networks

DIM, COUNT = 6, 9
READ = ("events", "kind", "gap", "age", "mask", "profile", "query", "candidates", "cross")
QUERY = 9


@pytest.fixture
def ranker() -> AwMoe:
    ranker = small_networks().ranker
    ranker.standardise(torch.arange(float(len(CROSS))), torch.arange(1.0, len(CROSS) + 1))
    return ranker


def requests(users: int = 4, steps: int = 7, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return history(DIM - 1, users, steps, seed) | {
        "query": torch.zeros(users, QUERY),
        "candidates": torch.randn(users, COUNT, DIM, generator=generator),
        "cross": torch.randn(users, COUNT, len(CROSS), generator=generator),
    }


def run(ranker: AwMoe, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    ranked = ranker(**{name: inputs[name] for name in READ})
    return ranked.logits, ranked.gate


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing(ranker):
    inputs = requests()
    kept = {name: inputs[name] for name in ("query", "candidates", "cross")}
    grown = padded({key: value for key, value in inputs.items() if key not in kept}, 5)
    for a, b in zip(run(ranker, grown | kept), run(ranker, inputs), strict=True):
        close(a, b)


@pytest.mark.parametrize("steps", [1, 7])
def test_an_empty_history_has_finite_logits_and_the_base_gate(ranker, steps):
    logits, gate = run(ranker, empty(history(DIM - 1, 4, steps)) | {n: requests()[n] for n in READ[-3:]})
    assert logits.isfinite().all()
    close(gate, ranker.gate_base.expand_as(gate))


def test_logits_go_with_their_candidates(ranker):
    inputs = requests()
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))
    turned = inputs | {name: inputs[name][:, order] for name in ("candidates", "cross")}
    close(run(ranker, turned)[0], run(ranker, inputs)[0][:, order])


def test_a_candidate_alone_scores_as_in_company(ranker):
    inputs = requests()
    together = run(ranker, inputs)[0]
    for place in (0, COUNT - 1):
        alone = inputs | {name: inputs[name][:, place : place + 1] for name in ("candidates", "cross")}
        close(run(ranker, alone)[0][:, 0], together[:, place])


def test_a_batch_is_its_singles(ranker):
    inputs = requests()
    logits, gate = run(ranker, inputs)
    for b in range(4):
        single_logits, single_gate = run(ranker, one(inputs, b))
        close(single_logits[0], logits[b])
        close(single_gate[0], gate[b])


def test_what_stands_in_the_padding_is_never_read(ranker):
    inputs = requests()
    rubbish = torch.where(inputs["mask"].unsqueeze(-1), inputs["events"], 50.0)
    close(run(ranker, inputs | {"events": rubbish})[0], run(ranker, inputs)[0])


@pytest.mark.parametrize("name", ["events", "kind", "gap", "age", "profile", "candidates", "cross"])
def test_every_input_is_read(ranker, name):
    inputs, other = requests(), requests(seed=1)
    assert not torch.allclose(run(ranker, inputs)[0][-1], run(ranker, inputs | {name: other[name]})[0][-1])


def test_without_experts_the_start_is_the_weighed_cross_features(ranker):
    weights = torch.linspace(-1, 1, len(CROSS))
    ranker.start_from(weights, 0.0)
    inputs = requests()
    close(run(ranker, inputs)[0], ((inputs["cross"] - ranker.cross_mean) / ranker.cross_scale) @ weights)


def test_the_start_adds_the_experts_by_the_blend(ranker):
    inputs = requests()
    ranker.start_from(torch.zeros(len(CROSS)), 1.0)
    experts = run(ranker, inputs)[0]
    ranker.start_from(torch.zeros(len(CROSS)), 0.25)
    close(run(ranker, inputs)[0], 0.25 * experts)


def test_the_split_form_of_the_activation_is_the_plain_one():
    """One linear layer over [h_j, h_t, h_j * h_t] for every pair, a ReLU, then two heads."""
    torch.manual_seed(0)
    unit = Activation(DIM, 5).requires_grad_(False)
    events, targets = torch.randn(2, 7, DIM), torch.randn(2, 4, DIM)
    mask = torch.tensor([[False] * 3 + [True] * 4, [True] * 7])
    h_j = events[:, None].expand(-1, 4, -1, -1)
    h_t = targets[:, :, None].expand(-1, -1, 7, -1)
    hidden = unit.event(h_j) + h_t @ unit.target + (h_j * h_t) @ unit.product
    expected = unit.heads(torch.relu(hidden)) * mask[:, None, :, None]
    reads, opens = unit(events, targets, mask)
    close(torch.stack([reads, opens], dim=-1), expected)
