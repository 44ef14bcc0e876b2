"""The training objective, and at which times it is asked."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.core.process import marginal
from sfumato.core.schedule import VP, Cosine, Linear
from sfumato.loss import Simple, UniformTimes
from sfumato.oracle import Gaussian

VIEWS: tuple[Literal["eps", "x0", "v"], ...] = ("eps", "x0", "v")


def drawn() -> tuple[Tensor, Tensor, Estimate, Level]:
    """x_0, eps, and an estimate that is wrong of both, at four levels."""
    x_0, eps, wrong = torch.randn((3, 4, 2, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = Cosine()(torch.tensor([1, 10, 500, 900]))
    x_t = marginal(x_0, level).sample(eps)
    return x_0, eps, Estimate(x_t, level, (x_t - like(level.sigma, x_t) * wrong) / like(level.alpha, x_t)), level


def test_l_simple_is_the_mean_squared_error_of_the_noise_for_each_sample() -> None:
    x_0, eps, estimate, _ = drawn()
    loss = Simple()(estimate, x_0, eps)
    assert loss.shape == (4,)
    assert loss.tolist() == pytest.approx(((eps - estimate.eps) ** 2).mean((1, 2)).tolist(), rel=1e-12)


@pytest.mark.parametrize("view", VIEWS)
def test_the_truth_has_no_loss_in_any_view(view: Literal["eps", "x0", "v"]) -> None:
    x_0, eps, estimate, level = drawn()
    truth = Estimate(estimate.x_t, level, x_0)
    assert Simple(view)(truth, x_0, eps).max() < 1e-18
    assert Simple(view)(estimate, x_0, eps).min() > 1e-6


def test_other_views_are_weights_on_l_simple() -> None:
    x_0, eps, estimate, level = drawn()
    in_eps, in_x0, in_v = (Simple(view)(estimate, x_0, eps) for view in VIEWS)
    torch.testing.assert_close(in_x0, in_eps * level.sigma**2 / level.alpha**2, rtol=1e-9, atol=0)
    torch.testing.assert_close(in_v, in_eps / level.alpha**2, rtol=1e-9, atol=0)


@pytest.mark.parametrize("t", [10, 300, 600])
def test_no_estimate_has_less_loss_than_the_posterior_mean(t: int) -> None:
    mean, std = torch.tensor([[0.3], [0.5]], dtype=torch.float64)
    level = Linear()(torch.tensor([t]))
    z, eps = torch.randn((2, 20_000, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_t = marginal(mean + std * z, level).sample(eps)
    x_0 = mean + std * z
    best = Gaussian(Linear(), mean, std)(x_t, level)
    least = Simple()(best, x_0, eps).mean()
    for gain, offset in [(1.2, 0.0), (0.8, 0.0), (1.0, 0.1), (1.0, -0.1)]:
        assert Simple()(Estimate(x_t, level, gain * best.x0 + offset), x_0, eps).mean() > least


def test_another_view_is_a_weight_on_l_simple() -> None:
    x_0, eps, believed = torch.randn((3, 4, 2, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = Cosine()(torch.tensor([1, 10, 500, 900]))
    estimate = Estimate(marginal(x_0, level).sample(eps), level, believed)
    simple = Simple()(estimate, x_0, eps)
    for view, weight in (("x0", (level.sigma / level.alpha) ** 2), ("v", level.alpha**-2)):
        assert Simple(view)(estimate, x_0, eps).tolist() == pytest.approx((weight * simple).tolist(), rel=1e-9)


@given(u=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
def test_whole_times_are_drawn_each_as_likely(u: list[float]) -> None:
    found = UniformTimes()(Linear(T=10), torch.tensor(u, dtype=torch.float64))
    assert found.tolist() == [int(10 * share) for share in u]


def test_times_are_within_the_schedule_even_for_draws_next_to_one() -> None:
    u = torch.tensor([0.0, 0.5, 1 - 2**-24])
    assert UniformTimes()(Linear(), u).tolist() == [0, 500, 999]
    assert UniformTimes()(VP(first=0.01), u).tolist() == pytest.approx([0.01, 0.505, 1.0], abs=1e-6)
    VP()(UniformTimes()(VP(), u))
