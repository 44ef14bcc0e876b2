"""Noise schedules: time → `Level`.

Every schedule here preserves variance, `alpha² + sigma² = 1`, so that one number says all: the log signal-to-noise
ratio `λ(t)`, with `alpha² = sigmoid(λ)` and `sigma² = sigmoid(−λ)`. Working in λ keeps full precision at both ends,
where `1 − alpha²` would lose it.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.errors import InputError

MOST_STEPS = 1_000_000


@runtime_checkable
class Schedule(Protocol):
    """What everything else may ask of a schedule.

    `clean` is the time of the data itself (no noise); `first` and `last` bound the times a network is asked about, from
    least noise to most. `T` counts them when only whole times were trained, and is None when time is continuous.
    """

    @property
    def T(self) -> int | None: ...
    @property
    def clean(self) -> float: ...
    @property
    def first(self) -> float: ...
    @property
    def last(self) -> float: ...

    def __call__(self, t: Tensor) -> Level:
        """The levels at times `t`, [b]. A time outside the schedule is an `InputError`."""
        ...

    def inverse(self, logsnr: Tensor) -> Tensor:
        """The times, [b], at which the log signal-to-noise ratio is `logsnr`, [b]; held within first and last."""
        ...


def preserving(t: Tensor, logsnr: Tensor) -> Level:
    """The variance-preserving level with `alpha² = sigmoid(λ)`, `sigma² = sigmoid(−λ)`; shapes [b]."""
    return Level(t, logsnr.sigmoid().sqrt(), (-logsnr).sigmoid().sqrt())


class Table:
    """A schedule tabulated from `betas`, the variances of T Markov steps (DDPM, arXiv:2006.11239, eq. 2 and 4).

    `alpha_t² = ∏_{s ≤ t} (1 − beta_s)`, for t = 0 … T−1; t = −1 is the clean data. (The papers count 1 … T, 0 clean;
    trained networks, and so this table, count from 0.) A fractional time lies on the straight line in λ between its two
    neighbours; between −1 and 0 there is none, since λ is infinite at −1.
    """

    T: int
    clean = -1.0
    first = 0.0

    @property
    def last(self) -> float:
        return self.T - 1.0

    def betas(self) -> Tensor:
        """`beta_0 … beta_{T−1}`, float64 [T], each in (0, 1)."""
        raise NotImplementedError

    @cached_property
    def logsnr(self) -> Tensor:
        """λ at the whole times 0 … T−1, float64 [T], falling."""
        if not 1 <= self.T <= MOST_STEPS:
            raise InputError(f"the T of a schedule must be from 1 to {MOST_STEPS:,}, not {self.T:,}")
        betas = self.betas()
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise InputError(f"betas must lie between 0 and 1: {self} has {betas.min():g} to {betas.max():g}")
        log_alpha2 = torch.log1p(-betas).cumsum(0)
        return log_alpha2 - torch.log(-torch.expm1(log_alpha2))

    def __call__(self, t: Tensor) -> Level:
        t = t.to("cpu", torch.float64)
        is_clean = t == self.clean
        if bool(((t < self.first) & ~is_clean | (t > self.last) | t.isnan()).any()):
            raise InputError(
                f"time must lie in [{self.first:g}, {self.last:g}] or be {self.clean:g} (clean data), not {t.tolist()}"
            )
        below = t.clamp(min=0).floor().long()
        above = (below + 1).clamp(max=self.T - 1)
        logsnr = torch.lerp(self.logsnr[below], self.logsnr[above], (t - below).clamp(min=0))
        return preserving(t, logsnr.masked_fill(is_clean, math.inf))

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        rising = -self.logsnr
        above = torch.searchsorted(rising, -λ).clamp(1, self.T - 1) if self.T > 1 else torch.zeros_like(λ).long()
        below = (above - 1).clamp(min=0)
        gap = (rising[above] - rising[below]).clamp(min=torch.finfo(torch.float64).tiny)
        t = (below + (-λ - rising[below]) / gap).clamp(self.first, self.last)
        return t.masked_fill(λ == math.inf, self.clean)


@dataclass(frozen=True)
class Linear(Table):
    """Betas evenly spaced from `beta_start` to `beta_end` (DDPM, arXiv:2006.11239, section 4)."""

    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def betas(self) -> Tensor:
        return torch.linspace(self.beta_start, self.beta_end, self.T, dtype=torch.float64)


@dataclass(frozen=True)
class ScaledLinear(Table):
    """Square roots of the betas evenly spaced (latent diffusion, arXiv:2112.10752, released code)."""

    T: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def betas(self) -> Tensor:
        return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.T, dtype=torch.float64) ** 2


@dataclass(frozen=True)
class Quadratic(ScaledLinear):
    """What the code released with DDPM calls `quad`: the spacing of `ScaledLinear` between DDPM's own ends."""

    beta_start: float = 1e-4
    beta_end: float = 0.02


@dataclass(frozen=True)
class Cosine(Table):
    """`alpha_t² = f(t)/f(0)`, `f(t) = cos²((t/T + s)/(1 + s)·π/2)` (improved DDPM, arXiv:2102.09672, eq. 17).

    `s` is the `offset`; each beta is held below `max_beta`, so that the last step keeps a little signal.
    """

    T: int = 1000
    offset: float = 0.008
    max_beta: float = 0.999

    def betas(self) -> Tensor:
        t = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        f = torch.cos((t + self.offset) / (1 + self.offset) * math.pi / 2) ** 2
        return (1 - f[1:] / f[:-1]).clamp(max=self.max_beta)


@dataclass(frozen=True)
class Sigmoid(Table):
    """Betas along a sigmoid over (−6, 6), between `beta_start` and `beta_end` (GeoDiff, arXiv:2203.02923, its code)."""

    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def betas(self) -> Tensor:
        ramp = torch.linspace(-6, 6, self.T, dtype=torch.float64).sigmoid()
        return self.beta_start + ramp * (self.beta_end - self.beta_start)


@dataclass(frozen=True)
class VP:
    """The variance-preserving SDE with `beta(t) = beta_min + t·(beta_max − beta_min)`, t in [0, 1].

    `−log alpha_t² = t·beta_min + ½t²·(beta_max − beta_min)` (score SDE, arXiv:2011.13456, eq. 29 and 33). Networks are
    asked from `first` on, since λ has no bound at 0.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    first: float = 1e-3
    clean = 0.0
    last = 1.0
    T = None

    def __call__(self, t: Tensor) -> Level:
        if not (0 <= self.beta_min <= self.beta_max < math.inf and self.beta_max > 0 and 0 < self.first < 1):
            raise InputError(f"a VP schedule needs 0 ≤ beta_min ≤ beta_max, beta_max > 0 and 0 < first < 1, not {self}")
        t = t.to("cpu", torch.float64)
        if bool(((t < self.clean) | (t > self.last) | t.isnan()).any()):
            raise InputError(f"time must lie in [0, 1], not {t.tolist()}")
        log_alpha2 = -(t * self.beta_min + t**2 * (self.beta_max - self.beta_min) / 2)
        return preserving(t, log_alpha2 - torch.log(-torch.expm1(log_alpha2)))

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        decay = torch.nn.functional.softplus(-λ)  # −log alpha²
        root = (self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * decay).sqrt()
        t = (2 * decay / (self.beta_min + root)).clamp(self.first, self.last)
        return t.masked_fill(λ == math.inf, self.clean)
