"""The prediction of a denoiser, in every view."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.gaussian import Normal, posterior, step_variance
from sfumato.core.level import Level, like
from sfumato.errors import InputError

Variance = Literal["small", "large", "learned"]


@dataclass(frozen=True)
class Estimate:
    """A denoiser's estimate of the data behind noisy samples; the views follow from `x_t = alpha·x_0 + sigma·eps`.

    - `x_t` [b, *d]: the noisy samples;
    - `level` [b] or [1]: their noise level;
    - `x0` [b, *d]: the estimate of the data;
    - `variance_fraction` [b, *d] or None: a learned variance of the reverse step, as the fraction from the lower of its
      two bounds, 0, to the upper, 1 (`reverse`);
    - `eps_override` [b, *d] or None: the noise, where it does not follow from x0: estimated before a guide changed x0.
    """

    x_t: Tensor
    level: Level
    x0: Tensor
    variance_fraction: Tensor | None = None
    eps_override: Tensor | None = None

    @property
    def eps(self) -> Tensor:
        """The noise: `eps = (x_t − alpha·x_0)/sigma`, unless another is `eps_override`."""
        if self.eps_override is not None:
            return self.eps_override
        return (self.x_t - self._alpha * self.x0) / self._sigma

    @property
    def v(self) -> Tensor:
        """The velocity of progressive distillation: `v = alpha·eps − sigma·x_0`."""
        return self._alpha * self.eps - self._sigma * self.x0

    @property
    def flow(self) -> Tensor:
        """The velocity of rectified flow: `eps − x_0`."""
        return self.eps - self.x0

    @property
    def score(self) -> Tensor:
        """The gradient of the log density of x_t: `−eps/sigma`."""
        return -self.eps / self._sigma

    def reverse(self, s: Level, variance: Variance = "small", clipped: Tensor | None = None) -> Normal:
        """`p(x_s | x_t)`, the reverse step to level s, and the view `mean` of the prediction.

        Its mean is that of `q(x_s | x_t, x_0)` at this x_0. Its `variance` is "small", that of the same law
        (beta-tilde), "large", that of the step `q(x_t | x_s)` (beta), or "learned", at f = `variance_fraction` from the
        one to the other: `log var = f·log beta + (1 − f)·log beta-tilde` (improved DDPM, arXiv:2102.09672, eq. 15).
        Onto clean data, where the small one is 0, the learned one begins at `clipped`, [b]; without, it is the large.
        """
        distribution = posterior(self.x0, self.x_t, s, self.level)
        if variance == "small":
            return distribution
        if variance not in ("large", "learned"):
            raise InputError(f"the variance of a step is small, large or learned, not {variance}")
        high = step_variance(s, self.level)
        if variance == "large":
            return distribution._replace(var=high)
        if self.variance_fraction is None:
            raise InputError(
                "this network gives no variance: take variance=small or large, or train one that learns it"
            )
        low = torch.where(s.sigma > 0, distribution.var, high if clipped is None else clipped)
        log_low, log_high = like(low.log(), self.x_t), like(high.log(), self.x_t)
        return distribution._replace(var=torch.exp(torch.lerp(log_low, log_high, self.variance_fraction)))

    def rows(self, index: Tensor) -> "Estimate":
        """The estimate of some of the samples."""
        level = Level(*(value.expand(len(self.x_t))[index.cpu()] for value in self.level))
        variance_fraction, eps_override = (
            None if one is None else one[index] for one in (self.variance_fraction, self.eps_override)
        )
        return Estimate(self.x_t[index], level, self.x0[index], variance_fraction, eps_override)

    @property
    def prediction(self) -> Tensor:
        """The estimate of x_0, on which guides act."""
        return self.x0

    def predicting(self, x_t: Tensor, level: Level, prediction: Tensor) -> "Estimate":
        """The estimate for samples x_t [b, *d] at `level` whose x_0 is `prediction`; a learned variance is that of the
        first b samples."""
        fraction = None if self.variance_fraction is None else self.variance_fraction[: len(x_t)]
        return replace(self, x_t=x_t, level=level, x0=prediction, variance_fraction=fraction)

    @staticmethod
    def extrapolate(null: Tensor, conditional: Tensor, scale: float) -> Tensor:
        """`null + scale·(conditional − null)` (classifier-free guidance, arXiv:2207.12598, eq. 6, scale = 1 + w)."""
        return null + scale * (conditional - null)

    @staticmethod
    def rescale(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
        """`guided·(share·std(conditional)/std(guided) + 1 − share)`, the deviation over all axes of a sample
        (arXiv:2305.08891, eq. 15 and 16)."""
        axes = tuple(range(1, guided.ndim))
        wanted, found = (x.std(axes, correction=0, keepdim=True) for x in (conditional, guided))
        ratio = torch.where(found > 0, wanted / found, 1.0)  # nothing to rescale where all elements are one
        return guided * (share * ratio + 1 - share)

    @property
    def _alpha(self) -> Tensor:
        return like(self.level.alpha, self.x_t)

    @property
    def _sigma(self) -> Tensor:
        return like(self.level.sigma, self.x_t)
