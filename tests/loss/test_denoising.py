"""The denoising loss: that of the estimate, whatever the network predicts."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal
from sfumato.core.level import Level, like
from sfumato.core.parameterization import (
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    MeanPrediction,
    Parameterization,
    ScorePrediction,
    VPrediction,
    X0Prediction,
)
from sfumato.core.schedule import VE, VP, Cosine, Linear, Schedule
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.denoise import Denoiser
from sfumato.loss import Denoising, EDMWeight, MinSNRWeight, P2Weight, Sigma2Weight, SNRWeight, UnitWeight, Weight
from sfumato.oracle import GaussianDenoiser


def drawn() -> tuple[Tensor, Tensor, Estimate, Level]:
    """x_0, eps, and an estimate that is wrong of both, at four levels."""
    x_0, eps, wrong = torch.randn((3, 4, 2, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = Cosine()(torch.tensor([1, 10, 500, 900]))
    x_t = marginal(x_0, level).sample(eps)
    return x_0, eps, Estimate(x_t, level, (x_t - like(level.sigma, x_t) * wrong) / like(level.alpha, x_t)), level


def test_l_simple_is_the_mean_squared_error_of_the_noise_for_each_sample() -> None:
    x_0, eps, estimate, _ = drawn()
    loss = Denoising()(estimate, x_0, Cosine())
    assert loss.shape == (4,)
    assert loss.tolist() == pytest.approx(((eps - estimate.eps) ** 2).mean((1, 2)).tolist(), rel=1e-9)


@pytest.mark.parametrize(
    "weight", [UnitWeight("eps"), UnitWeight("x0"), UnitWeight("v"), MinSNRWeight(), P2Weight(), EDMWeight()], ids=repr
)
def test_the_truth_has_no_loss_by_any_weight(weight: Weight) -> None:
    x_0, _, estimate, level = drawn()
    truth = Estimate(estimate.x_t, level, x_0)
    assert Denoising(weight)(truth, x_0, Cosine()).max() < 1e-18
    assert Denoising(weight)(estimate, x_0, Cosine()).min() > 1e-6


def test_other_views_are_weights_on_l_simple() -> None:
    x_0, _, estimate, level = drawn()
    in_eps, in_x0, in_v = (Denoising(UnitWeight(view))(estimate, x_0, Cosine()) for view in ("eps", "x0", "v"))
    torch.testing.assert_close(in_x0, in_eps * level.sigma**2 / level.alpha**2, rtol=1e-9, atol=0)
    torch.testing.assert_close(in_v, in_eps / level.alpha**2, rtol=1e-9, atol=0)


@pytest.mark.parametrize("weight", [UnitWeight("eps"), MinSNRWeight(), EDMWeight()], ids=repr)
@pytest.mark.parametrize("t", [10, 300, 600])
def test_no_estimate_has_less_loss_than_the_posterior_mean(t: int, weight: Weight) -> None:
    mean, std = torch.tensor([[0.3], [0.5]], dtype=torch.float64)
    level = Linear()(torch.tensor([t]))
    z, eps = torch.randn((2, 20_000, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_0 = mean + std * z
    x_t = marginal(x_0, level).sample(eps)
    best = GaussianDenoiser(Linear(), mean, std)(x_t, level)
    loss = Denoising(weight)
    least = loss(best, x_0, Linear()).mean()
    for gain, offset in [(1.2, 0.0), (0.8, 0.0), (1.0, 0.1), (1.0, -0.1)]:
        assert loss(Estimate(x_t, level, gain * best.x0 + offset), x_0, Linear()).mean() > least


# What the network predicts makes no difference ------------------------------------------------------------------------


class Tiny(nn.Module):
    """A network of x and t with weights to learn; as a denoiser, it predicts x_0."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()

    def forward(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        share = (level.t / self.schedule.last)[:, None].expand(len(x_t), 1)
        return Estimate(x_t, level, self.inner(torch.cat([x_t, share], dim=1)))


class Says(nn.Module):
    """The raw network that makes a denoiser of `parameterization` describe the estimate of `tiny`.

    `F = (x_0 − skip·x_t)/out`; its input is scaled samples, and it knows the level.
    """

    def __init__(self, tiny: Tiny, parameterization: Parameterization, level: Level) -> None:
        super().__init__()
        self.tiny, self.parameterization, self.level = tiny, parameterization, level

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        skip, out, scale, _ = self.parameterization(self.level)
        x_t = x / like(scale, x)
        return (self.tiny(x_t, self.level).x0 - like(skip, x) * x_t) / like(out, x)


def raw(parameterization: Parameterization, x_0: Tensor, eps: Tensor, level: Level) -> Tensor:
    """What a paper would regress the network on."""
    alpha, sigma = like(level.alpha, x_0), like(level.sigma, x_0)
    match parameterization:
        case EpsPrediction():
            return eps
        case X0Prediction():
            return x_0
        case VPrediction():
            return alpha * eps - sigma * x_0
        case FlowPrediction():
            return eps - x_0
        case ScorePrediction():
            return -eps
        case EDMPreconditioning():
            skip, out, _, _ = parameterization(level)
            return (x_0 - like(skip, x_0) * (alpha * x_0 + sigma * eps)) / like(out, x_0)
    raise AssertionError(parameterization)


def gradients(loss: Tensor, tiny: Tiny) -> Tensor:
    tiny.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in tiny.parameters() if p.grad is not None])


PREDICT: list[tuple[Parameterization, Weight]] = [
    (EpsPrediction(), UnitWeight("eps")),
    (X0Prediction(), UnitWeight("x0")),
    (VPrediction(), UnitWeight("v")),
    (FlowPrediction(), UnitWeight("flow")),
    (ScorePrediction(), Sigma2Weight()),
    (EDMPreconditioning(), EDMWeight()),
]
SCHEDULES: list[Schedule] = [Cosine(), VP(), VE(), FlowSchedule(shift=3.0)]


def situation(schedule: Schedule) -> tuple[Tensor, Tensor, Tensor, Level]:
    """x_0, eps, x_t and five levels at which no weight is extreme."""
    x_0, eps = torch.randn((2, 5, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = schedule.first + torch.linspace(0.1, 0.9, 5, dtype=torch.float64) * (schedule.last - schedule.first)
    level = schedule(t.round() if schedule.T else t)
    return x_0, eps, marginal(x_0, level).sample(eps), level


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize(("parameterization", "weight"), PREDICT, ids=repr)
def test_the_loss_of_a_view_is_the_plain_error_of_the_network_that_predicts_it(
    parameterization: Parameterization, weight: Weight, schedule: Schedule
) -> None:
    """In value, and in the gradient that the weights of one and the same network get."""
    x_0, eps, x_t, level = situation(schedule)
    tiny = Tiny(schedule)
    network = Says(tiny, parameterization, level)
    _, _, scale, _ = parameterization(level)
    answer = network(like(scale, x_t) * x_t, level.t)
    published = ((answer - raw(parameterization, x_0, eps, level)) ** 2).mean(1)
    found = Denoising(weight)(Denoiser(network, schedule, parameterization)(x_t, level), x_0, schedule)
    torch.testing.assert_close(found, published, rtol=1e-9, atol=0)
    assert_alike(gradients(found.mean(), tiny), gradients(published.mean(), tiny))


def assert_alike(found: Tensor, wanted: Tensor) -> None:
    assert wanted.abs().max() > 1e-3, "there is something to compare"
    assert (found - wanted).abs().max() / wanted.abs().max() < 1e-9


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize(
    "weight",
    [UnitWeight("eps"), UnitWeight("v"), UnitWeight("flow"), SNRWeight(), MinSNRWeight(), P2Weight(), EDMWeight()],
    ids=repr,
)
def test_one_loss_has_one_gradient_whatever_the_network_predicts(weight: Weight, schedule: Schedule) -> None:
    x_0, _, x_t, level = situation(schedule)
    found = []
    for chosen in [
        *(parameterization for parameterization, _ in PREDICT),
        MeanPrediction(schedule, 1.0 if schedule.T else 0.01),
    ]:
        tiny = Tiny(schedule)
        denoiser = Denoiser(Says(tiny, chosen, level), schedule, chosen)
        found.append(gradients(Denoising(weight)(denoiser(x_t, level), x_0, schedule).mean(), tiny))
    for other in found[1:]:
        assert_alike(other, found[0])


@pytest.mark.parametrize(
    ("parameterization", "on_raw"),
    [
        (EpsPrediction(), lambda snr: snr.clamp(max=5) / snr),
        (X0Prediction(), lambda snr: snr.clamp(max=5)),
        (VPrediction(), lambda snr: snr.clamp(max=5) / (snr + 1)),
    ],
    ids=["eps", "x0", "v"],
)
def test_min_snr_has_the_gradient_of_the_published_weight_on_each_prediction(
    parameterization: Parameterization, on_raw: Any
) -> None:
    x_0, eps, x_t, level = situation(Cosine())
    tiny = Tiny(Cosine())
    network = Says(tiny, parameterization, level)
    weight = on_raw((level.alpha / level.sigma) ** 2)
    published = weight * ((network(x_t, level.t) - raw(parameterization, x_0, eps, level)) ** 2).mean(1)
    denoiser = Denoiser(network, Cosine(), parameterization)
    found = Denoising(MinSNRWeight(5.0))(denoiser(x_t, level), x_0, Cosine())
    assert_alike(gradients(found.mean(), tiny), gradients(published.mean(), tiny))
    assert weight.min() < 1 and (weight != weight[0]).any()
