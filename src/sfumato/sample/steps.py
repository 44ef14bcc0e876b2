"""Functions that solvers of the probability-flow ODE share."""

from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like


class Past(NamedTuple):
    """An evaluation at an earlier level: its place on the solver's axis, [b] or [1], and the slope there, [b, *d]."""

    place: Tensor
    slope: Tensor


History = tuple[Past, ...]
"""The steps before, the newest first."""


def ddim_step(estimate: Estimate, then: Level) -> Tensor:
    """`alpha_s·x_0 + sigma_s·eps`: samples at the level `then` of the estimated x_0 and eps (DDIM, arXiv:2010.02502,
    eq. 12, with eta 0)."""
    return like(then.alpha, estimate.x_t) * estimate.x0 + like(then.sigma, estimate.x_t) * estimate.eps


def unless_clean(then: Level, now: Level) -> Level:
    """`then`, with `now` for samples that come onto clean data there: nothing can be asked at sigma 0."""
    return Level(*(torch.where(then.sigma > 0, a, b) for a, b in zip(then, now, strict=True)))


def solve_moments(places: Tensor, moments: Tensor) -> Tensor:
    """Weights w, [b, k], with `∑_j w_j·places_j^i = moments_i` for i = 0 … k−1; both [b, k].

    A place that is infinite (pure noise, where a trajectory may begin), or so far that its powers are, gets no weight,
    and the highest moment is given up for it: the order is one less there. Where places are so
    unlike (1e28 and 1e90) that elimination meets a pivot of 0, the first place gets all: the order is one there.
    """
    k = places.shape[1]
    powers = torch.arange(k, dtype=places.dtype)[:, None]
    known = (places ** (k - 1)).isfinite() & places.isfinite()
    matrix = torch.where(known, places, 1.0)[:, None, :] ** powers  # [b, i, j]
    # the infinite ones are the oldest, so they stand last, as the highest moments do
    both = known[:, None, :] & known[:, :, None]
    matrix = torch.where(both, matrix, torch.eye(k, dtype=places.dtype))
    weights, failed = torch.linalg.solve_ex(matrix, torch.where(known, moments, 0.0))
    newest = moments[:, :1] * torch.eye(k, dtype=moments.dtype)[:1]
    return torch.where(failed[:, None] == 0, weights, newest)
