from dataclasses import replace

import numpy as np
import pytest
import torch

from models.networks.item_tower import ItemTower
from models.schema import Field, FieldKind, Schema
from models.training import views
from models.training.config import TowerConfig
from models.training.tower import train_towers
from models.training.views import ItemViews, dependence
from tests.support.simulated import simulated_world

VALUES, ITEMS = 6, 300
NAMES = ("brand", "colour", "maker", "shade")
"""The maker repeats the brand, the shade the colour; brand and colour know nothing of each other."""
FIELDS = tuple(
    Field(name, FieldKind.CATEGORY, vocabulary=tuple(f"{name}{value}" for value in range(VALUES)))
    for name in NAMES
)
WIDTHS = [1, 1, 1, 1]


def planted(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    brand, colour = rng.integers(0, VALUES, (2, ITEMS))
    values = np.stack([brand, colour, rng.permutation(VALUES)[brand], rng.permutation(VALUES)[colour]], 1)
    return values + 1 + np.arange(4) * FIELDS[0].size


def tower(tokens: np.ndarray) -> ItemTower:
    torch.manual_seed(0)
    return ItemTower(Schema(FIELDS, (), ("view",)), torch.from_numpy(tokens), 16, 0.0)


class Watched(ItemTower):
    """Remembers which fields each view kept."""

    def view(self, tokens, keep):
        self.kept = [*getattr(self, "kept", []), keep]
        return super().view(tokens, keep)


def masks(rounds: int = 40) -> list[tuple[list[float], list[float]]]:
    torch.manual_seed(1)
    items = Watched(Schema(FIELDS, (), ("view",)), torch.from_numpy(planted()), 8, 0.0)
    of = ItemViews(planted(), WIDTHS)
    for _ in range(rounds):
        of.loss(items)
    return [(a.tolist(), b.tolist()) for a, b in zip(items.kept[::2], items.kept[1::2], strict=True)]


def test_two_views_share_no_field_and_leave_none_out():
    for one, other in masks():
        assert sum(one) == 2
        assert [a + b for a, b in zip(one, other, strict=True)] == [1, 1, 1, 1]


def test_fields_that_repeat_each_other_are_in_one_view():
    assert {tuple(one) for one, _ in masks()} == {(1, 0, 1, 0), (0, 1, 0, 1)}


def test_a_fields_first_partners_are_itself_and_its_copy():
    partners = ItemViews(planted(), WIDTHS).partners
    assert partners[:, :2].tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]


def test_dependence_is_one_for_a_copy_and_nothing_for_strangers():
    found = dependence(planted(), WIDTHS)
    np.testing.assert_allclose(found, found.T)
    assert found[0, 2] == pytest.approx(1)
    assert found[1, 3] == pytest.approx(1)
    assert found[0, 1] < 0.1
    assert (found.argmax(axis=1) == np.arange(4)).all()


def test_dependence_of_many_items_is_told_from_a_sample(monkeypatch):
    whole = dependence(planted(), WIDTHS)
    monkeypatch.setattr(views, "_SAMPLE", 150)
    np.testing.assert_allclose(dependence(planted(), WIDTHS), whole, atol=0.15)


def test_a_field_that_never_varies_breaks_nothing():
    tokens = planted()
    tokens[:, 1] = FIELDS[0].size + 1
    assert np.isfinite(dependence(tokens, WIDTHS)).all()
    assert ItemViews(tokens, WIDTHS).loss(tower(tokens)).isfinite()


@pytest.mark.parametrize("fields", [0, 1])
def test_items_of_fewer_than_two_fields_are_refused_by_the_key(fields):
    with pytest.raises(ValueError, match=r"tower\.views_weight: .* at least two attributes"):
        ItemViews(planted()[:, :fields], WIDTHS[:fields])


def test_training_refuses_it_before_it_begins():
    world = simulated_world()
    config = TowerConfig(dim=8, layers=1, epochs=1, views_weight=0.1)
    first = world.features.schema.item_fields[0]
    narrow = replace(
        world.features,
        schema=replace(world.features.schema, item_fields=(first,)),
        items=world.features.items[:, : first.width],
    )
    with pytest.raises(ValueError, match=r"tower\.views_weight"):
        train_towers(narrow, world.split.train, world.validation, config, 0)


def test_the_loss_falls_when_views_can_be_told():
    """Every field says the same here, so one half of an item gives its other half away."""
    secret = np.random.default_rng(0).integers(0, VALUES, ITEMS)
    tokens = np.repeat(secret[:, None], 4, axis=1) + 1 + np.arange(4) * FIELDS[0].size
    items, of = tower(tokens), ItemViews(tokens, WIDTHS)
    optimiser = torch.optim.Adam(items.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = of.loss(items)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # An item cannot be told from others of the same secret: about a sixth of the sample each.
    least = np.log(views.ITEMS / VALUES)
    assert losses[0] > least + 1
    assert np.mean(losses[-5:]) < least + 0.2


def test_an_item_of_which_a_view_knows_nothing_is_left_out():
    """Half the catalogue has no brand and no maker: the loss is that of the other half alone."""
    tokens = planted()
    tokens[::2, [0, 2]] = 0
    items = tower(tokens)
    of = ItemViews(planted(), WIDTHS)
    of.tokens = torch.from_numpy(tokens)
    torch.manual_seed(4)
    loss = of.loss(items)
    torch.manual_seed(4)
    rows = torch.randint(ITEMS, (views.ITEMS,))
    rows = rows[rows % 2 == 1]
    one = items.view(of.tokens[rows], torch.tensor([1.0, 0, 1, 0]))
    other = items.view(of.tokens[rows], torch.tensor([0, 1.0, 0, 1]))
    likeness = one @ other.T / views.TEMPERATURE
    same = torch.arange(len(rows))
    both = [torch.nn.functional.cross_entropy(each, same) for each in (likeness, likeness.T)]
    torch.testing.assert_close(loss, (both[0] + both[1]) / 2)


def test_a_catalogue_without_content_costs_nothing_and_has_a_gradient():
    tokens = np.zeros((5, 4), np.int64)
    items = tower(tokens)
    loss = ItemViews(tokens, WIDTHS).loss(items)
    loss.backward()
    assert loss.item() == 0
    assert items.content.weight.grad.isfinite().all()


def test_gradients_are_finite_where_items_are_empty():
    tokens = planted()
    tokens[::3] = 0
    tokens[1::3, :2] = 0
    items = tower(tokens)
    ItemViews(tokens, WIDTHS).loss(items).backward()
    gradient = items.content.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
