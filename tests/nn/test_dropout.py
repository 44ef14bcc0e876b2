"""Dropout: each sample's own, the same wherever and beside whatever it is drawn."""

import copy

import pytest
import torch
from torch import Tensor, nn

from sfumato.errors import ShapeError
from sfumato.nn.dropout import Dropout, sample_seeds
from sfumato.nn.image.dit import DiT
from sfumato.nn.image.encoder import Encoder
from sfumato.nn.image.unet import UNet

RATE = 0.3


def seeds(n: int, first: int = 0) -> Tensor:
    return torch.randint(0, 2**63 - 1, (n,), generator=torch.Generator().manual_seed(first))


def masks(n: int, shape: tuple[int, ...] = (64, 16, 16), layers: int = 1, own: Tensor | None = None) -> list[Tensor]:
    """What is kept of n samples, 1 or 0, by each of so many layers."""
    drops = [Dropout(RATE) for _ in range(layers)]
    with sample_seeds(seeds(n) if own is None else own):
        return [drop(torch.ones(n, *shape)).ne(0).double() for drop in drops]


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_so_many_are_dropped_and_the_mean_stays() -> None:
    drop = Dropout(RATE)
    with sample_seeds(seeds(16)):
        y = drop(torch.ones(16, 64, 16, 16))
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - RATE)])
    kept = y.ne(0).double()
    deviation = (RATE * (1 - RATE) / kept[0].numel()) ** 0.5
    assert ((kept.flatten(1).mean(1) - (1 - RATE)).abs() < 5 * deviation).all(), "of every sample"


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.999])
def test_every_rate_is_met(rate: float) -> None:
    drop, n = Dropout(rate), 10**6
    with sample_seeds(seeds(1)):
        dropped = float((drop(torch.ones(1, n)) == 0).double().mean())
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / n) ** 0.5


def test_elements_samples_layers_and_steps_are_independent() -> None:
    """Each correlation of 2¹⁴ pairs has a standard deviation of 2⁻⁷."""
    one, other = masks(8, layers=2)
    pairs = [(one[i], one[j]) for i in range(8) for j in range(i)]
    pairs += [(one[i], other[i]) for i in range(8)]
    pairs += [(one[i], again) for i, again in enumerate(masks(8, own=seeds(8, first=1))[0])]
    pairs += [(one[:, :, :, :-1], one[:, :, :, 1:]), (one[:, :-1], one[:, 1:])]
    found = torch.tensor([correlation(*pair) for pair in pairs])
    assert found.abs().max() < 5 / 2**7 and found.square().mean().sqrt() < 1.5 / 2**7


def test_a_sample_drops_the_same_wherever_it_stands() -> None:
    own = seeds(6)
    whole = masks(6, layers=2, own=own)
    order = torch.tensor([4, 0, 5])
    part = masks(3, layers=2, own=own[order])
    assert all(torch.equal(a[order], b) for a, b in zip(whole, part, strict=True))


def test_memory_layout_and_precision_change_no_mask() -> None:
    x, drop = torch.ones(2, 8, 6, 6), Dropout(RATE)
    with sample_seeds(seeds(2)):
        plain = drop(x)
    with sample_seeds(seeds(2)):
        last = drop(x.to(memory_format=torch.channels_last))
    with sample_seeds(seeds(2)):
        half = drop(x.bfloat16())
    assert torch.equal(plain, last) and torch.equal(plain.ne(0), half.ne(0)) and half.dtype == torch.bfloat16
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_outside_training_nothing_is_dropped_and_without_seeds_torch_draws() -> None:
    drop, x = Dropout(0.5), torch.ones(2, 1000)
    with sample_seeds(seeds(2)):
        assert copy.deepcopy(drop).eval()(x) is x and Dropout(0.0)(x) is x
    torch.manual_seed(0)
    drawn = drop(x)
    torch.manual_seed(0)
    assert torch.equal(drawn, nn.functional.dropout(x, 0.5))
    assert not drop.state_dict(), "nothing of it is saved"


def test_gradients_pass_where_activations_do() -> None:
    x = torch.ones(2, 100, requires_grad=True)
    with sample_seeds(seeds(2)):
        y = Dropout(RATE)(x)
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, y.detach())


def test_seeds_are_one_a_sample() -> None:
    with pytest.raises(ShapeError, match="the seeds of 3 samples, and 2 came"), sample_seeds(seeds(3)):
        Dropout(RATE)(torch.ones(2, 4))


def test_no_network_draws_otherwise() -> None:
    for network in (
        UNet(1, 1, width=16, dropout=0.1),
        DiT(1, 1, width=16, depth=1, head_width=8, dropout=0.1),
        Encoder(1, 2, width=16, dropout=0.1),
    ):
        kinds = [type(module) for module in network.modules()]
        assert nn.Dropout not in kinds and Dropout in kinds
