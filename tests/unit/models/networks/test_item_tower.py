import pytest
import torch

from models.networks.item_tower import ItemTower
from models.schema import Schema
from tests.support.networks import ITEMS, SCHEMA, item_tokens, small_networks


@pytest.fixture
def tower() -> ItemTower:
    return small_networks().items


def test_rows_are_a_unit_vector_and_a_bias(tower):
    rows = tower.all()
    assert rows.shape == (ITEMS, 9)
    torch.testing.assert_close(rows[:, :-1].norm(dim=1), torch.ones(ITEMS))
    assert rows[:, -1].std() > 0


def test_a_new_item_is_an_old_one_without_its_id(tower):
    tower.id.weight.zero_()
    tower.id_bias.weight.zero_()
    torch.testing.assert_close(tower.new(tower.tokens), tower.all())


def test_the_id_matters_and_new_items_have_none(tower):
    new, known = tower.new(tower.tokens), tower.all()
    assert not torch.allclose(new, known)
    tower.id.weight.normal_()
    torch.testing.assert_close(tower.new(tower.tokens), new)


def test_an_item_without_any_content_is_finite(tower):
    assert tower.tokens[0].sum() == 0
    assert tower.new(tower.tokens[:1]).isfinite().all()
    assert tower.all()[0].isfinite().all()


def test_a_field_counts_by_the_mean_of_its_tokens(tower):
    twice = torch.tensor([[3, 3, 0, 0, 0, 0, 0]])
    once = torch.tensor([[3, 0, 0, 0, 0, 0, 0]])
    torch.testing.assert_close(tower.new(twice), tower.new(once))


def test_items_of_one_batch_do_not_mix(tower):
    together = tower.new(tower.tokens)
    for row in (0, 7, ITEMS - 1):
        torch.testing.assert_close(tower.new(tower.tokens[row : row + 1])[0], together[row])


def test_in_training_a_share_of_the_ids_is_hidden(tower):
    torch.manual_seed(0)
    tower.train()
    tower.id_dropout = 0.5
    hidden = torch.stack([torch.isclose(tower.all(), tower.new(tower.tokens)).all(1) for _ in range(20)])
    assert 0.4 < hidden.float().mean() < 0.6
    tower.eval()
    torch.testing.assert_close(tower.all(), tower.all())
    assert not torch.isclose(tower.all(), tower.new(tower.tokens)).all(1).any()


def test_items_without_fields_have_their_ids():
    schema = Schema((), (), ("view",))
    tower = ItemTower(schema, torch.zeros(4, 1, dtype=torch.int64), 8, 0.0).eval()
    assert tower.all().shape == (4, 9)
    assert tower.new(torch.zeros(2, 1, dtype=torch.int64)).isfinite().all()


def test_tokens_fit_the_schema_that_the_tests_use():
    assert item_tokens().shape == (ITEMS, sum(field.width for field in SCHEMA.item_fields))
