"""The order of convergence of each solver is measured, and is the one that its facts say."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from matrix import DETERMINISTIC, SAMPLERS, SOLVERS, STOCHASTIC, Impulses, error
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import EDM, VP, Flow, Schedule
from sfumato.oracle import GaussianDenoiser, MixtureDenoiser
from sfumato.sample import Euler, Heun, Sampler
from sfumato.sample.unipc import UniPCState as Corrected

SCHEDULES: dict[str, Schedule] = {"vp": VP(), "edm": EDM(), "flow": Flow()}
WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
MEANS = torch.tensor([-0.8, 0.9], dtype=torch.float64)
STDS = torch.tensor([0.6, 0.5], dtype=torch.float64)
STARTS = torch.tensor([-1.5, -0.5, 0.0, 0.4, 1.2], dtype=torch.float64)[:, None]
MEAN, STD = 0.6, 0.5


def path(schedule: str, steps: int, even: bool, high: float = 2.0, low: float = 0.5) -> list[Level]:
    """Levels with `sigma/alpha` from high to low: in even strides, or in strides of five sizes and more."""
    rho = 1.0 if even else 5.0
    noise = torch.linspace(high ** (1 / rho), low ** (1 / rho), steps + 1, dtype=torch.float64) ** rho
    levels = SCHEDULES[schedule](SCHEDULES[schedule].inverse(-2 * noise.log()))
    return [Level(*fields) for fields in zip(*(field.split(1) for field in levels), strict=True)]


def share_below(x: Tensor, level: Level) -> Tensor:
    """The distribution function of x_t, where data is the mixture."""
    std = ((level.alpha * STDS) ** 2 + level.sigma**2).sqrt()
    return (WEIGHTS * torch.special.ndtr((x - level.alpha * MEANS) / std)).sum(1, keepdim=True)


def flow(x: Tensor, here: Level, there: Level) -> Tensor:
    """The exact flow: in one dimension it keeps each sample's quantile. By bisection, [b, 1]."""
    share = share_below(x, here)
    low, high = torch.full_like(x, -20), torch.full_like(x, 20)
    for _ in range(60):
        middle = (low + high) / 2
        is_low = share_below(middle, there) < share
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    return (low + high) / 2


def variance_error(sampler: Sampler[Any], schedule: str, levels: Sequence[Level], exact: int) -> float:
    """How far from the exact flow samples end whose first steps, `exact` of them, were the flow's."""
    oracle = MixtureDenoiser(SCHEDULES[schedule], WEIGHTS, MEANS[:, None], STDS)
    first = levels[0]
    x = start = STARTS * (first.alpha**2 + first.sigma**2).sqrt()
    state = sampler.init(x, levels)
    for n, (now, then) in enumerate(pairwise(levels)):
        before = x
        x, state = sampler.step(oracle, x, now, then, state, Noise([]))
        if n < exact:
            x = flow(start, first, then)
            if isinstance(state, Corrected):  # the corrector starts again from where the samples stood before
                state = state._replace(x=before)
    return error(x, flow(start, first, levels[-1]))


def order(miss: Callable[[int], float], steps: int) -> float:
    """`log2` of what twice the steps divide the error by."""
    return math.log2(miss(steps) / miss(2 * steps))


def spread(sampler: Sampler[Any], schedule: str, levels: Sequence[Level]) -> float:
    """How far from the truth the variance of Gaussian data is after a trajectory that began with the true one.

    The trajectory is one affine map of its beginning and of the noise in each draw, so its distribution is known
    without drawing.
    """
    oracle = GaussianDenoiser(SCHEDULES[schedule], *torch.tensor([[MEAN], [STD]], dtype=torch.float64))
    (_, first_var), (last_mean, last_var) = law(levels[0]), law(levels[-1])
    x = torch.zeros(len(levels) + 1, 1, dtype=torch.float64) + law(levels[0])[0]
    x[1] += 1
    state, noise = sampler.init(x, levels), Impulses()
    for now, then in pairwise(levels):
        x, state = sampler.step(oracle, x, now, then, state, noise)
    assert noise.drawn == len(levels) - 1
    assert abs(x[0].item() - last_mean) < 1e-12  # of a Gaussian, the mean is exact at any stride
    return abs((x[1] - x[0]).item() ** 2 * first_var + (x[2:] - x[0]).square().sum().item() - last_var)


def law(level: Level) -> tuple[float, float]:
    """Mean and variance of x_t, where data is the Gaussian."""
    return level.alpha.item() * MEAN, (level.alpha**2 * STD**2 + level.sigma**2).item()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_a_solver_is_of_its_order(sampler: str, schedule: str) -> None:
    """From an exact start: the first steps of those that remember others are of lower order."""
    even = sampler.startswith(("ipndm", "plms"))

    def miss(steps: int) -> float:
        return variance_error(SAMPLERS[sampler], schedule, path(schedule, steps, even), exact=4)

    assert order(miss, 96 if even else 48) == pytest.approx(SOLVERS[sampler].order, abs=0.15)


@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_a_cold_start_may_lower_the_order(sampler: str) -> None:
    """The first steps show where the rest of the trajectory is short."""
    facts = SOLVERS[sampler]

    def miss(steps: int) -> float:
        return variance_error(SAMPLERS[sampler], "vp", path("vp", steps, even=True, high=0.6, low=0.4), exact=0)

    assert order(miss, 24) == pytest.approx(facts.order if facts.cold is None else facts.cold, abs=0.15)


@pytest.mark.parametrize("sampler", ["ipndm,order=2", "ipndm,order=3", "ipndm", "plms"])
def test_ipndm_is_of_second_order_where_strides_are_uneven(sampler: str) -> None:
    def miss(steps: int) -> float:
        return variance_error(SAMPLERS[sampler], "vp", path("vp", steps, even=False), exact=4)

    assert order(miss, 48) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_the_law_of_a_stochastic_solver_is_of_its_order(sampler: str, schedule: str) -> None:
    def miss(steps: int) -> float:
        return spread(SAMPLERS[sampler], schedule, path(schedule, steps, even=False, high=1.2, low=0.8))

    assert order(miss, 32) == pytest.approx(SOLVERS[sampler].order, abs=0.15)


@pytest.mark.parametrize(("sampler", "wanted"), [(Euler, 1), (Heun, 2)])
def test_churn_keeps_the_order_if_it_falls_as_the_steps_rise(sampler: type[Euler] | type[Heun], wanted: int) -> None:
    """EDM's `churn = S_churn/N`: noise raised is noise that the exact flow takes away again."""

    def miss(steps: int) -> float:
        return spread(sampler(churn=5 / steps), "vp", path("vp", steps, even=False))

    assert order(miss, 96) == pytest.approx(wanted, abs=0.15)
