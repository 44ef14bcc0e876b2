"""The variational bound of a chain, term by term, in bits per dimension.

`−log₂ p(x_0) ≤ L_T + ∑ L_{t−1} + L_0` (DDPM, arXiv:2006.11239, eq. 5), everything divided by the number of elements.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sfumato.core.estimate import Estimate, Variance
from sfumato.core.gaussian import Normal, posterior, posterior_variance
from sfumato.core.level import Level, like
from sfumato.core.schedule import Schedule, at
from sfumato.errors import InputError
from sfumato.loss.denoising import Denoising, Loss

HALF_BIN = 1 / 255
"""Half the distance between two values of 8-bit data in [−1, 1]."""


def prior_term(x_0: Tensor, last: Level) -> Tensor:
    """`L_T = KL(q(x_T | x_0) ‖ p(x_T))`, [b], with the normal law of variance `alpha² + sigma²` that sampling starts
    from."""
    mean = like(last.alpha, x_0) * x_0
    return _bits(_kl(Normal(mean, last.sigma**2), Normal(torch.zeros_like(x_0), last.alpha**2 + last.sigma**2)))


def chain_term(estimate: Estimate, x_0: Tensor, s: Level, variance: Variance, clipped: Tensor | None = None) -> Tensor:
    """`L_{t−1}` for the samples whose step to s ends in noise, `L_0` for those whose step is onto clean data: [b]."""
    last_term = partial(decoder_term, clipped=clipped)
    onto_clean = (s.sigma == 0).expand(len(x_0)).to(x_0.device)
    terms = x_0.new_empty(len(x_0))
    for rows, term in ((~onto_clean, step_term), (onto_clean, last_term)):
        if bool(rows.any()):
            its = Level(*(value.expand(len(x_0))[rows.cpu()] for value in s))
            terms = terms.masked_scatter(rows, term(estimate.rows(rows), x_0[rows], its, variance))
    return terms


def step_term(estimate: Estimate, x_0: Tensor, s: Level, variance: Variance) -> Tensor:
    """`L_{t−1} = KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t))`, [b]: the divergence of the reverse step from the true one
    (DDPM, arXiv:2006.11239, eq. 5; with a fixed variance it is the weighted error of eq. 8 and 12)."""
    return _bits(_kl(posterior(x_0, estimate.x_t, s, estimate.level), estimate.reverse(s, variance)))


def decoder_term(
    estimate: Estimate, x_0: Tensor, s: Level, variance: Variance, clipped: Tensor | None = None
) -> Tensor:
    """`L_0 = −log₂ p(x_0 | x_1)`, [b], of 8-bit data in [−1, 1]: the normal law of the last step, discretised
    (DDPM, arXiv:2006.11239, eq. 13).

    Each value has the mass between it and `±1/255`; the outermost have the tails too. The small variance is 0 here. The
    large, beta, stands for it, as in DDPM's text; or `clipped`, [1], does, for both and for the lower bound of the
    learned one (`clipped_variance`).
    """
    gap, std = _last_step(estimate, x_0, s, variance, clipped)
    high, low = ((gap + side * HALF_BIN) / std for side in (1, -1))
    high, low = high.masked_fill(x_0 > 0.999, math.inf), low.masked_fill(x_0 < -0.999, -math.inf)
    return _bits(-_log_mass(low, high))


def density_term(
    estimate: Estimate, x_0: Tensor, s: Level, variance: Variance, clipped: Tensor | None = None
) -> Tensor:
    """`L_0 = −log₂ p(x_0 | x_1)`, [b], of data without steps: the density of the normal law of the last step. The
    variance is that of `decoder_term`."""
    gap, std = _last_step(estimate, x_0, s, variance, clipped)
    return _bits((gap / std) ** 2 / 2 + std.log() + math.log(2 * math.pi) / 2)


def clipped_variance(first: Level, second: Level) -> Tensor:
    """The small variance of the step before the last, from `second` to `first`.

    The code released with DDPM, improved DDPM and ADM takes it for the last step too (`posterior_log_variance_clipped`
    there), and so do the bits published with them. It is about half of beta: a good last step costs fewer bits.
    """
    return posterior_variance(first, second)


@dataclass(frozen=True)
class VLB:
    """The true bound, L_vlb: `T·L_{t−1}` in bits per dimension, whose mean over uniform t is all but the constant L_T.

    The variance is the learned one where the network gives one, else the small; with `clipped`, that of the last step
    is as in released code (`clipped_variance`).
    """

    clipped: bool = False

    def __call__(self, estimate: Estimate, x_0: Tensor, schedule: Schedule) -> Tensor:
        if schedule.T is None:
            raise InputError(
                "the bound sums over the steps of a chain, and this schedule has none: take the loss denoising"
            )
        t = estimate.level.t
        s = schedule(torch.where(t > schedule.first, t - 1, schedule.clean))
        variance = "learned" if estimate.variance_fraction is not None else "small"
        clipped = clipped_variance(*_first_two(schedule)) if self.clipped else None
        return schedule.T * chain_term(estimate, x_0, s, variance, clipped)


@dataclass(frozen=True)
class Hybrid:
    """`L_simple + share·L_vlb`, the bound teaching the variance alone (improved DDPM, arXiv:2102.09672, eq. 16).

    The estimate of x_0 takes no gradient from the bound. `clipped` is that of `VLB`.
    """

    share: float = 0.001
    mean: Loss = Denoising()
    clipped: bool = False

    def __call__(self, estimate: Estimate, x_0: Tensor, schedule: Schedule) -> Tensor:
        if estimate.variance_fraction is None:
            raise InputError("a hybrid loss teaches the variance, and this network gives none: set variance=learned")
        held = replace(estimate, x0=estimate.x0.detach())
        return self.mean(estimate, x_0, schedule) + self.share * VLB(self.clipped)(held, x_0, schedule)


def _kl(q: Normal, p: Normal) -> Tensor:
    """`KL(q ‖ p)` in nats, elementwise, [b, *d]."""
    var_q, var_p = (var if var.ndim > 1 else like(var, q.mean) for var in (q.var, p.var))
    ratio = var_q / var_p
    return ((q.mean - p.mean) ** 2 / var_p + ratio - 1 - ratio.log()) / 2


def _first_two(schedule: Schedule) -> tuple[Level, Level]:
    """The levels of the first two times of a chain."""
    if (schedule.T or 0) < 2:
        raise InputError("clipped takes the variance of the step before the last, and a chain of one step has none")
    return at(schedule, schedule.first), at(schedule, schedule.first + 1)


def _last_step(
    estimate: Estimate, x_0: Tensor, s: Level, variance: Variance, clipped: Tensor | None
) -> tuple[Tensor, Tensor]:
    """How far x_0 is from the mean of the step onto clean data, and the standard deviation of that step."""
    reverse = estimate.reverse(s, "large" if variance == "small" else variance, clipped)
    if clipped is not None and variance != "learned":
        reverse = reverse._replace(var=clipped)
    std = reverse.var.sqrt()
    return x_0 - reverse.mean, std if std.ndim > 1 else like(std, x_0)


def _log_mass(low: Tensor, high: Tensor) -> Tensor:
    """`log(Φ(high) − Φ(low))`, exact in both tails; float64 inside, for neighbouring bins are close."""
    kind, low, high = low.dtype, low.double(), high.double()
    # the smaller of the two tails: Φ(high) − Φ(low) = Φ(−low) − Φ(−high)
    flip = low > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return (log_high + torch.log(-torch.expm1(log_low - log_high))).to(kind)


def _bits(nats: Tensor) -> Tensor:
    return nats.flatten(1).mean(1) / math.log(2)
