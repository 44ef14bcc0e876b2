"""Gaussian data: every step is affine, so the law of the samples is known exactly, and tends to that of the data."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from matrix import (
    DETERMINISTIC,
    LONG,
    SAMPLERS,
    SCHEDULES,
    SHORT,
    SOLVERS,
    STOCHASTIC,
    Given,
    Impulses,
    Row,
    begin,
    dense,
    each_pair,
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

from sfumato.core.level import Level
from sfumato.oracle import GaussianDenoiser
from sfumato.sample import DDIM, Ancestral, DPMSolver, DPMSolverS, Euler, Heun

MEAN, STD = 0.6, 0.5
ONE_STEP = tuple(
    name
    for name, rule in SAMPLERS.items()
    if isinstance(rule, Ancestral | DDIM | Euler | Heun | DPMSolverS)
    or (isinstance(rule, DPMSolver) and rule.order == 1)
)
"""The samplers that remember nothing, so that each step is a map of its own."""


class Affine(NamedTuple):
    """`x_s = gain·x_t + offset + std·noise`, one for each step: [steps]."""

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


def published(sampler: str, schedule: str, path: Sequence[Level]) -> Affine:
    """The steps as the papers write them; DDPM's for any stride, as in arXiv:2102.09672, section 4."""
    places = stack(path)
    t, s = (Level(*(field[part] for field in places)) for part in (slice(None, -1), slice(1, None)))
    beta = t.sigma**2 - (t.alpha / s.alpha) ** 2 * s.sigma**2
    small = beta * (s.sigma / t.sigma) ** 2
    zero = torch.zeros_like(beta)
    mean: Callable[[Tensor], Tensor]
    match SAMPLERS[sampler]:
        case Ancestral(variance):
            var = small if variance == "small" else torch.where(s.sigma > 0, beta, 0.0)
            of_x_0, of_x_t = s.alpha * beta / t.sigma**2, t.alpha / s.alpha * (s.sigma / t.sigma) ** 2
            mean = lambda x: of_x_0 * x_0(x, t) + of_x_t * x  # noqa: E731
        case DDIM(eta):
            var = eta**2 * small
            mean = lambda x: s.alpha * x_0(x, t) + (s.sigma**2 - var).sqrt() * eps(x, t)  # noqa: E731
        case Euler():
            var, mean = zero, lambda x: euler(x, t, s)
        case Heun(along="sigma"):
            var, mean = zero, lambda x: heun(x, t, s)
        case Heun():
            var, mean = zero, lambda x: heun_of_the_flow(x, t, s)
        case DPMSolver(_, eta):
            fresh = -torch.expm1(-2 * eta * half_logsnr_gap(t, s)) if eta else zero
            var = s.sigma**2 * fresh
            mean = lambda x: dpm_1(x, t, s, eta)  # noqa: E731
        case DPMSolverS(eta):
            var = eta**2 * small
            mean = lambda x: dpm_2s(x, t, s._replace(sigma=(s.sigma**2 - var).sqrt()), schedule)  # noqa: E731
        case other:
            raise TypeError(f"{other} is not known by its steps")
    at_0, at_1 = mean(zero), mean(zero + 1)
    return Affine(at_1 - at_0, at_0, var.sqrt())


def x_0(x: Tensor, level: Level) -> Tensor:
    """`E[x_0 | x_t]`."""
    return MEAN + level.alpha * STD**2 * (x - level.alpha * MEAN) / (level.alpha**2 * STD**2 + level.sigma**2)


def eps(x: Tensor, level: Level) -> Tensor:
    return (x - level.alpha * x_0(x, level)) / level.sigma


def euler(x: Tensor, t: Level, s: Level) -> Tensor:
    """Along eps (EDM, algorithm 1, line 4), or, from pure noise, where the same is `x_0` and eps as they stand."""
    y = x / t.alpha + (s.sigma / s.alpha - t.sigma / t.alpha) * eps(x, t)
    return torch.where(t.alpha > 0, s.alpha * y, s.alpha * x_0(x, t) + s.sigma * eps(x, t))


def heun(x: Tensor, t: Level, s: Level) -> Tensor:
    """EDM, algorithm 1, for `x/alpha`."""
    there = eps(euler(x, t, s), s)
    y = x / t.alpha + (s.sigma / s.alpha - t.sigma / t.alpha) * (eps(x, t) + there) / 2
    return torch.where(s.sigma > 0, s.alpha * y, euler(x, t, s))


def heun_of_the_flow(x: Tensor, t: Level, s: Level) -> Tensor:
    """Heun's method for `d(x/(alpha + sigma)) = (eps − x_0)·dτ`, `τ = sigma/(alpha + sigma)`: rectified flow's time."""
    whole_t, whole_s = t.alpha + t.sigma, s.alpha + s.sigma
    stride = s.sigma / whole_s - t.sigma / whole_t

    def velocity(x: Tensor, level: Level) -> Tensor:
        return eps(x, level) - x_0(x, level)

    moved = whole_s * (x / whole_t + stride * velocity(x, t))
    mean = (velocity(x, t) + velocity(moved, s)) / 2
    return torch.where(s.sigma > 0, whole_s * (x / whole_t + stride * mean), moved)


def half_logsnr_gap(t: Level, s: Level) -> Tensor:
    """The h of DPM-Solver."""
    return torch.log(s.alpha / s.sigma) - torch.log(t.alpha / t.sigma)


def dpm_1(x: Tensor, t: Level, s: Level, eta: float) -> Tensor:
    """DPM-Solver++, arXiv:2211.01095: the mean of eq. 9 at first order, and of its SDE, eq. 18."""
    h = half_logsnr_gap(t, s)
    return s.sigma / t.sigma * (torch.exp(-h) if eta else 1) * x + s.alpha * (1 - torch.exp(-(1 + eta) * h)) * x_0(x, t)


def dpm_2s(x: Tensor, t: Level, s: Level, schedule: str) -> Tensor:
    """DPM-Solver++, algorithm 1, its middle where the schedule has it."""
    h = half_logsnr_gap(t, s)
    bounded = h.isfinite()
    middle = SCHEDULES[schedule].inverse(torch.where(bounded, 2 * torch.log(t.alpha / t.sigma) + h, 0.0))
    m = SCHEDULES[schedule](middle)
    r = half_logsnr_gap(t, m) / h
    further = x_0(dpm_1(x, t, m, 0.0), m)
    believed = (1 - 1 / (2 * r)) * x_0(x, t) + 1 / (2 * r) * further
    moved = s.sigma / t.sigma * x - s.alpha * torch.expm1(-h) * believed
    return torch.where(bounded, moved, dpm_1(x, t, s, 0.0))


def measured(sampler: str, oracle: GaussianDenoiser, parameterization: str, path: tuple[Level, ...]) -> Affine:
    """What the sampler does in each step to the samples 0 and 1, and to a noise of 1: all steps in one batch."""
    n = len(path) - 1
    now, then = (stack(part * 3) for part in (path[:-1], path[1:]))
    x, noise = (column(*numbers).repeat_interleave(n, dim=0) for numbers in ((0, 1, 0), (0, 0, 1)))
    rule = SAMPLERS[sampler]
    denoiser = network(oracle, parameterization)
    with torch.no_grad():
        moved, _ = rule.step(denoiser, x, now, then, rule.init(x, [now, then]), Given(noise))
    at_0, at_1, noised = moved[:, 0].chunk(3)
    return Affine(at_1 - at_0, at_0, noised - at_0)


def of_a_trajectory(sampler: str, schedule: str, path: Sequence[Level]) -> Affine:
    """A whole trajectory as one affine map, [1]: where the samples 0 and 1 end, and a noise of 1 in each draw by
    itself."""
    x = torch.zeros(len(path) + 1, 1, dtype=torch.float64)
    x[1] = 1
    rule, noise = SAMPLERS[sampler], Impulses()
    state = rule.init(x, path)
    for now, then in pairwise(path):
        x, state = rule.step(oracle(schedule), x, now, then, state, noise)
    return Affine(x[1] - x[0], x[0], (x[2:] - x[0]).square().sum(0).sqrt())


@cache
def oracle(schedule: str) -> GaussianDenoiser:
    return GaussianDenoiser(SCHEDULES[schedule], *torch.tensor([[MEAN], [STD]], dtype=torch.float64))


def law(level: Level) -> tuple[float, float]:
    """Mean and variance of x_t."""
    return level.alpha.item() * MEAN, (level.alpha**2 * STD**2 + level.sigma**2).item()


@each_row(ONE_STEP)
def test_each_step_is_the_published_one(sampler: str, schedule: str, rows: list[Row]) -> None:
    for row in rows:
        path = levels(schedule, row.spacing, row.steps)
        found = measured(sampler, oracle(schedule), row.parameterization, path)
        for name, here, there in zip(Affine._fields, found, published(sampler, schedule, path), strict=True):
            size = max(there.abs().max().item(), 1)
            assert error(here, there) < precision(schedule) * size, (name, row)


@each_pair(ONE_STEP, one_in=3)
def test_a_trajectory_is_its_steps_one_after_the_other(sampler: str, schedule: str) -> None:
    path = levels(schedule, "trailing", 7)
    gain, offset, std = (field.item() for field in of_a_trajectory(sampler, schedule, path))
    mean, var = published(sampler, schedule, path).moments(2.0, 3.0)
    assert gain * 2 + offset == pytest.approx(mean, abs=1e-9)
    assert gain**2 * 3 + std**2 == pytest.approx(var, abs=1e-9)


@each_pair(ONE_STEP)
def test_a_thousand_steps_give_the_mean_and_variance_of_the_data(sampler: str, schedule: str) -> None:
    path = dense(schedule, LONG)
    mean, var = published(sampler, schedule, path).moments(*law(path[0]))
    assert mean == pytest.approx(MEAN, abs=1e-9)
    assert math.sqrt(var) == pytest.approx(STD, abs=0.005)


@each_pair(one_in=3)
def test_a_few_steps_give_about_the_mean_and_variance_of_the_data(sampler: str, schedule: str) -> None:
    path = dense(schedule, 40)
    gain, offset, std = (field.item() for field in of_a_trajectory(sampler, schedule, path))
    mean, var = law(path[0])
    assert gain * mean + offset == pytest.approx(MEAN, abs=1e-9)
    bound = 0.1 if SOLVERS[sampler].order == 1 else 0.03
    assert math.sqrt(gain**2 * var + std**2) == pytest.approx(STD, abs=bound)


@each_pair(DETERMINISTIC, one_in=3)
def test_without_noise_a_trajectory_follows_the_probability_flow(sampler: str, schedule: str) -> None:
    """The exact flow between Gaussians is affine: it carries quantile to quantile."""
    path = dense(schedule, 40)
    gain, offset, std = (field.item() for field in of_a_trajectory(sampler, schedule, path))
    start_mean, start_var = law(path[0])
    slope = STD / math.sqrt(start_var)
    assert std == 0
    assert gain == pytest.approx(slope, rel=0.1 if SOLVERS[sampler].order == 1 else 0.04)
    assert offset + gain * start_mean == pytest.approx(MEAN, abs=1e-9)


@each_pair(STOCHASTIC)
def test_many_samples_have_the_mean_and_variance_that_theory_gives(sampler: str, schedule: str) -> None:
    n = 20_000
    path = levels(schedule, "trailing", SHORT[0])
    found = run(network(oracle(schedule), "v"), sampler, begin(path[0], normal(1, n)), path, seed=1)[-1]
    gain, offset, std = (field.item() for field in of_a_trajectory(sampler, schedule, path))
    var = begin(path[0], torch.full((1, 1), gain, dtype=torch.float64)).item() ** 2 + std**2
    assert found.mean().item() == pytest.approx(offset, abs=4 * math.sqrt(var / n))
    assert found.var().item() == pytest.approx(var, abs=4 * var * math.sqrt(2 / n))
