"""Thresholding: holding the estimate within the range of the data."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.guide.base import Guide


@dataclass(frozen=True)
class StaticThreshold(Guide):
    """Static thresholding: x_0 is held within [−limit, limit] (Imagen, arXiv:2205.11487, section 2.3), as DDPM's
    released sampler does for pictures.

    The noise follows from x_t and the new x_0; or, with `keep_eps`, stays as it was (diffusers' DDIM, unless
    use_clipped_model_output).
    """

    denoiser: DenoiserLike
    limit: float = 1.0
    keep_eps: bool = False

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        estimate = self.estimate(x_t, level, condition)
        x0 = estimate.x0.clamp(-self.limit, self.limit)
        x0 = torch.where(estimate.x0.isfinite(), x0, torch.nan)  # an infinity is no estimate
        return replace(estimate, x0=x0, eps_override=estimate.eps if self.keep_eps else estimate.eps_override)


@dataclass(frozen=True)
class DynamicThreshold(Guide):
    """Dynamic thresholding: `x_0 ← clamp(x_0, −s, s)/s`, where s is the `ratio` quantile of |x_0| in each sample, at
    least 1 (Imagen, arXiv:2205.11487, section 2.3).

    s is at most `most`: diffusers' `sample_max_value`. Its default there is 1, by which all is clipped to [−1, 1], as
    by `StaticThreshold`.

    The noise follows from x_t and the new x_0; or, with `keep_eps`, stays as it was (diffusers' DDIM, unless
    use_clipped_model_output).
    """

    denoiser: DenoiserLike
    ratio: float = 0.995
    most: float = math.inf
    keep_eps: bool = False

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        if not (0 < self.ratio <= 1 and self.most >= 1):
            raise InputError(
                f"thresholding needs a ratio in (0, 1] and a bound of 1 or more, not {self.ratio}, {self.most}"
            )
        estimate = self.estimate(x_t, level, condition)
        s = like(torch.quantile(estimate.x0.flatten(1).abs(), self.ratio, dim=1).clamp(1, self.most), estimate.x0)
        x0 = estimate.x0.clamp(-s, s) / s
        return replace(estimate, x0=x0, eps_override=estimate.eps if self.keep_eps else estimate.eps_override)
