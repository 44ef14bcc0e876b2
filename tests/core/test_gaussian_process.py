"""The forward process: Bayes' rule, the Markov property, the published formulas, and precision where it is lost."""

import math
from collections.abc import Sequence
from itertools import pairwise

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfumato.core.gaussian import (
    Normal,
    marginal,
    posterior,
    posterior_variance,
    posterior_weights,
    step_variance,
    transition,
)
from sfumato.core.level import Level, like
from sfumato.core.schedule import (
    EDM,
    VE,
    VP,
    Cosine,
    Flow,
    Linear,
    Quadratic,
    ScaledLinear,
    Schedule,
    Sigmoid,
    SubVP,
    Table,
    ZeroTerminal,
)

TABLES: list[Table] = [Linear(), ScaledLinear(), Quadratic(), Cosine(), Sigmoid()]
OTHERS: list[Schedule] = [VP(), SubVP(), VE(), VE(T=100), VE(growth="linear"), EDM(), Flow(), ZeroTerminal(Linear())]
each = pytest.mark.parametrize("schedule", [*TABLES, *OTHERS], ids=repr)
each_table = pytest.mark.parametrize("schedule", TABLES, ids=repr)


def at(schedule: Schedule, *times: float) -> list[Level]:
    return [schedule(torch.tensor([t], dtype=torch.float64)) for t in times]


def log_density(x: Tensor, law: Normal) -> Tensor:
    """[b]."""
    var = like(law.var, x)
    return (-((x - law.mean) ** 2) / (2 * var) - (2 * math.pi * var).log() / 2).flatten(1).sum(1)


def draws(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def composed(path: Sequence[Level], x: Tensor) -> Normal:
    """The law at the end of a path of Markov steps from x, one after the other."""
    law = Normal(x, torch.zeros(1, dtype=torch.float64))
    for s, t in pairwise(path):
        step = transition(law.mean, s, t)
        law = Normal(step.mean, (t.alpha / s.alpha) ** 2 * law.var + step.var)
    return law


@each_table
@pytest.mark.parametrize("t", [0, 1, 10, 999])
def test_one_markov_step_composed_is_the_marginal(schedule: Table, t: int) -> None:
    path = at(schedule, *range(-1, t + 1))
    x_0 = draws(2, 3)
    law, wanted = composed(path, x_0), marginal(x_0, path[-1])
    assert (law.mean - wanted.mean).abs().max() < 1e-12
    assert law.var.item() == pytest.approx(wanted.var.item(), rel=1e-11)


@each
@given(parts=st.lists(st.floats(0, 1), min_size=1, max_size=8, unique=True))
def test_any_trajectory_from_the_data_ends_in_the_marginal(schedule: Schedule, parts: list[float]) -> None:
    times = sorted({schedule.first + part * (schedule.last - schedule.first) for part in parts})
    path = at(schedule, schedule.clean, *times)
    x_0 = draws(2, 3)
    law, wanted = composed(path, x_0), marginal(x_0, path[-1])
    assert (law.mean - wanted.mean).abs().max() < 1e-12
    assert law.var.item() == pytest.approx(wanted.var.item(), rel=1e-11)


@each
@given(parts=st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda parts: abs(parts[0] - parts[1]) > 1e-3))
def test_posterior_times_marginal_is_the_joint(schedule: Schedule, parts: tuple[float, float]) -> None:
    s, t = at(schedule, *sorted(schedule.first + part * (schedule.last - schedule.first) for part in parts))
    x_0, to_s, to_t = draws(3, 4, 2)
    x_s = marginal(x_0, s).sample(to_s)
    x_t = transition(x_s, s, t).sample(to_t)
    backward = log_density(x_s, posterior(x_0, x_t, s, t)) + log_density(x_t, marginal(x_0, t))
    forward = log_density(x_t, transition(x_s, s, t)) + log_density(x_s, marginal(x_0, s))
    assert (backward - forward).abs().max() < 1e-10


@each_table
def test_neighbours_have_the_published_variances(schedule: Table) -> None:
    t = torch.arange(1, schedule.T)
    before, here = schedule(t - 1), schedule(t)
    betas = schedule.betas()[1:]
    bar = torch.cumprod(1 - schedule.betas(), 0)
    tilde = (1 - bar[:-1]) / (1 - bar[1:]) * betas
    torch.testing.assert_close(step_variance(before, here), betas, rtol=1e-10, atol=0)
    torch.testing.assert_close(posterior_variance(before, here), tilde, rtol=1e-10, atol=0)


@each_table
def test_neighbours_have_the_published_mean(schedule: Table) -> None:
    t = torch.arange(1, schedule.T)
    betas = schedule.betas()[1:]
    bar = torch.cumprod(1 - schedule.betas(), 0)
    of_x_0, of_x_t = posterior_weights(schedule(t - 1), schedule(t))
    torch.testing.assert_close(of_x_0, bar[:-1].sqrt() * betas / (1 - bar[1:]), rtol=1e-9, atol=0)
    torch.testing.assert_close(of_x_t, (1 - betas).sqrt() * (1 - bar[:-1]) / (1 - bar[1:]), rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", [VE(), VE(T=100), EDM()], ids=repr)
def test_exploding_noise_has_the_published_variances(schedule: Schedule) -> None:
    """`sigma_t² − sigma_s²`, and its share `sigma_s²/sigma_t²` (score SDE, arXiv:2011.13456, eq. 20 and appendix F)."""
    times = schedule.first + torch.linspace(0.2, 1, 9, dtype=torch.float64) * (schedule.last - schedule.first)
    s, t = schedule(times[:-1]), schedule(times[1:])
    rise = t.sigma**2 - s.sigma**2
    torch.testing.assert_close(step_variance(s, t), rise, rtol=1e-10, atol=0)
    torch.testing.assert_close(posterior_variance(s, t), s.sigma**2 * rise / t.sigma**2, rtol=1e-10, atol=0)
    of_x_0, of_x_t = posterior_weights(s, t)
    torch.testing.assert_close(of_x_0, rise / t.sigma**2, rtol=1e-10, atol=0)
    torch.testing.assert_close(of_x_t, s.sigma**2 / t.sigma**2, rtol=1e-10, atol=0)


@pytest.mark.parametrize("schedule", [Flow(), ZeroTerminal(Linear())], ids=repr)
def test_pure_noise_says_nothing_of_what_was_before(schedule: Schedule) -> None:
    s, noise = at(schedule, schedule.first, schedule.last)
    x_0, x_s, x_t = draws(3, 4, 2)
    law = transition(x_s, s, noise)
    assert (law.mean == 0).all() and law.var.item() == 1
    law, wanted = posterior(x_0, x_t, s, noise), marginal(x_0, s)
    assert torch.equal(law.mean, wanted.mean) and law.var.item() == pytest.approx(wanted.var.item(), rel=1e-15)
    for law in (transition(x_s, noise, noise), posterior(x_0, x_t, noise, noise)):  # one such level after another
        assert (law.mean == 0).all() and law.var.item() == 1


@each
def test_the_step_onto_clean_data_is_the_data(schedule: Schedule) -> None:
    clean, t = at(schedule, schedule.clean, schedule.last)
    x_0, x_t = draws(2, 4, 2)
    law = posterior(x_0, x_t, clean, t)
    assert torch.equal(law.mean, x_0) and law.var.item() == 0
    assert transition(x_0, clean, t).var.item() == pytest.approx(t.sigma.item() ** 2, rel=1e-14)


@each
def test_the_smaller_variance_is_the_smaller(schedule: Schedule) -> None:
    times = torch.linspace(schedule.first, schedule.last, 400, dtype=torch.float64)
    s, t = schedule(times[:-1]), schedule(times[1:])
    assert (posterior_variance(s, t) > 0).all()
    assert (posterior_variance(s, t) < step_variance(s, t)).all()


def exactly(schedule: VP, s: float, t: float) -> tuple[float, ...]:
    """Step variance, posterior variance and weights, to fifty digits."""
    with mpmath.workdps(50):
        decay = [
            mpmath.mpf(u) * schedule.beta_min + mpmath.mpf(u) ** 2 * (schedule.beta_max - schedule.beta_min) / 2
            for u in (s, t)
        ]
        bar_s, bar_t = (mpmath.exp(-d) for d in decay)
        beta = 1 - bar_t / bar_s
        small = beta * (1 - bar_s) / (1 - bar_t)
        of_x_0 = mpmath.sqrt(bar_s) * beta / (1 - bar_t)
        of_x_t = mpmath.sqrt(bar_t / bar_s) * (1 - bar_s) / (1 - bar_t)
        return float(beta), float(small), float(of_x_0), float(of_x_t)


@pytest.mark.parametrize(("s", "t"), [(1e-6, 2e-6), (1e-4, 1e-3), (1e-3, 0.5), (0.4999, 0.5), (0.99, 1.0)])
def test_nothing_is_lost_to_cancellation(s: float, t: float) -> None:
    schedule = VP(beta_max=20.0, beta_min=0.125)  # exact in binary
    before, here = at(schedule, s, t)
    found = [step_variance(before, here), posterior_variance(before, here), *posterior_weights(before, here)]
    assert [value.item() for value in found] == pytest.approx(exactly(schedule, s, t), rel=1e-10)


def test_a_law_is_sampled_by_its_mean_and_variance() -> None:
    law = Normal(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([4.0, 0.0]))
    assert law.sample(torch.ones(2, 2)).tolist() == [[3.0, 4.0], [3.0, 4.0]]


def test_samples_keep_their_type_and_may_stand_at_levels_of_their_own() -> None:
    x = torch.ones(3, 2, 2)
    level = Linear()(torch.tensor([0, 500, 999]))
    law = marginal(x, level)
    assert law.mean.dtype == torch.float32 and law.var.shape == (3,)
    torch.testing.assert_close(law.mean[:, 0, 0], level.alpha.float())
