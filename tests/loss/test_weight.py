"""Weights over noise levels: the published ones, in every view of the estimate."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal
from sfumato.core.level import Level, like
from sfumato.core.parameterization import (
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    Parameterization,
    ScorePrediction,
    VPrediction,
)
from sfumato.core.schedule import EDM as EDMSchedule
from sfumato.core.schedule import VE, VP, Cosine, Linear, Schedule, SubVP, ZeroTerminal
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.errors import InputError
from sfumato.loss import Denoising, EDMWeight, MinSNRWeight, P2Weight, Sigma2Weight, SNRWeight, UnitWeight, Weight
from sfumato.loss.weight import View

SCHEDULES: list[Schedule] = [
    Linear(),
    Cosine(),
    VP(),
    SubVP(),
    VE(),
    EDMSchedule(),
    FlowSchedule(),
    FlowSchedule(shift=3.0),
    ZeroTerminal(Linear()),
]
WEIGHTS: list[Weight] = [
    *(UnitWeight(view) for view in ("eps", "x0", "v", "flow", "score")),
    SNRWeight(),
    MinSNRWeight(),
    P2Weight(),
    P2Weight(gamma=0.5, k=2.0),
    Sigma2Weight(),
    EDMWeight(),
]
each = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)

SQUARED: dict[View, Callable[[Estimate], Tensor]] = {
    "eps": lambda estimate: estimate.eps,
    "x0": lambda estimate: estimate.x0,
    "v": lambda estimate: estimate.v,
    "flow": lambda estimate: estimate.flow,
    "score": lambda estimate: estimate.score,
}


def level_at(schedule: Schedule) -> Level:
    """Levels from the first on, short of pure noise."""
    t = schedule.first + torch.linspace(0, 0.95, 6, dtype=torch.float64) * (schedule.last - schedule.first)
    return schedule(t.round() if schedule.T else t)


def drawn(level: Level) -> tuple[Tensor, Estimate, Estimate]:
    """x_0, an estimate that knows it, and one that does not."""
    x_0, eps, wrong = torch.randn((3, 6, 2, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_t = marginal(x_0, level).sample(eps)
    return x_0, Estimate(x_t, level, x_0), Estimate(x_t, level, wrong)


def missed(view: View, level: Level) -> Tensor:
    """The mean squared error of the wrong estimate in a view, [b]."""
    _, truth, wrong = drawn(level)
    return ((SQUARED[view](wrong) - SQUARED[view](truth)) ** 2).mean((1, 2))


def loss(weight: Weight, level: Level, schedule: Schedule) -> Tensor:
    x_0, _, wrong = drawn(level)
    return Denoising(weight)(wrong, x_0, schedule)


@each
@pytest.mark.parametrize("view", SQUARED)
def test_unit_is_the_plain_squared_error_in_a_view(schedule: Schedule, view: View) -> None:
    level = level_at(schedule)
    torch.testing.assert_close(loss(UnitWeight(view), level, schedule), missed(view, level), rtol=1e-9, atol=0)


@each
@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_is_the_published_weight_in_every_view(schedule: Schedule, gamma: float) -> None:
    """On x_0, eps and v as in arXiv:2303.09556, section 3.4; v's where variance is preserved."""
    level = level_at(schedule)
    snr = (level.alpha / level.sigma) ** 2
    least = snr.clamp(max=gamma)
    found = loss(MinSNRWeight(gamma), level, schedule)
    torch.testing.assert_close(found, least * missed("x0", level), rtol=1e-9, atol=0)
    torch.testing.assert_close(found, least / snr * missed("eps", level), rtol=1e-9, atol=0)
    power = level.alpha**2 + level.sigma**2
    torch.testing.assert_close(found, least / (snr + 1) / power * missed("v", level), rtol=1e-9, atol=0)
    of_flow = least * (level.sigma / (level.alpha + level.sigma)) ** 2
    torch.testing.assert_close(found, of_flow * missed("flow", level), rtol=1e-9, atol=0)


@each
def test_p2_is_the_published_weight_on_eps(schedule: Schedule) -> None:
    """`1/(k + SNR)^gamma` on L_simple (arXiv:2204.00227, eq. 8)."""
    level = level_at(schedule)
    snr = (level.alpha / level.sigma) ** 2
    for gamma, k in ((1.0, 1.0), (0.5, 2.0), (0.0, 1.0)):
        wanted = missed("eps", level) / (k + snr) ** gamma
        torch.testing.assert_close(loss(P2Weight(gamma, k), level, schedule), wanted, rtol=1e-9, atol=0)


@each
def test_snr_and_sigma2_are_l_simple(schedule: Schedule) -> None:
    level = level_at(schedule)
    for weight in (SNRWeight(), Sigma2Weight(), P2Weight(gamma=0.0)):
        torch.testing.assert_close(loss(weight, level, schedule), missed("eps", level), rtol=1e-9, atol=0)
    torch.testing.assert_close(
        loss(Sigma2Weight(), level, schedule), level.sigma**2 * missed("score", level), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_weighs_as_table_1_and_asks_equal_errors_of_the_network(sigma_data: float) -> None:
    level = level_at(EDMSchedule())
    wanted = (level.sigma**2 + sigma_data**2) / (level.sigma * sigma_data) ** 2
    torch.testing.assert_close(EDMWeight(sigma_data)(level), wanted, rtol=1e-12, atol=0)
    for schedule in (EDMSchedule(), VP(), SubVP()):
        level = level_at(schedule)
        assert (EDMWeight(sigma_data)(level) * EDMPreconditioning(sigma_data)(level).out ** 2 - 1).abs().max() < 1e-9


@each
@pytest.mark.parametrize(
    ("parameterization", "view"),
    [(EpsPrediction(), "eps"), (VPrediction(), "v"), (FlowPrediction(), "flow"), (ScorePrediction(False), "score")],
    ids=repr,
)
def test_unit_asks_equal_errors_of_a_network_that_predicts_its_view(
    schedule: Schedule, parameterization: Parameterization, view: View
) -> None:
    level = level_at(schedule)
    assert (UnitWeight(view)(level) * parameterization(level).out ** 2 - 1).abs().max() < 1e-9


@pytest.mark.parametrize("weight", WEIGHTS, ids=repr)
@pytest.mark.parametrize("schedule", [FlowSchedule(), ZeroTerminal(Linear())], ids=repr)
def test_every_weight_is_a_number_at_pure_noise(weight: Weight, schedule: Schedule) -> None:
    """With no signal left, eps says nothing of x_0 and a weight on eps is 0; v and flow weigh x_0 itself."""
    found = weight(schedule(torch.tensor([schedule.last]))).item()
    assert found == {UnitWeight("x0"): 1, UnitWeight("v"): 1, UnitWeight("flow"): 1, EDMWeight(): 4}.get(weight, 0)


@pytest.mark.parametrize("weight", WEIGHTS, ids=repr)
@each
def test_losses_of_float32_samples_are_finite_at_both_ends(weight: Weight, schedule: Schedule) -> None:
    level = schedule(torch.tensor([schedule.first, schedule.last]))
    x_0, eps, wrong = torch.randn((3, 2, 4), generator=torch.Generator().manual_seed(0))
    x_t = marginal(x_0, level).sample(eps)
    assert x_t.dtype == torch.float32
    near = x_0 + like(level.sigma, x_0) * wrong
    found = Denoising(weight)(Estimate(x_t, level, near), x_0, schedule)
    assert found.dtype == torch.float32 and found.isfinite().all()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (MinSNRWeight(0.0), "the gamma of min-snr must be above 0, not 0.0"),
        (MinSNRWeight(math.nan), "the gamma of min-snr must be above 0, not nan"),
        (P2Weight(k=0.0), r"p2 needs k above 0 and gamma from 0, not P2Weight\(gamma=1.0, k=0.0\)"),
        (P2Weight(gamma=-1.0), "p2 needs k above 0 and gamma from 0"),
        (EDMWeight(sigma_data=0.0), "sigma_data must be above 0, not 0.0"),
    ],
    ids=lambda value: repr(value).replace("\\", ""),  # pytest escapes a backslash once more each time it collects
)
def test_a_weight_that_cannot_be_says_what_it_needs(weight: Weight, message: str) -> None:
    with pytest.raises(InputError, match=message):
        weight(level_at(Linear()))
