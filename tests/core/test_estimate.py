"""One prediction: a learned variance between its bounds, and the estimate of some of the samples."""

import math

import pytest
import torch
from torch import Tensor, nn

from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal, posterior_variance, step_variance
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.parameterization import EpsPrediction
from sfumato.core.schedule import EDM, VE, VP, Cosine, Flow, Linear, Schedule, SubVP, ZeroTerminal
from sfumato.denoise import Denoiser
from sfumato.errors import InputError
from sfumato.sample import Ancestral

SCHEDULES: list[Schedule] = [
    Linear(),
    Cosine(),
    VP(),
    SubVP(),
    VE(),
    EDM(),
    Flow(),
    ZeroTerminal(Linear()),
]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def steps(schedule: Schedule) -> tuple[Level, Level]:
    """Three steps: from the middle, from the end, and onto the first time."""
    shares = torch.tensor([[0.2, 0.7, 0.0], [0.5, 1.0, 0.01]], dtype=torch.float64)
    times = schedule.first + shares * (schedule.last - schedule.first)
    s, t = times.round() if schedule.T is not None else times
    return schedule(s), schedule(t)


def estimate(level: Level, variance_fraction: float | Tensor | None) -> Estimate:
    x_t = normal(len(level.t), 2, 3)
    if isinstance(variance_fraction, float):
        variance_fraction = torch.full_like(x_t, variance_fraction)
    return Estimate(x_t, level, normal(len(level.t), 2, 3, seed=1), variance_fraction)


@each
@pytest.mark.parametrize(("variance_fraction", "named"), [(0.0, "small"), (1.0, "large")])
def test_at_either_end_a_learned_variance_is_one_of_the_two(
    schedule: Schedule, variance_fraction: float, named: str
) -> None:
    s, t = steps(schedule)
    learned, fixed = estimate(t, variance_fraction).reverse(s, "learned"), estimate(t, None).reverse(s, named)
    assert learned.var.shape == learned.mean.shape
    torch.testing.assert_close(learned.var, fixed.var[:, None, None].expand(-1, 2, 3), rtol=1e-12, atol=0)
    assert torch.equal(learned.mean, fixed.mean)


@each
def test_between_the_ends_it_is_the_weighted_mean_of_the_logarithms(schedule: Schedule) -> None:
    s, t = steps(schedule)
    variance_fraction = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = estimate(t, variance_fraction).reverse(s, "learned").var
    low, high = (each(s, t)[:, None, None] for each in (posterior_variance, step_variance))
    torch.testing.assert_close(found, high**variance_fraction * low ** (1 - variance_fraction), rtol=1e-9, atol=0)
    assert ((low < found) & (found < high)).all()


@each
@pytest.mark.parametrize("variance_fraction", [0.0, 0.3, 1.0])
def test_onto_clean_data_it_is_the_large(schedule: Schedule, variance_fraction: float) -> None:
    _, t = steps(schedule)
    clean = schedule(torch.tensor([schedule.clean]))
    found = estimate(t, variance_fraction).reverse(clean, "learned")
    torch.testing.assert_close(found.var, (t.sigma**2)[:, None, None].expand(-1, 2, 3), rtol=1e-12, atol=0)
    assert found.var.isfinite().all()


def test_a_network_without_a_variance_says_so() -> None:
    s, t = steps(Linear())
    with pytest.raises(InputError, match="this network gives no variance: take variance=small or large, or train one"):
        estimate(t, None).reverse(s, "learned")


class Says(nn.Module):
    """A network that says the same of every sample: `answer`, [c, *d]."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.answer.expand(len(x), *self.answer.shape)


def test_the_second_half_of_doubled_channels_is_the_variance() -> None:
    first, second = normal(2, 3), torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    level = Linear()(torch.tensor([500]))
    x_t = normal(4, 2, 3, seed=3)
    both = Denoiser(Says(torch.cat([first, second])), Linear(), EpsPrediction())(x_t, level)
    alone = Denoiser(Says(first), Linear(), EpsPrediction())(x_t, level)
    assert torch.equal(both.x0, alone.x0) and alone.variance_fraction is None
    assert both.variance_fraction is not None and both.variance_fraction.shape == x_t.shape
    assert (both.variance_fraction[0] - torch.linspace(0, 1, 6, dtype=torch.float64).reshape(2, 3)).abs().max() < 1e-15


@pytest.mark.parametrize("v", [-1.0, -0.3, 0.0, 0.8, 1.0])
@pytest.mark.parametrize("t", [1, 2, 10, 500, 999])
def test_diffusers_has_the_same_learned_variance(t: int, v: float) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(variance_type="learned_range")
    wanted = float(scheduler._get_variance(t, predicted_variance=torch.tensor(v)))  # a logarithm, in float32
    second = torch.full((1, 1), v, dtype=torch.float64)
    denoiser = Denoiser(Says(torch.cat([torch.zeros_like(second), second])), Linear(), EpsPrediction())
    found = denoiser(normal(1, 1, 1), Linear()(torch.tensor([t]))).reverse(Linear()(torch.tensor([t - 1])), "learned")
    assert math.log(found.var.item()) == pytest.approx(wanted, abs=5e-4)


def test_diffusers_takes_the_same_step_with_a_learned_variance() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(variance_type="learned_range", clip_sample=False)
    x_t, answer = normal(1, 2, 3).float(), normal(4, 3, seed=1).float().clamp(-1, 1)
    wanted = scheduler.step(answer[None], 500, x_t, generator=torch.Generator().manual_seed(7)).prev_sample
    denoiser = Denoiser(Says(answer), Linear(), EpsPrediction())
    now, then = Linear()(torch.tensor([500])), Linear()(torch.tensor([499]))
    with torch.no_grad():
        found, _ = Ancestral("learned").step(denoiser, x_t, now, then, None, Noise([7]))
    assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("index", [torch.tensor([True, False, True]), torch.tensor([0, 2])], ids=["mask", "places"])
def test_rows_are_the_estimate_of_those_samples_alone(index: Tensor, learned: bool) -> None:
    s, t = steps(Linear())
    whole = estimate(t, normal(3, 2, 3, seed=4).sigmoid() if learned else None)
    some = whole.rows(index)
    kept = torch.tensor([0, 2])
    then = Level(*(field[kept] for field in s))
    variance = "learned" if learned else "small"
    law, wanted = some.reverse(then, variance), whole.reverse(s, variance)
    assert torch.equal(law.mean, wanted.mean[kept]) and torch.equal(law.var, wanted.var[kept])
    assert torch.equal(some.eps, whole.eps[kept]) and torch.equal(some.level.t, t.t[kept])


def test_rows_of_samples_at_one_level_have_it_each() -> None:
    level = Cosine()(torch.tensor([300]))
    x_0 = normal(3, 2)
    whole = Estimate(marginal(x_0, level).sample(normal(3, 2, seed=1)), level, x_0)
    some = whole.rows(torch.tensor([False, True, True]))
    assert some.variance_fraction is None and some.level.t.tolist() == [300, 300]
    assert torch.equal(some.score, whole.score[1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_learned_variance_comes_in_the_type_of_the_samples(dtype: torch.dtype) -> None:
    s, t = steps(Linear())
    whole = estimate(t, 0.5)
    assert whole.variance_fraction is not None
    typed = Estimate(whole.x_t.to(dtype), t, whole.x0.to(dtype), whole.variance_fraction.to(dtype))
    assert typed.reverse(s, "learned").var.dtype == dtype
