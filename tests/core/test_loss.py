"""The training objective, and at which times it is asked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.core.estimate import Estimate
from sfumato.core.process import marginal
from sfumato.core.schedule import VP, Cosine, Linear
from sfumato.loss import Simple, UniformTimes
from sfumato.oracle import Gaussian


def test_l_simple_is_the_mean_squared_error_of_the_noise_for_each_sample() -> None:
    x_0, eps, wrong = torch.randn((3, 4, 2, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = Cosine()(torch.tensor([1, 10, 500, 900]))
    x_t = marginal(x_0, level).sample(eps)
    believed = (x_t - level.sigma.reshape(4, 1, 1) * wrong) / level.alpha.reshape(4, 1, 1)
    loss = Simple()(Estimate(x_t, level, believed), eps)
    assert loss.shape == (4,)
    assert loss.tolist() == pytest.approx(((eps - wrong) ** 2).mean((1, 2)).tolist(), rel=1e-9)
    assert Simple()(Estimate(x_t, level, x_0), eps).max() < 1e-18


@pytest.mark.parametrize("t", [10, 300, 600])
def test_no_estimate_has_less_loss_than_the_posterior_mean(t: int) -> None:
    mean, std = torch.tensor([[0.3], [0.5]], dtype=torch.float64)
    level = Linear()(torch.tensor([t]))
    z, eps = torch.randn((2, 20_000, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_t = marginal(mean + std * z, level).sample(eps)
    best = Gaussian(Linear(), mean, std)(x_t, level)
    least = Simple()(best, eps).mean()
    for gain, offset in [(1.2, 0.0), (0.8, 0.0), (1.0, 0.1), (1.0, -0.1)]:
        assert Simple()(Estimate(x_t, level, gain * best.x0 + offset), eps).mean() > least


@given(u=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
def test_whole_times_are_drawn_each_as_likely(u: list[float]) -> None:
    found = UniformTimes()(Linear(T=10), torch.tensor(u, dtype=torch.float64))
    assert found.tolist() == [int(10 * share) for share in u]


def test_times_are_within_the_schedule_even_for_draws_next_to_one() -> None:
    u = torch.tensor([0.0, 0.5, 1 - 2**-24])
    assert UniformTimes()(Linear(), u).tolist() == [0, 500, 999]
    assert UniformTimes()(VP(first=0.01), u).tolist() == pytest.approx([0.01, 0.505, 1.0], abs=1e-6)
    VP()(UniformTimes()(VP(), u))
