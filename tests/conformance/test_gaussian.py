"""Gaussian data: every move is affine, so the law of the samples is known exactly, and tends to that of the data."""

import math
from functools import cache
from typing import NamedTuple

import pytest
import torch
from matrix import (
    LONG,
    SAMPLERS,
    SCHEDULES,
    STEPS,
    Given,
    each_row,
    error,
    levels,
    network,
    normal,
    precision,
    run,
    stack,
)
from torch import Tensor

from sfumato.core.grid import Uniform
from sfumato.core.grid import levels as grid_levels
from sfumato.core.level import Level
from sfumato.core.schedule import VP
from sfumato.oracle import Gaussian
from sfumato.sample import DDIM, Ancestral

MEAN, STD = 0.6, 0.5


class Affine(NamedTuple):
    """`x_s = gain·x_t + offset + std·noise`, one for each move: [moves]."""

    gain: Tensor
    offset: Tensor
    std: Tensor

    def moments(self, mean: float, var: float) -> tuple[float, float]:
        """The mean and variance in which a mean and variance end."""
        for gain, offset, std in zip(*(field.tolist() for field in self), strict=True):
            mean, var = gain * mean + offset, gain**2 * var + std**2
        return mean, var


def column(*numbers: float) -> Tensor:
    """Samples of one element, [b, 1]."""
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def published(sampler: str, path: tuple[Level, ...]) -> Affine:
    """The moves as the papers write them, in alpha-bar; DDPM's for any stride, as in arXiv:2102.09672, section 4."""
    places = stack(path)
    bar_t, bar_s = places.alpha[:-1] ** 2, places.alpha[1:] ** 2
    var_t, var_s = places.sigma[:-1] ** 2, places.sigma[1:] ** 2  # 1 − alpha-bar, without the cancellation
    beta = 1 - bar_t / bar_s
    small = beta * var_s / var_t
    gain = bar_t.sqrt() * STD**2 / (bar_t * STD**2 + var_t)  # E[x_0 | x_t] = gain·x_t + offset
    offset = MEAN - gain * bar_t.sqrt() * MEAN
    rule = SAMPLERS[sampler]
    if isinstance(rule, Ancestral):
        of_x_0, of_x_t = bar_s.sqrt() * beta / var_t, (bar_t / bar_s).sqrt() * var_s / var_t
        var = small if rule.variance == "small" else torch.where(var_s > 0, beta, 0.0)
    else:
        assert isinstance(rule, DDIM)
        var = rule.eta**2 * small
        of_x_t = ((var_s - var) / var_t).sqrt()
        of_x_0 = bar_s.sqrt() - of_x_t * bar_t.sqrt()
    return Affine(of_x_0 * gain + of_x_t, of_x_0 * offset, var.sqrt())


def measured(sampler: str, oracle: Gaussian, parameterization: str, path: tuple[Level, ...]) -> Affine:
    """What the sampler does in each move to the samples 0 and 1, and to a noise of 1: all moves in one batch."""
    n = len(path) - 1
    now, then = (stack(part * 3) for part in (path[:-1], path[1:]))
    x, noise = (column(*numbers).repeat_interleave(n, dim=0) for numbers in ((0, 1, 0), (0, 0, 1)))
    rule = SAMPLERS[sampler]
    denoiser = network(oracle, parameterization)
    with torch.no_grad():
        moved, _ = rule.step(denoiser, x, now, then, rule.init(x), Given(noise))
    at_0, at_1, noised = moved[:, 0].chunk(3)
    return Affine(at_1 - at_0, at_0, noised - at_0)


@cache
def oracle(schedule: str) -> Gaussian:
    return Gaussian(SCHEDULES[schedule], *torch.tensor([[MEAN], [STD]], dtype=torch.float64))


def law(level: Level) -> tuple[float, float]:
    """Mean and variance of x_t."""
    return level.alpha.item() * MEAN, (level.alpha**2 * STD**2 + level.sigma**2).item()


@each_row(by_turns=[LONG])
def test_each_move_is_the_published_one(
    sampler: str, schedule: str, parameterization: str, spacing: str, steps: int
) -> None:
    path = levels(schedule, spacing, steps)
    found, wanted = measured(sampler, oracle(schedule), parameterization, path), published(sampler, path)
    for name, here, there in zip(Affine._fields, found, wanted, strict=True):
        assert error(here, there) < precision(schedule), name


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_thousand_steps_give_the_mean_and_variance_of_the_data(sampler: str, schedule: str) -> None:
    path = levels(schedule, "uniform", LONG)
    mean, var = published(sampler, path).moments(*law(path[0]))
    assert mean == pytest.approx(MEAN, abs=1e-9)
    assert math.sqrt(var) == pytest.approx(STD, abs=0.005)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_error_is_of_first_order_in_the_stride(sampler: str) -> None:
    def miss(steps: int) -> float:
        path = tuple(grid_levels(VP(), Uniform(), steps))[:-1]  # the move onto clean data is the same for all
        mean, var = published(sampler, path).moments(*law(path[0]))
        wanted_mean, wanted_var = law(path[-1])
        return abs(mean - wanted_mean) + abs(math.sqrt(var) - math.sqrt(wanted_var))

    errors = [miss(steps + 1) for steps in (250, 500, 1000)]
    assert 1.8 < errors[0] / errors[1] < 2.2
    assert 1.8 < errors[1] / errors[2] < 2.2


@pytest.mark.parametrize("steps", [n for n in STEPS if n < LONG])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_many_samples_have_the_mean_and_variance_that_theory_gives(sampler: str, schedule: str, steps: int) -> None:
    n = 20_000
    path = levels(schedule, "trailing", steps)
    found = run(network(oracle(schedule), "v"), sampler, normal(1, n), path, seed=1)[-1]
    mean, var = published(sampler, path).moments(0.0, 1.0)
    assert found.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(var / n))
    assert found.var().item() == pytest.approx(var, abs=4 * var * math.sqrt(2 / n))


@pytest.mark.parametrize("schedule", ["linear", "cosine", "vp"])
def test_ddim_follows_the_probability_flow(schedule: str) -> None:
    """The exact flow between Gaussians is affine: it carries quantile to quantile."""
    path = levels(schedule, "uniform", LONG)
    start_mean, start_var = law(path[0])
    low, high = run(network(oracle(schedule), "eps"), "ddim", column(0, 1), path)[-1].flatten().tolist()
    slope = STD / math.sqrt(start_var)
    assert high - low == pytest.approx(slope, abs=0.003)
    assert low == pytest.approx(MEAN - slope * start_mean, abs=1e-3)
