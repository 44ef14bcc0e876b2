"""Denoisers known in closed form: the exact mean of x_0 given x_t, for data whose law is known.

They answer as trained denoisers do, so everything that is built on a denoiser can be held against the truth.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.core.schedule import Schedule


@dataclass(frozen=True)
class GaussianDenoiser:
    """Data `N(mean, std²)`, each element by itself; `mean` and `std` are [*d].

    `E[x_0 | x_t] = mean + alpha·std²/(alpha²·std² + sigma²)·(x_t − alpha·mean)`.
    """

    schedule: Schedule
    mean: Tensor
    std: Tensor

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        alpha, sigma = like(level.alpha, x_t), like(level.sigma, x_t)
        mean, var = self.mean.to(x_t), self.std.to(x_t) ** 2
        gain = alpha * var / (alpha**2 * var + sigma**2)
        return Estimate(x_t, level, mean + gain * (x_t - alpha * mean))


@dataclass(frozen=True)
class MixtureDenoiser:
    """Data from a mixture of Gaussians: `weights` [k], `means` [k, *d], `stds` [k] (each component round).

    `E[x_0 | x_t] = ∑_k p(k | x_t)·E[x_0 | x_t, k]`, with
    `p(k | x_t) ∝ weight_k·N(x_t; alpha·mean_k, alpha²·std_k² + sigma²)`.
    """

    schedule: Schedule
    weights: Tensor
    means: Tensor
    stds: Tensor

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        x, means = x_t.flatten(1), self.means.to(x_t).flatten(1)  # [b, d], [k, d]
        alpha, sigma = like(level.alpha, x), like(level.sigma, x)  # [b, 1]
        var = self.stds.to(x_t) ** 2  # [k]
        var_t = alpha**2 * var + sigma**2  # [b, k]
        gap = x[:, None] - alpha[:, None] * means  # [b, k, d]
        log_p = self.weights.to(x_t).log() - (gap**2).sum(2) / (2 * var_t) - x.shape[1] / 2 * var_t.log()
        each = means + (alpha * var / var_t)[:, :, None] * gap  # [b, k, d]
        x0 = (log_p.softmax(1)[:, :, None] * each).sum(1)
        return Estimate(x_t, level, x0.reshape(x_t.shape))


def finite(schedule: Schedule, points: Tensor) -> MixtureDenoiser:
    """Data that is one of `points`, [k, *d], each as likely: `E[x_0 | x_t]` is their softmax-weighted mean."""
    k = len(points)
    return MixtureDenoiser(
        schedule, torch.full((k,), 1 / k, dtype=points.dtype), points, torch.zeros(k, dtype=points.dtype)
    )
