"""The perceptual distance, in closed form on features that are the pictures themselves."""

import math
from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sfumato.errors import ShapeError
from sfumato.loss.perceptual import DEPTHS, perceptual
from sfumato.nn.image.mobilenet import MobileNet

REAL = Path(__file__).parents[3] / "shared" / "data" / "eval_nets" / "imagenet_mobilenet_v1_1024.npz"


class Itself:
    """A network that sees the picture itself at every depth."""

    def maps(self, pictures: Tensor, after: Collection[int]) -> list[Tensor]:
        return [pictures] * len(after)


def angle(degrees: float) -> Tensor:
    """A picture of one pixel, whose features point that way."""
    return torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), 0.0]).reshape(1, 3, 1, 1)


@pytest.mark.parametrize("degrees", [0, 30, 90, 180])
def test_it_is_two_less_two_cosines_at_each_depth(degrees: float) -> None:
    expected = 2 - 2 * math.cos(math.radians(degrees))
    assert perceptual(angle(0), 7 * angle(degrees), Itself(), after=[0]).item() == pytest.approx(expected, rel=1e-5)
    assert perceptual(angle(0), angle(degrees), Itself()).item() == pytest.approx(len(DEPTHS) * expected, rel=1e-5)


def test_it_is_the_mean_over_the_places_and_one_figure_a_picture() -> None:
    a = angle(0).expand(2, 3, 2, 2)
    b = a.clone()
    b[1, :, 0, 0] = angle(90).flatten()
    assert torch.allclose(perceptual(a, b, Itself(), after=[0]), torch.tensor([0.0, 2 / 4]), atol=1e-5)


def test_where_nothing_is_seen_the_gradient_is_finite() -> None:
    a = torch.zeros(1, 3, 2, 2, requires_grad=True)
    perceptual(a, angle(0).expand(1, 3, 2, 2), Itself()).sum().backward()
    assert a.grad is not None and a.grad.isfinite().all()


def test_pictures_of_two_shapes_do_not_compare() -> None:
    with pytest.raises(ShapeError, match=r"must have one shape, not \[1, 3, 4, 4\] and \[1, 3, 4, 5\]"):
        perceptual(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5), Itself())


@pytest.mark.skipif(not REAL.exists(), reason="the network trained on ImageNet is not beside the repository")
def test_descent_along_the_gradient_brings_a_picture_nearer() -> None:
    network = MobileNet.read(REAL)
    stream = torch.Generator().manual_seed(0)
    wanted = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4, generator=stream) * 2 - 1, 32, mode="bilinear")
    x = torch.zeros_like(wanted).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    distances = []
    for _ in range(20):
        distance = perceptual(x, wanted, network)
        optimizer.zero_grad()
        distance.sum().backward()
        optimizer.step()
        distances.append(distance.item())
    assert perceptual(wanted, wanted, network).item() == 0
    assert distances[-1] < distances[0] / 2
