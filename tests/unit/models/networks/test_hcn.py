import pytest
import torch

from models.networks.hcn import Hcn, best_interest, overlap
from tests.support.networks import empty, history, one, padded, small_networks

DIM, INTERESTS = 8, 3


@pytest.fixture
def hcn() -> Hcn:
    return small_networks().preranker


def test_interests_have_the_length_of_the_temperature_and_weigh_the_bias_with_one(hcn):
    interests = hcn(**history(DIM, 5, 7))
    assert interests.shape == (5, INTERESTS, DIM + 1)
    norms = interests[..., :-1].norm(dim=-1)
    torch.testing.assert_close(norms, torch.full_like(norms, 1 / hcn.temperature))
    assert (interests[..., -1] == 1).all()


@pytest.mark.parametrize("steps", [1, 7])
def test_an_empty_history_gives_finite_interests(hcn, steps):
    inputs = empty(history(DIM, 4, 7))
    short = {key: value if key == "profile" else value[:, :steps] for key, value in inputs.items()}
    assert hcn(**short).isfinite().all()
    torch.testing.assert_close(hcn(**short), hcn(**inputs))


def test_padding_changes_nothing(hcn):
    inputs = history(DIM, 5, 7)
    torch.testing.assert_close(hcn(**padded(inputs, 5)), hcn(**inputs), rtol=1e-4, atol=1e-4)


def test_a_batch_is_its_singles(hcn):
    inputs = history(DIM, 5, 7)
    together = hcn(**inputs)
    for b in range(5):
        torch.testing.assert_close(hcn(**one(inputs, b))[0], together[b], rtol=1e-4, atol=1e-4)


def test_what_stands_in_the_padding_is_never_read(hcn):
    inputs = history(DIM, 5, 7)
    rubbish = torch.where(inputs["mask"].unsqueeze(-1), inputs["events"], 50.0)
    torch.testing.assert_close(hcn(**inputs | {"events": rubbish}), hcn(**inputs), rtol=1e-4, atol=1e-4)


def test_the_order_of_the_events_counts_only_by_their_times(hcn):
    """Interests are of a set of events: what they hold of order is in gap, age and recent."""
    inputs = one(history(DIM, 3, 7), 2)
    turned = {key: value if key == "profile" else value.flip(1) for key, value in inputs.items()}
    torch.testing.assert_close(hcn(**turned), hcn(**inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["events", "kind", "gap", "age", "recent", "profile"])
def test_every_input_is_read(hcn, name):
    inputs, other = history(DIM, 4, 7), history(DIM, 4, 7, seed=1)
    if name == "recent":
        other = {"recent": ~inputs["recent"] & inputs["mask"]}
    assert not torch.allclose(hcn(**inputs)[-1], hcn(**inputs | {name: other[name]})[-1])


def test_the_best_interest_scores():
    interests = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]])
    items = torch.tensor([[2.0, 5.0, 0.5], [-1.0, -3.0, 0.0]])
    assert best_interest(interests, items).tolist() == [[5.5, -1.0]]


class TestOverlap:
    """The bias, last, is left out; lengths do not matter."""

    def test_interests_that_are_alike_cost_what_exceeds_the_margin(self):
        alike = torch.tensor([[[2.0, 0.0, 9.0], [5.0, 0.0, 1.0]]])
        assert overlap(alike, 0.25).item() == pytest.approx(0.75)

    def test_interests_apart_cost_nothing(self):
        apart = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 5.0, 1.0]]])
        assert overlap(apart, 0.0).item() == pytest.approx(0.0, abs=1e-6)
        assert overlap(apart, 0.5).item() == 0.0
        assert overlap(apart, -0.5).item() == pytest.approx(0.5)

    def test_pairs_are_counted_once_and_averaged(self):
        half = 0.5**0.5
        three = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [half, half, 1.0]]])
        assert overlap(three, 0.0).item() == pytest.approx((0 + 2 * half) / 3)

    def test_its_gradient_pushes_them_apart(self):
        vectors = torch.tensor([[[1.0, 0.2, 1.0], [1.0, -0.2, 1.0]]]).requires_grad_()
        overlap(vectors, 0.5).backward()
        moved = (vectors - vectors.grad).detach()
        assert overlap(moved, 0.5) < overlap(vectors, 0.5)
