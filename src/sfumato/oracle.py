"""Denoisers known in closed form: the exact mean of x_0 given x_t, for data whose law is known.

They answer as trained denoisers do, so everything that is built on a denoiser can be held against the truth.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.categorical import log_one_hot
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.core.process import TokenProcess
from sfumato.core.schedule import Schedule
from sfumato.core.token_estimate import TokenEstimate
from sfumato.errors import InputError


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


@dataclass(frozen=True)
class LanguageDenoiser:
    """Data that are sequences of tokens, each with its probability: `p(x_0^i | x_t)` of each token i, exactly.

    By Bayes' rule, `p(x_0 | x_t) ∝ p(x_0)·∏_i q(x_t^i | x_0^i)`, summed over the sequences that have the token at i.

    - `process`: `Masking` or `Uniform`;
    - `sequences` [n, l]: token ids, each sequence once;
    - `probability` [n]: of each sequence, float64, with the sum 1;
    - `k`: the number of tokens, the mask among them.

    Tokens x_t that no sequence can become are an `InputError`.
    """

    schedule: Schedule
    process: TokenProcess
    sequences: Tensor
    probability: Tensor
    k: int

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> TokenEstimate:
        """Token ids x_t [b, l] at `level` [b] or [1] → the estimate, in float64."""
        n, b = len(self.sequences), len(x_t)
        known = log_one_hot(self.sequences, self.k)  # [n, l, k]
        noisy = self.process.marginal(known.flatten(0, 1).expand(b, -1, -1), level).log_p
        each = noisy.gather(-1, x_t.repeat(1, n).unsqueeze(-1)).reshape(b, n, -1).sum(-1)  # [b, n]
        weight = each + self.probability.log()
        if bool((weight.amax(1) == -torch.inf).any()):
            raise InputError("these tokens are not of the language: no sequence of it becomes them by noise")
        log_p = (weight[:, :, None, None] + known).logsumexp(1).log_softmax(-1)
        return TokenEstimate(x_t, level, log_p, self.process)
