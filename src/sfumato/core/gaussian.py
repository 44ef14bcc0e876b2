"""The Gaussian forward process and its posterior.

Each distribution is a mean, [b, *d], and a variance, [b], the same for every element of a sample, or [b, *d] where a
network predicts it. Times are written as in the papers: s is before t (s has less noise).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.core.level import Level, like, logsnr_change


class Normal(NamedTuple):
    """`N(mean, var·I)`: mean [b, *d]; var [b] or [1], or [b, *d] where each element has its own."""

    mean: Tensor
    var: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """`mean + sqrt(var)·noise`, for standard normal noise [b, *d]."""
        std = self.var.sqrt()
        return self.mean + (std if std.ndim > 1 else like(std, self.mean)) * noise


def marginal(x_0: Tensor, level: Level) -> Normal:
    """`q(x_t | x_0) = N(alpha_t·x_0, sigma_t²·I)` (DDPM, arXiv:2006.11239, eq. 4)."""
    return Normal(like(level.alpha, x_0) * x_0, level.sigma**2)


def transition(x_s: Tensor, s: Level, t: Level) -> Normal:
    """`q(x_t | x_s) = N(alpha_{t|s}·x_s, sigma_{t|s}²·I)`, the Markov step from s to t (DDPM, arXiv:2006.11239, eq. 2,
    for any s < t).

    `alpha_{t|s} = alpha_t/alpha_s` and `sigma_{t|s}² = sigma_t² − alpha_{t|s}²·sigma_s²`.
    """
    return Normal(like(_signal_kept(s, t), x_s) * x_s, step_variance(s, t))


def step_variance(s: Level, t: Level) -> Tensor:
    """`sigma_{t|s}² = sigma_t²·(1 − SNR_t/SNR_s)`, [b]: beta_t when s = t − 1. Free of cancellation."""
    return -(t.sigma**2) * torch.expm1(-logsnr_change(t, s))


def posterior(x_0: Tensor, x_t: Tensor, s: Level, t: Level) -> Normal:
    """`q(x_s | x_t, x_0)`, the reverse step when x_0 is known (DDPM, arXiv:2006.11239, eq. 6 and 7, for any s < t).

    `mean = alpha_s·(sigma_{t|s}²/sigma_t²)·x_0 + alpha_{t|s}·(sigma_s²/sigma_t²)·x_t`, and
    `var = sigma_{t|s}²·sigma_s²/sigma_t²`.
    """
    of_x_0, of_x_t = posterior_weights(s, t)
    return Normal(like(of_x_0, x_0) * x_0 + like(of_x_t, x_t) * x_t, posterior_variance(s, t))


def posterior_weights(s: Level, t: Level) -> tuple[Tensor, Tensor]:
    """The weights, [b], of x_0 and of x_t in the posterior mean."""
    return s.alpha * step_variance(s, t) / t.sigma**2, _signal_kept(s, t) * (s.sigma / t.sigma) ** 2


def posterior_variance(s: Level, t: Level) -> Tensor:
    """The variance of `q(x_s | x_t, x_0)`, [b]: beta-tilde when s = t − 1, the smaller of DDPM's two choices.

    The larger is `step_variance`, beta itself. They are the exact reverse variances for data that is one point, and for
    data that is N(0, I) (DDPM, arXiv:2006.11239, section 3.2).
    """
    return step_variance(s, t) * (s.sigma / t.sigma) ** 2


def _signal_kept(s: Level, t: Level) -> Tensor:
    """`alpha_{t|s} = alpha_t/alpha_s`, [b]: nothing where t is pure noise, even from pure noise."""
    return torch.where(t.alpha == 0, 0.0, t.alpha / s.alpha)
