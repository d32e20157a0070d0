import pytest
import torch

from models.networks.hcn import Hcn, InterestExtractor, overlap, pair_cosines
from tests.support.networks import SCHEMA, empty, history, one, padded, small_networks

DIM, INTERESTS = 8, 3
FORMS = {
    "one level": {"iterations": 1, "hierarchy": "residual"},
    "residual": {"hierarchy": "residual"},
    "weighted": {"hierarchy": "weighted"},
    "long alone": {"co_interest": False},
    "one interest": {"interests": 1, "hierarchy": "residual"},
}


def built(**changes) -> Hcn:
    """An untrained pre-ranker whose every weight is moved from its start."""
    torch.manual_seed(0)
    own = {"interests": INTERESTS, "iterations": 3, "heads": 2, "dropout": 0.2, "temperature": 0.07}
    network = Hcn(SCHEMA, DIM, **own | changes).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return network


@pytest.fixture(params=["default", *FORMS])
def hcn(request) -> Hcn:
    return small_networks().preranker if request.param == "default" else built(**FORMS[request.param])


def test_interests_have_the_length_of_the_temperature_and_weigh_the_bias_with_one(hcn):
    interests = hcn(**history(DIM, 5, 7))
    assert interests.shape == (5, len(hcn.long.seeds), DIM + 1)
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
    same = torch.allclose(hcn(**inputs)[-1], hcn(**inputs | {name: other[name]})[-1])
    assert same == (name == "recent" and not hcn.co_interest)


class TestLevels:
    """Two centres at the two axes; queries, keys and updates are set so that the arithmetic is known."""

    EVENTS = torch.tensor([[[4.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    MASK = torch.tensor([[True, True, False]])

    def extractor(self, hierarchy: str, iterations: int = 2) -> InterestExtractor:
        """Each centre claims what points its way, and every level moves it by (1, 2)."""
        extractor = InterestExtractor(2, 2, iterations, hierarchy).requires_grad_(False)
        extractor.seeds.copy_(torch.eye(2))
        extractor.query.weight.copy_(20 * torch.eye(2))
        extractor.key_value.weight.copy_(torch.eye(2).repeat(2, 1))
        for layer in (extractor.update_in, extractor.update_out):
            layer.weight.zero_()
            layer.bias.zero_()
        extractor.update_out.bias.copy_(torch.tensor([1.0, 2.0]))
        return extractor

    def test_centres_divide_the_events_and_never_the_padding(self):
        _, share = self.extractor("none", 1)(self.EVENTS, self.MASK)
        torch.testing.assert_close(share[0], torch.eye(2, 3), atol=1e-3, rtol=0)

    @pytest.mark.parametrize(("hierarchy", "moved"), [("none", 3.0), ("residual", 3.0), ("weighted", 2.0)])
    def test_every_level_adds_to_a_centre_or_to_their_mean(self, hierarchy, moved):
        centres, _ = self.extractor(hierarchy, 3)(self.EVENTS, self.MASK)
        torch.testing.assert_close(centres[0], torch.eye(2) + moved * torch.tensor([1.0, 2.0]))

    def test_a_level_reads_what_the_one_before_left(self, monkeypatch):
        read = []
        extractor = self.extractor("residual")
        once = extractor._read
        monkeypatch.setattr(extractor, "_read", lambda events: read.append(events) or once(events))
        extractor.explained.fill_(0.5)
        extractor(self.EVENTS, self.MASK)
        # The centres after a level are (2, 2) and (1, 3); half of them is taken from the events they claimed.
        expected = torch.tensor([[[3.0, -1.0], [-0.5, 2.5], [9.0, 9.0]]])
        assert torch.equal(read[0], self.EVENTS)
        torch.testing.assert_close(read[1], expected, atol=1e-2, rtol=0)

    def test_weights_choose_the_level(self):
        extractor = self.extractor("weighted")
        extractor.level_weight.copy_(torch.tensor([50.0, 0.0]))
        centres, _ = extractor(self.EVENTS, self.MASK)
        torch.testing.assert_close(centres[0], torch.eye(2) + torch.tensor([1.0, 2.0]))

    @pytest.mark.parametrize("hierarchy", ["residual", "weighted"])
    def test_levels_learn_how_much_they_count(self, hierarchy):
        torch.manual_seed(0)
        extractor = InterestExtractor(4, 3, 3, hierarchy)
        extractor(torch.randn(2, 5, 4), torch.ones(2, 5, dtype=torch.bool))[0].square().sum().backward()
        learned = extractor.explained if hierarchy == "residual" else extractor.level_weight
        assert (learned.grad != 0).all()


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

    def test_one_interest_has_no_pair_and_costs_nothing(self):
        alone = torch.tensor([[[1.0, 0.0, 1.0]]])
        assert pair_cosines(alone).shape == (1, 0)
        assert overlap(alone, 0.0).item() == 0.0

    def test_its_gradient_pushes_them_apart(self):
        vectors = torch.tensor([[[1.0, 0.2, 1.0], [1.0, -0.2, 1.0]]]).requires_grad_()
        overlap(vectors, 0.5).backward()
        moved = (vectors - vectors.grad).detach()
        assert overlap(moved, 0.5) < overlap(vectors, 0.5)
