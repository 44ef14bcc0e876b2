"""How likely data are to a model, in bits per dimension: by the variational bound, and by the probability-flow ODE.

`−log₂ p(x_0)` divided by the number of elements of a sample. Lower is better. Both read data in two ways, `data`:

- "8-bit": values k/127.5 − 1, k = 0 … 255, as pictures have. Their probability is measured: no true figure is below 0;
- "continuous": any numbers. Their density is measured: there is no lowest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.adaptive import ODEState, integrate
from sfumato.core.condition import Condition
from sfumato.core.estimate import Variance
from sfumato.core.gaussian import marginal
from sfumato.core.level import Level, like, logsnr_change
from sfumato.core.noise import Noise
from sfumato.core.schedule import Schedule, at
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, NonFiniteError, ShapeError
from sfumato.loss.variational import clipped_variance, decoder_term, density_term, prior_term, step_term

Data = Literal["8-bit", "continuous"]
Divergence = Literal["auto", "exact", "rademacher", "gaussian"]

MOST_EXACT = 32
"""Up to how many elements of a sample "auto" takes the exact divergence."""

MOST_NOISE = 10.0
"""The largest `log(sigma/alpha)` to which the ODE is integrated: beyond the last time of a schedule, unless it ends in
pure noise, where there is no bound. Signal of unit size left there changes the mean bits by some alpha², 2e-9."""


@dataclass(frozen=True)
class Bits:
    """Bits a dimension of each sample, `total` [b], float64 on the CPU like everything here."""

    total: Tensor

    @property
    def mean(self) -> float:
        """Over the samples."""
        return self.total.mean().item()

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN for a single sample, of which none can be known."""
        return self.total.std().item() / math.sqrt(len(self.total)) if len(self.total) > 1 else math.nan


@dataclass(frozen=True)
class VLBBits(Bits):
    """`total = prior + ∑ steps + decoder`: L_T [b], each L_{t−1} in the order of the levels [n, b], and L_0 [b]."""

    prior: Tensor
    steps: Tensor
    decoder: Tensor


@dataclass(frozen=True)
class ODEBits(Bits):
    """With how often the network was asked about each sample, `evaluations` [b]."""

    evaluations: Tensor


def bits_by_vlb(
    denoiser: DenoiserLike,
    x_0: Tensor,
    levels: Sequence[Level],
    noise: Noise,
    variance: Variance = "small",
    condition: Condition = Condition(),
    data: Data = "8-bit",
    clipped: bool = False,
) -> VLBBits:
    """The variational bound on `−log₂ p(x_0)`, in bits per dimension, of the chain along `levels`, every term (DDPM,
    arXiv:2006.11239, eq. 5).

    - `x_0` [b, *d]: the data, of the kind `data`, "8-bit" or "continuous";
    - `levels`: a grid, from most noise to clean data (`core.grid.levels`);
    - `noise`: of b seeds. Each network call has an x_t of its own, drawn from it; the expectation is the bound, and
      `standard_error` counts the draws in;
    - `variance`: that of the reverse steps (`Estimate.reverse`);
    - `condition`: of the denoiser;
    - `clipped`: the variance of the last step, L_0, is that of the step before it
      (`loss.variational.clipped_variance`), as in the released code of DDPM, improved DDPM and ADM, whose published
      bits (3.75, 2.94) are of that; without, it is beta, as in DDPM's text. L_0 is the discretised distribution for
      8-bit data (eq. 13), its density for others.

    Wrong levels, values or shapes are an `InputError`; an answer that is not finite is a `NonFiniteError`.
    """
    _check_samples(x_0, data)
    _check_grid(levels)
    last_variance = clipped_variance(*_last_two(levels)) if clipped else None
    last_term = partial(decoder_term if data == "8-bit" else density_term, clipped=last_variance)
    terms = []
    with torch.no_grad():
        prior = _figures(prior_term(x_0, levels[0]))
        for now, then in pairwise(levels):
            estimate = denoiser(marginal(x_0, now).sample(noise.like(x_0)), now, condition)
            term = step_term if bool((then.sigma > 0).all()) else last_term
            _check_finite(estimate.x0, now)
            terms.append(_figures(term(estimate, x_0, then, variance)))
    *steps, decoder = terms
    chain = torch.stack(steps) if steps else prior.new_empty(0, len(prior))
    return VLBBits(prior + chain.sum(0) + decoder, prior, chain, decoder)


def bits_by_ode(
    denoiser: DenoiserLike,
    x_0: Tensor,
    noise: Noise,
    condition: Condition = Condition(),
    data: Data = "8-bit",
    divergence: Divergence = "auto",
    probes: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> ODEBits:
    """`−log₂ p(x_0)`, in bits per dimension, of the model whose samples the probability-flow ODE draws (score SDE,
    arXiv:2011.13456, eq. 39).

    With `y = x_t/√(alpha² + sigma²)`, `tan φ = sigma/alpha` and `u = log tan φ` the ODE is, for every schedule,
    `dy/du = sin φ·cos φ·(cos φ·eps − sin φ·x_0)`, and `log p(y)` falls along it by the divergence of the right side.
    It is followed from the first time of the schedule to the last (or `MOST_NOISE`), where y has the standard normal
    law that sampling starts from. The times between are those of the schedule's `inverse`: on a table of whole times
    they are fractional.

    The data enters at the first time as `x_t = alpha·x_0`, so that `y = cos φ·x_0`, and the density is that of
    `x_t/alpha`. (Score SDE puts x_0 in as it is, an error of order 1 − alpha; the noise of the first time is left out
    by both.) The density is thus that of the data blurred by sigma/alpha of the first time.

    The divergence is exact, by one product with a derivative for each element, or estimated by `probes` of them with
    random directions, the same all along the way: `E[εᵀ·J·ε]`, ε of ±1 ("rademacher") or normal ("gaussian") (FFJORD,
    arXiv:1810.01367, eq. 7). Values of 8 bits are spread evenly over their bins, 1/127.5 wide: the density of the
    result and `log₂(127.5)` bits more bound the bits of the values from above (arXiv:1511.01844, section 3.1). Places
    in bins and probes are drawn from each sample's `noise`, and its steps are its own (`integrate`).

    The denoiser must not be random (dropout off), and is asked with gradients. Wrong arguments are an `InputError`, an
    answer that is not finite a `NonFiniteError`.
    """
    _check_samples(x_0, data)
    if divergence == "auto":
        divergence = "exact" if x_0[0].numel() <= MOST_EXACT else "rademacher"
    if divergence not in ("exact", "rademacher", "gaussian"):
        raise InputError(f"the divergence is auto, exact, rademacher or gaussian, not {divergence!r}")
    if probes < 1:
        raise InputError(f"the divergence needs at least 1 probe, not {probes}")
    x = _spread(x_0, noise) if data == "8-bit" else x_0
    directions = _directions(x, noise, divergence, probes)
    first, last = _ends(denoiser.schedule)

    def slope(u: Tensor, state: ODEState) -> ODEState:
        with torch.inference_mode(False), torch.enable_grad():
            y = state[0].detach().clone().requires_grad_()
            change = _velocity(denoiser, y, u, condition)
            trace = _trace(change, y, directions)
        return change.detach(), trace

    cos_φ = torch.rsqrt(1 + torch.exp(2 * first))
    start = like(cos_φ, x) * x, x.new_zeros(len(x))
    with torch.no_grad():
        (y, fallen), evaluations = integrate(slope, start, first, last, rtol, atol)
    prior = -(y**2 + math.log(2 * math.pi)).flatten(1).mean(1) / 2
    log_density = _figures(prior + fallen) + cos_φ.log()  # a dimension, in nats
    bits = -log_density / math.log(2) + (math.log2(127.5) if data == "8-bit" else 0)
    return ODEBits(bits, evaluations)


def _ends(schedule: Schedule) -> tuple[Tensor, Tensor]:
    """`log(sigma/alpha)` where the ODE begins and where it ends, each [1]."""
    first, last = (-at(schedule, t).logsnr / 2 for t in (schedule.first, schedule.last))
    return first, last.clamp(max=MOST_NOISE)


def _velocity(denoiser: DenoiserLike, y: Tensor, u: Tensor, condition: Condition) -> Tensor:
    """`dy/du` at `log(sigma/alpha) = u`, [b]."""
    level = denoiser.schedule(denoiser.schedule.inverse(-2 * u))
    size = (level.alpha**2 + level.sigma**2).sqrt()
    estimate = denoiser(like(size, y) * y, level, condition)
    # where y itself is not finite the solver has gone too far, and will take a shorter step
    _check_finite(torch.where(y.isfinite(), estimate.x0, 0.0), level)
    if not estimate.x0.requires_grad:
        raise InputError(
            "the ODE needs the derivative of the denoiser, which gives none: let it answer without no_grad"
        )
    return like(level.alpha * level.sigma / size**3, y) * estimate.v


def _trace(change: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """The divergence of `change` by y, a dimension, [b]: the mean of `εᵀ·J·ε` over ε in `directions`.

    A sample's change depends on that sample alone, so one product serves the whole batch.
    """
    along = (one.expand_as(y) for one in directions)
    each = [(torch.autograd.grad(change, y, one, retain_graph=True)[0] * one).flatten(1).mean(1) for one in along]
    return torch.stack(each).mean(0)


def _directions(x: Tensor, noise: Noise, divergence: Divergence, probes: int) -> Tensor:
    """Directions, [n, b, *d] or [n, 1, *d], whose outer products have the unit matrix as their mean: random ones, or
    along each axis, which leaves no error."""
    if divergence == "exact":
        d = x[0].numel()
        return math.sqrt(d) * torch.eye(d, dtype=x.dtype, device=x.device).reshape(d, 1, *x.shape[1:])
    drawn = torch.stack([noise.like(x) for _ in range(probes)])
    return torch.where(drawn < 0, -1.0, 1.0).to(x.dtype) if divergence == "rademacher" else drawn


def _spread(x_0: Tensor, noise: Noise) -> Tensor:
    """8-bit values, each replaced by a uniform draw from its bin: `x + (u − 1/2)·2/255`."""
    u = torch.special.ndtr(noise.like(x_0))
    return x_0 + (u - 0.5) / 127.5


def _figures(value: Tensor) -> Tensor:
    return value.to("cpu", torch.float64)


def _check_samples(x_0: Tensor, data: Data) -> None:
    """Raise an `InputError` unless this is a batch of samples with values of this kind."""
    if x_0.ndim < 2 or x_0.numel() == 0 or not x_0.is_floating_point():
        raise ShapeError(
            f"samples are one or more, [b, *d], of floating numbers, not {list(x_0.shape)} of {x_0.dtype}: add the"
            " axis of the batch"
        )
    if data == "continuous":
        wrong = ~_figures(x_0).isfinite()
    elif data == "8-bit":
        k = (_figures(x_0) + 1) * 127.5
        wrong = ~((k - k.round()).abs() < 1e-3) | (k.round() < 0) | (k.round() > 255)
    else:
        raise InputError(f"data is 8-bit or continuous, not {data!r}")
    if bool(wrong.any()):
        wanted = "k/127.5 − 1 with k from 0 to 255" if data == "8-bit" else "finite"
        raise InputError(
            f"{data} data has values that are {wanted}, and {int(wrong.sum()):,} of these are not, such as"
            f" {_figures(x_0)[wrong][0]:g}" + (": round them, or pass data=continuous" if data == "8-bit" else "")
        )


def _check_grid(levels: Sequence[Level]) -> None:
    """Raise an `InputError` unless levels fall from noise to clean data, which only the last one is."""
    if len(levels) < 2:
        raise InputError(f"the bound goes from noise to clean data, along 2 levels or more, not {len(levels)}")
    if bool((levels[-1].sigma > 0).any()):
        raise InputError(
            f"the bound ends with clean data (sigma 0), and the last of these {len(levels)} levels has sigma"
            f" {levels[-1].sigma.max():g}: add the clean level, as core.grid.levels does"
        )
    for i, (now, then) in enumerate(pairwise(levels)):
        if not bool((logsnr_change(now, then) > 0).all()):
            raise InputError(
                f"the noise of the levels must fall from each to the next: from {i} (t = {now.t[0]:g}) to {i + 1}"
                f" (t = {then.t[0]:g}) it does not"
            )


def _last_two(levels: Sequence[Level]) -> tuple[Level, Level]:
    """The last two levels before clean data, the one of less noise first."""
    if len(levels) < 3:
        raise InputError("clipped takes the variance of the step before the last: that takes 3 levels or more, not 2")
    return levels[-2], levels[-3]


def _check_finite(x: Tensor, level: Level) -> None:
    if not bool(x.isfinite().all()):
        bad = [i for i, one in enumerate(x) if not bool(one.isfinite().all())]
        raise NonFiniteError(
            f"the denoiser gave a number that is not finite at t = {level.t.expand(len(x))[bad[0]]:g}, in sample"
            f" {bad[0]} and {len(bad) - 1} more of {len(x)}: try float32, or less guidance"
        )
