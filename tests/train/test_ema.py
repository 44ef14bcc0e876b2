"""The average of the weights: its decay, and what comes of it."""

import math

import numpy as np
import pytest
import torch

from sfumato.errors import InputError
from sfumato.train.ema import AVERAGES, Average, Constant, Power, update


@pytest.mark.parametrize(("width", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_gamma_is_the_published_one(width: float, gamma: float) -> None:
    """EDM2, arXiv:2312.02696, section 3.1."""
    assert Power(width).gamma == pytest.approx(gamma, abs=0.005)


@pytest.mark.parametrize("width", [0.02, 0.1, 0.25])
def test_gamma_solves_its_equation(width: float) -> None:
    """`width² = (γ + 1) / ((γ + 2)²·(γ + 3))` (EDM2, section 3.1)."""
    gamma = Power(width).gamma
    assert (gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5) == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.28, 0.5, math.nan])
def test_a_width_that_no_average_has_is_refused(width: float) -> None:
    with pytest.raises(InputError, match=f"must lie between 0 and 0.28, not {width}$"):
        _ = Power(width).gamma


def run(average: Average, values: list[float], start: float = 1e6) -> float:
    """The average after each of `values` was the weight for one step."""
    held = [torch.tensor([start], dtype=torch.float64)]
    for step, value in enumerate(values, start=1):
        update(held, [torch.tensor([value], dtype=torch.float64)], average.decay(step))
    return float(held[0])


@pytest.mark.parametrize("width", [0.05, 0.1])
def test_the_power_average_is_the_weighted_mean(width: float) -> None:
    """Step t of N weighs (t/N)^(γ+1) − ((t−1)/N)^(γ+1); the initial weights nothing."""
    values = np.random.default_rng(0).normal(size=400)
    edges = (np.arange(401) / 400) ** (Power(width).gamma + 1)
    assert run(Power(width), values.tolist()) == pytest.approx(float(np.diff(edges) @ values), abs=1e-12)
    place = (np.arange(400) + 0.5) / 400
    mean = np.diff(edges) @ place
    assert (np.diff(edges) @ (place - mean) ** 2) ** 0.5 == pytest.approx(width, rel=1e-3), "as wide as it says"


def test_the_constant_average_is_the_weighted_mean() -> None:
    values = np.random.default_rng(0).normal(size=200)
    decays = [min(0.9, (1 + t) / (10 + t)) for t in range(1, 201)]
    after = np.cumprod([*decays, 1.0][::-1])[::-1][1:]
    expected = 5.0 * np.prod(decays) + sum((1 - d) * a * v for d, a, v in zip(decays, after, values, strict=True))
    assert run(Constant(0.9), values.tolist(), start=5.0) == pytest.approx(float(expected), abs=1e-12)


def test_the_constant_average_starts_fast_and_then_is_constant() -> None:
    decays = [Constant(0.99).decay(step) for step in (1, 2, 100, 890, 10**6)]
    assert decays[:3] == [2 / 11, 3 / 12, 101 / 110] and decays[3:] == [0.99, 0.99]


def test_averages_are_spelled_in_recipes() -> None:
    for average in (Power(0.05), Constant(0.999)):
        assert AVERAGES.load(AVERAGES.dump(average)) == average
    assert AVERAGES.dump(Power()) == {"kind": "power", "width": 0.1}
    with pytest.raises(InputError, match="'average.constant.rate': input should be a valid number, not True$"):
        AVERAGES.load({"kind": "constant", "rate": True})


def test_an_update_leaves_the_weights_and_needs_no_gradient() -> None:
    weights = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.full((2, 2), 4.0))]
    average = [torch.zeros(3), torch.zeros(2, 2)]
    update(average, weights, 0.75)
    assert torch.equal(average[0], torch.full((3,), 0.25)) and torch.equal(average[1], torch.full((2, 2), 1.0))
    assert torch.equal(weights[0], torch.ones(3)) and not average[0].requires_grad
    update(average, weights, 0.0)
    assert torch.equal(average[1], weights[1])
