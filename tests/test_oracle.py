"""The closed forms against integrals done by brute force, and against the gradient of the exact log density."""

import pytest
import torch
from torch import Tensor

from sfumato.core.level import Level, like
from sfumato.core.schedule import EDM, VE, VP, Cosine, Flow, Linear, Schedule, SubVP, ZeroTerminal
from sfumato.denoise import DenoiserLike
from sfumato.oracle import GaussianDenoiser, MixtureDenoiser, finite

SCHEDULES: list[Schedule] = [
    Linear(),
    Cosine(),
    VP(),
    SubVP(),
    VE(),
    VE(T=20, growth="linear"),
    EDM(),
    Flow(),
    Flow(shift=3.0),
    ZeroTerminal(Linear()),
]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)

WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MEANS = torch.tensor([[-2.0], [0.3], [1.5]], dtype=torch.float64)
STDS = torch.tensor([0.4, 0.2, 0.7], dtype=torch.float64)


def places(schedule: Schedule) -> tuple[Tensor, Level]:
    """Samples of one element, [b, 1], from far left to far right, at levels from little noise to all."""
    parts = torch.linspace(0.02, 1, 9, dtype=torch.float64).repeat_interleave(7)
    t = schedule.first + parts * (schedule.last - schedule.first)
    return torch.linspace(-4, 4, 7, dtype=torch.float64).repeat(9)[:, None], schedule(t.round() if schedule.T else t)


def normal(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return torch.exp(-((x - mean) ** 2) / (2 * var)) / (2 * torch.pi * var).sqrt()


def quadrature(x_t: Tensor, level: Level) -> Tensor:
    """`∫ x_0 p(x_0) p(x_t | x_0) dx_0 / ∫ p(x_0) p(x_t | x_0) dx_0` for the mixture, by the trapezium rule."""
    x_0 = torch.linspace(-9, 9, 40_001, dtype=torch.float64)
    prior = (WEIGHTS[:, None] * normal(x_0, MEANS, STDS[:, None] ** 2)).sum(0)
    gap = (x_t - like(level.alpha, x_t) * x_0) ** 2 / (2 * like(level.sigma, x_t) ** 2)  # [b, n]
    joint = prior * torch.exp(gap.min(1, keepdim=True).values - gap)
    return ((joint * x_0).sum(1) / joint.sum(1))[:, None]


@each
def test_a_mixture_agrees_with_the_integral(schedule: Schedule) -> None:
    x_t, level = places(schedule)
    x0 = MixtureDenoiser(schedule, WEIGHTS, MEANS, STDS)(x_t, level).x0
    assert (x0 - quadrature(x_t, level)).abs().max() < 1e-9


@each
def test_a_gaussian_is_a_mixture_of_one(schedule: Schedule) -> None:
    x_t, level = places(schedule)
    mean, std = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    one = MixtureDenoiser(schedule, torch.ones(1, dtype=torch.float64), mean[None], std)
    assert (GaussianDenoiser(schedule, mean, std)(x_t, level).x0 - one(x_t, level).x0).abs().max() < 1e-12


@each
def test_a_gaussian_has_its_elements_each_by_itself(schedule: Schedule) -> None:
    x_t, level = places(schedule)
    mean = torch.tensor([[0.7, -1.0], [0.0, 2.0]], dtype=torch.float64)
    std = torch.tensor([[0.4, 2.0], [0.1, 0.0]], dtype=torch.float64)
    whole = GaussianDenoiser(schedule, mean, std)(x_t[:, :, None].expand(-1, 2, 2), level).x0
    for i, j in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        alone = GaussianDenoiser(schedule, mean[i, j].reshape(1), std[i, j].reshape(1))(x_t, level).x0
        assert torch.equal(whole[:, i, j], alone[:, 0])


@each
def test_a_finite_set_is_the_weighted_mean_of_its_points(schedule: Schedule) -> None:
    points = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.5]], [[0.2, 0.1]], [[0.25, 0.1]]], dtype=torch.float64)
    x, level = places(schedule)
    x_t = torch.stack([x, -0.3 * x], dim=2)  # [b, 1, 2]
    x0 = finite(schedule, points)(x_t, level).x0
    for i, (alpha, sigma) in enumerate(zip(level.alpha.tolist(), level.sigma.tolist(), strict=True)):
        distances = [((x_t[i] - alpha * point) ** 2).sum().item() for point in points]
        weights = [torch.tensor((min(distances) - d) / (2 * sigma**2)).exp().item() for d in distances]
        wanted = sum(weight * point for weight, point in zip(weights, points, strict=True)) / sum(weights)
        assert (x0[i] - wanted).abs().max() < 1e-6


def exact_score(x_t: Tensor, level: Level, weights: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    """The gradient of the exact log density of x_t, [b, d], by automatic differentiation."""
    x = x_t.clone().requires_grad_()
    alpha, sigma = like(level.alpha, x), like(level.sigma, x)
    var = (alpha**2 * stds**2 + sigma**2)[:, :, None]  # [b, k, 1]
    gap = (x[:, None] - alpha[:, None] * means) ** 2
    log_each = weights.log() - (gap / (2 * var) + (2 * torch.pi * var).log() / 2).sum(2)
    (score,) = torch.autograd.grad(log_each.logsumexp(1).sum(), x)
    return score


@each
@pytest.mark.parametrize("d", [1, 3])
def test_every_score_is_the_gradient_of_the_log_density(schedule: Schedule, d: int) -> None:
    x, level = places(schedule)
    slopes = torch.tensor([1.0, -0.4, 0.2], dtype=torch.float64)[:d]
    x_t, means = x * slopes, MEANS * slopes
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    cases: list[tuple[DenoiserLike, tuple[Tensor, Tensor, Tensor]]] = [
        (MixtureDenoiser(schedule, WEIGHTS, means, STDS), (WEIGHTS, means, STDS)),
        (finite(schedule, means), (torch.full((3,), 1 / 3, dtype=torch.float64), means, none)),
        (GaussianDenoiser(schedule, means[0], STDS[0].expand(d)), (one, means[:1], STDS[:1])),
    ]
    for oracle, distribution in cases:
        found, wanted = oracle(x_t, level).score, exact_score(x_t, level, *distribution)
        assert ((found - wanted) / wanted.abs().clamp(min=1)).abs().max() < 1e-8


def test_a_component_without_weight_counts_for_nothing() -> None:
    x_t, level = places(Linear())
    weights = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    alone = GaussianDenoiser(Linear(), MEANS[0], STDS[:1])(x_t, level).x0
    assert (MixtureDenoiser(Linear(), weights, MEANS, STDS)(x_t, level).x0 - alone).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_come_in_the_type_of_the_samples(dtype: torch.dtype) -> None:
    x_t, level = places(Cosine())
    for oracle in (GaussianDenoiser(Cosine(), MEANS[0], STDS[:1]), MixtureDenoiser(Cosine(), WEIGHTS, MEANS, STDS)):
        estimate = oracle(x_t.to(dtype), level)
        assert estimate.x0.dtype == dtype and estimate.x0.isfinite().all()
