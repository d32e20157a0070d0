import pytest
import torch

from models.networks.encoders import SetEncoder
from models.networks.mean import MeanEncoder

DIM, LENGTH, BATCH = 8, 6, 3


@pytest.fixture
def encoder() -> MeanEncoder:
    torch.manual_seed(1)
    module = MeanEncoder(DIM, 1, 1, LENGTH, 0.3).eval()
    for parameter in module.parameters():  # equal weights would hide what is learned
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module.requires_grad_(False)


def events(seed: int = 0) -> torch.Tensor:
    return torch.randn(BATCH, LENGTH, DIM, generator=torch.Generator().manual_seed(seed))


def real(steps: int = LENGTH) -> torch.Tensor:
    return torch.arange(LENGTH).expand(BATCH, -1) >= LENGTH - steps


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_it_is_a_set_encoder(encoder):
    assert isinstance(encoder, SetEncoder)
    assert not encoder.ordered


@pytest.mark.parametrize("place", range(LENGTH))
def test_a_place_reads_all_events_but_its_own(encoder, place):
    x, changed = events(), events()
    changed[:, place] = events(9)[:, place]
    before, after = encoder.others(x, real()), encoder.others(changed, real())
    assert close(before[:, place], after[:, place])
    for other in set(range(LENGTH)) - {place}:
        assert not close(before[:, other], after[:, other]), other


def test_what_stands_in_the_padding_is_never_read(encoder):
    x, mask = events(), real(4)
    rubbish = torch.where(mask.unsqueeze(-1), x, 50.0)
    assert close(encoder.others(x, mask)[:, 2:], encoder.others(rubbish, mask)[:, 2:])
    assert not close(encoder.others(x, mask)[:, 2:], encoder.others(x, real())[:, 2:])


def test_the_order_of_the_events_says_nothing(encoder):
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    x = events()
    assert close(encoder(x, real())[:, -1], encoder(x[:, order], real())[:, -1])
    assert close(encoder.others(x, real())[:, order], encoder.others(x[:, order], real()))


def test_the_others_of_a_place_are_the_history_without_it(encoder):
    """Training asks as serving does: the last of `forward` over the remaining events."""
    x = events()
    asked = encoder.others(x, real())
    for place in range(LENGTH):
        rest = torch.cat([x[:, :place], x[:, place + 1 :]], dim=1)
        served = encoder(rest, torch.ones(BATCH, LENGTH - 1, dtype=torch.bool))[:, -1]
        torch.testing.assert_close(asked[:, place], served, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("valid", [0, 1, LENGTH])
def test_the_whole_of_a_row_is_what_its_last_place_says(encoder, valid):
    mask = real(valid)
    assert encoder.whole(events(), mask).shape == (BATCH, 1, DIM)
    torch.testing.assert_close(encoder.whole(events(), mask)[:, 0], encoder(events(), mask)[:, -1])


def test_a_heavier_event_counts_more():
    encoder = MeanEncoder(2, 1, 1, 4, 0.0).eval()
    for parameter in encoder.parameters():
        parameter.data.zero_()
    encoder.weight.weight.data[0, 0] = 2.0
    x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    mean = encoder(x, torch.ones(1, 2, dtype=torch.bool))[0, -1]
    share = torch.tensor(2.0).exp() / (torch.tensor(2.0).exp() + 1)
    torch.testing.assert_close(mean, torch.stack([share, 1 - share]))


def test_a_single_event_has_no_others_and_stays_finite(encoder):
    assert encoder.others(events(), real(1)).isfinite().all()
    assert encoder.others(events(), real(0)).isfinite().all()
    huge = 1e4 * events()
    assert encoder.others(huge, real()).isfinite().all()
