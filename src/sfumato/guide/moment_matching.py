"""Posterior guidance: data of which a linear measurement is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, ShapeError
from sfumato.guide.base import Guide
from sfumato.guide.gradient import gradient, tracking_gradients, without_inference, x0_shift


@dataclass(frozen=True)
class MomentMatching(Guide):
    """`E[x_0 | x_t, y]` for an observation `y = A·x_0 + noise·n`, n standard normal: inpainting, deblurring, and kin.

    `x_0 = x̂_0 + C·Aᵀ·(A·C·Aᵀ + noise²)⁻¹·(y − A·x̂_0)`, with `C = Cov[x_0 | x_t] = (sigma²/alpha)·∂x̂_0/∂x_t`
    (moment matching posterior sampling, MMPS, arXiv:2405.13712, section 4.2). It takes p(x_0 | x_t) for a Gaussian of
    its own mean and covariance: exact for Gaussian data, near for any under little noise. Under much noise data of
    several kinds is no Gaussian, and the kinds that fit y may come in wrong shares.

    - `operator`: A, linear, [b, *d] → [b, *m], each sample by itself, and differentiable by torch; for a mask, the
      observed elements and no others, `x[:, seen]`;
    - `observation`: y, [b, *m], or [1, *m] for all;
    - `noise`: the standard deviation of the noise of the observation, 0 or more;
    - `iterations`: of conjugate gradients, by which the equation is solved, each at the cost of one gradient of the
      denoiser. A sample ends early once its precision is exhausted, or where a network's C is no covariance.

    Neither C nor Aᵀ is ever written out: both are taken by gradients. An operator that is not linear is an
    `InputError`, an observation of another shape a `ShapeError`.

    At alpha 0, where C is 0/0, nothing changes. Put `StaticThreshold` outside: its gradient is 0. Gradients by x_t
    pass, where x_t requires them; those by weights do not.
    """

    denoiser: DenoiserLike
    operator: Callable[[Tensor], Tensor]
    observation: Tensor
    noise: float
    iterations: int = 3

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        if not (0 <= self.noise < math.inf and self.iterations >= 1):
            raise InputError(
                "posterior guidance needs a noise of 0 or more and at least one iteration,"
                f" not noise {self.noise} and {self.iterations} iterations"
            )
        with tracking_gradients(x_t) as (x, followed):
            estimate = self.estimate(x, Level(*map(without_inference, level)), condition.map(without_inference))
            x0 = estimate.x0 if followed else estimate.x0.detach()
            zero = torch.zeros_like(x0, requires_grad=True)
            seen = self.operator(zero)
            gap = self._observed(seen).to(x0) - self.operator(x0)

            def lift(u: Tensor) -> Tensor:
                """`C·Aᵀ·u`."""
                up = gradient(seen, zero, u, followed, "the operator")
                return x0_shift(level, gradient(estimate.x0, x, up, followed, "the denoiser"))

            x0 = x0 + self._moved(lift, gap)
        variance_fraction = (
            estimate.variance_fraction
            if followed or estimate.variance_fraction is None
            else estimate.variance_fraction.detach()
        )
        return replace(estimate, x_t=x_t, level=level, x0=x0, variance_fraction=variance_fraction)

    def _moved(self, lift: Callable[[Tensor], Tensor], gap: Tensor) -> Tensor:
        """`C·Aᵀ·u` for the u that solves `(A·C·Aᵀ + noise²)·u = gap`, by conjugate gradients from 0.

        u itself is not needed: its steps are lifted as they are made.
        """
        left = direction = gap
        size = _dot(left, left)
        enough = size * torch.finfo(size.dtype).eps ** 2
        going = size > 0
        solved = None
        for _ in range(self.iterations):
            lifted = lift(direction)
            image = self.operator(lifted) + self.noise**2 * direction
            curvature = _dot(direction, image)
            going = going & (curvature > 0)
            step = torch.where(going, size, 0.0) / curvature.masked_fill(~going, 1.0)
            solved = like(step, lifted) * lifted + (0.0 if solved is None else solved)
            left = left - like(step, left) * image
            size, before = _dot(left, left), size
            going = going & (size > enough)
            if not bool(going.any()):
                break
            ratio = torch.where(going, size, 0.0) / before.masked_fill(~going, 1.0)
            direction = left + like(ratio, left) * direction
        assert solved is not None
        return solved

    def _observed(self, seen: Tensor) -> Tensor:
        """The observation, checked against the operator's output at 0."""
        if bool(seen.any()):
            raise InputError(
                "the operator must be linear, and operator(0) is not 0."
                " Subtract its offset from the observation instead"
            )
        y = self.observation
        if y.shape[1:] != seen.shape[1:] or len(y) not in (1, len(seen)):
            raise ShapeError(
                f"the observation has shape {list(y.shape)}, and the operator gives {list(seen.shape)}:"
                " give one such for each sample, or one for all, with a first axis of 1"
            )
        return y


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each sample's, [b]."""
    return (a * b).flatten(1).sum(1)
