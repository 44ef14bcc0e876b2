"""Parameterizations: the prediction of a network, as four coefficients.

A parameterization turns the network's raw output F into an estimate of the data:

    x_0 = skip·x_t + out·F(scale·x_t, time)

(EDM, arXiv:2206.00364, eq. 7, for every schedule: its c_skip, c_out, c_in and c_noise.) No other module depends on the
kind of prediction.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.gaussian import posterior_weights
from sfumato.core.level import Level
from sfumato.core.schedule import Schedule
from sfumato.errors import InputError

MAX_SIGMA_DATA = 1e6
"""The largest standard deviation of data."""


class Coefficients(NamedTuple):
    """`x_0 = skip·x_t + out·F(scale·x_t, time)`; each [b] or [1]."""

    skip: Tensor
    out: Tensor
    scale: Tensor
    time: Tensor


@runtime_checkable
class Parameterization(Protocol):
    """Level → the four coefficients."""

    def __call__(self, level: Level) -> Coefficients: ...


@dataclass(frozen=True)
class EpsPrediction:
    """The network predicts the noise: `x_0 = (x_t − sigma·F)/alpha` (DDPM, arXiv:2006.11239, eq. 11 and 15)."""

    def __call__(self, level: Level) -> Coefficients:
        alpha = _signal(level, "eps")
        return Coefficients(1 / alpha, -level.sigma / alpha, torch.ones_like(level.t), level.t)


@dataclass(frozen=True)
class X0Prediction:
    """The network predicts the data: `x_0 = F`."""

    def __call__(self, level: Level) -> Coefficients:
        return Coefficients(torch.zeros_like(level.t), torch.ones_like(level.t), torch.ones_like(level.t), level.t)


@dataclass(frozen=True)
class VPrediction:
    """v-prediction: the network predicts the velocity `v = alpha·eps − sigma·x_0` (progressive distillation,
    arXiv:2202.00512, appendix D).

    `x_0 = (alpha·x_t − sigma·F)/(alpha² + sigma²)`; the denominator is 1 when the schedule preserves variance.
    """

    def __call__(self, level: Level) -> Coefficients:
        power = level.alpha**2 + level.sigma**2
        return Coefficients(level.alpha / power, -level.sigma / power, torch.ones_like(level.t), level.t)


@dataclass(frozen=True)
class ScorePrediction:
    """The network predicts the score, the gradient of the log density of x_t: `x_0 = (x_t + sigma²·score)/alpha`.

    With `over_sigma`, as score models are trained since NCSNv2 (arXiv:2006.09011, section 3.3), `score = F/sigma`, so
    that F has the same size at every level; without, `score = F` (NCSN, arXiv:1907.05600, eq. 5).

    The networks of those papers see x_t as it is. For data of standard deviation `sigma_data`, if given, they see it
    scaled to unit variance, which they learn from sooner (EDM's c_in, arXiv:2206.00364, table 1).
    """

    over_sigma: bool = True
    sigma_data: float | None = None

    def __call__(self, level: Level) -> Coefficients:
        alpha, scale = _signal(level, "score"), torch.ones_like(level.t)
        if self.sigma_data is not None:
            scale = 1 / _spread(level, self.sigma_data).sqrt()
        out = level.sigma / alpha if self.over_sigma else level.sigma**2 / alpha
        return Coefficients(1 / alpha, out, scale, level.t)


@dataclass(frozen=True)
class FlowPrediction:
    """The network predicts the velocity `eps − x_0`: `x_0 = (x_t − sigma·F)/(alpha + sigma)`.

    (Rectified flow, arXiv:2209.03003, eq. 1; the denominator is 1 on its own schedule.) The time input of the
    network is `t` or `sigma`, whatever the shift of the schedule, `scale` times: 1000·sigma in Stable Diffusion 3.
    """

    time_input: Literal["t", "sigma"] = "t"
    scale: float = 1.0

    def __call__(self, level: Level) -> Coefficients:
        total = level.alpha + level.sigma
        time = level.t if self.time_input == "t" else level.sigma
        return Coefficients(1 / total, -level.sigma / total, torch.ones_like(level.t), self.scale * time)


@dataclass(frozen=True)
class EDMPreconditioning:
    """EDM's preconditioning: input, target and error of the network have unit variance.

    For data of standard deviation `sigma_data` and x_t scaled to unit signal, `σ = sigma/alpha`:
    `skip = sigma_data²/(σ² + sigma_data²)`, `out = σ·sigma_data/√(σ² + sigma_data²)`, `scale = 1/√(σ² + sigma_data²)`,
    and the time input is `log(σ)/4` (EDM, arXiv:2206.00364, table 1).
    """

    sigma_data: float = 0.5

    def __call__(self, level: Level) -> Coefficients:
        alpha, spread, var = _signal(level, "karras"), _spread(level, self.sigma_data), self.sigma_data**2
        return Coefficients(
            alpha * var / spread,
            level.sigma * self.sigma_data / spread.sqrt(),
            1 / spread.sqrt(),
            -level.logsnr / 8,
        )


@dataclass(frozen=True)
class MeanPrediction:
    """The network predicts the mean of `q(x_s | x_t, x_0)`, with s one `step` of the chain before t (DDPM,
    arXiv:2006.11239, eq. 8).

    `F = a·x_0 + b·x_t`, with the weights of the posterior mean, so `x_0 = (F − b·x_t)/a`. The mean belongs to a chain:
    hence its `schedule`.
    """

    schedule: Schedule
    step: float = 1.0

    def __call__(self, level: Level) -> Coefficients:
        _signal(level, "mean")
        s = level.t - self.step
        before = self.schedule(torch.where(s < self.schedule.first, self.schedule.clean, s))
        of_x_0, of_x_t = posterior_weights(before, level)
        return Coefficients(-of_x_t / of_x_0, 1 / of_x_0, torch.ones_like(level.t), level.t)


def _spread(level: Level, sigma_data: float) -> Tensor:
    """The variance of x_t, for data of standard deviation `sigma_data`."""
    if not sigma_data > 0:
        raise InputError(f"sigma_data must be above 0, not {sigma_data}")
    if sigma_data > MAX_SIGMA_DATA:
        raise InputError(f"sigma_data must be at most {MAX_SIGMA_DATA:g}, not {sigma_data:g}")
    return level.sigma**2 + level.alpha**2 * sigma_data**2


def _signal(level: Level, name: str) -> Tensor:
    """alpha, for a parameterization that must divide by it or take its logarithm."""
    if bool((level.alpha == 0).any()):
        raise InputError(
            f"a network that predicts {name} cannot be evaluated at alpha 0 (pure noise), where its prediction"
            " does not depend on the data: predict x0, v or flow, or end the schedule before"
        )
    return level.alpha
