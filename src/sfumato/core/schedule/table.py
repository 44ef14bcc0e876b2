"""Schedules of T whole times, tabulated.

Every one preserves variance, `alpha² + sigma² = 1`, so that one number a time is enough: the log signal-to-noise ratio
`λ(t)`, with `alpha² = sigmoid(λ)` and `sigma² = sigmoid(−λ)`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sfumato.core.defaults import torch_defaults
from sfumato.core.level import Level
from sfumato.core.schedule.protocol import Schedule, preserving, root_sigmoid, within
from sfumato.errors import InputError

MAX_T = 1_000_000


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

    def log_alpha2(self) -> Tensor:
        """`log alpha_t²` at the whole times 0 … T−1, float64 [T], falling."""
        betas = self.betas()
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise InputError(f"betas must lie between 0 and 1: {self._name} has {betas.min():g} to {betas.max():g}")
        return torch.log1p(-betas).cumsum(0)

    @cached_property
    @torch_defaults()  # it is kept for later, when gradients may be wanted
    def logsnr(self) -> Tensor:
        """λ at the whole times 0 … T−1, float64 [T], falling; the last may be −∞."""
        if not 1 <= self.T <= MAX_T:
            raise InputError(f"the T of a schedule must be from 1 to {MAX_T:,}, not {self.T:,}")
        log_alpha2 = self.log_alpha2()
        return log_alpha2 - torch.log(-torch.expm1(log_alpha2))

    def __call__(self, t: Tensor) -> Level:
        λ = self.logsnr
        t, is_clean = within(self, t)
        below = t.clamp(min=0).floor().long()
        above = (below + 1).clamp(max=self.T - 1)
        share = (t - below).clamp(min=0)
        between = torch.lerp(λ[below], λ[above], share)
        # towards pure noise there is no straight line in λ: alpha falls to 0 along one instead
        to_nothing = _logsnr(root_sigmoid(λ[below]) * (1 - share))
        between = torch.where(λ[above] == -math.inf, to_nothing, between)
        return preserving(t, torch.where(share == 0, λ[below], between).masked_fill(is_clean, math.inf))

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        rising = -self.logsnr
        above = torch.searchsorted(rising, -λ).clamp(1, self.T - 1) if self.T > 1 else torch.zeros_like(λ).long()
        below = (above - 1).clamp(min=0)
        gap = (rising[above] - rising[below]).clamp(min=torch.finfo(torch.float64).tiny)
        share = (-λ - rising[below]) / gap
        to_nothing = 1 - root_sigmoid(λ) / root_sigmoid(-rising[below])
        share = torch.where(rising[above] == math.inf, to_nothing, share)
        return (below + share).clamp(self.first, self.last).masked_fill(λ == math.inf, self.clean)

    @property
    def _name(self) -> str:
        """The schedule in a word, for errors: a table given in full would fill the screen."""
        text = repr(self)
        return text if len(text) <= 120 else f"{type(self).__name__} of T = {self.T:,}"


def _logsnr(alpha: Tensor) -> Tensor:
    return 2 * alpha.log() - torch.log1p(-(alpha**2))


@dataclass(frozen=True)
class Linear(Table):
    """The linear schedule: betas evenly spaced from `beta_start` to `beta_end` (DDPM, arXiv:2006.11239, section 4)."""

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
        start, end = (max(beta, 0.0) ** 0.5 for beta in (self.beta_start, self.beta_end))  # below 0 is refused as 0
        return torch.linspace(start, end, self.T, dtype=torch.float64) ** 2


@dataclass(frozen=True)
class Quadratic(ScaledLinear):
    """`quad` of the code released with DDPM: the spacing of `ScaledLinear` between DDPM's own ends."""

    beta_start: float = 1e-4
    beta_end: float = 0.02


@dataclass(frozen=True)
class Cosine(Table):
    """The cosine schedule: `alpha_t² = f(t)/f(0)`, `f(t) = cos²((t/T + s)/(1 + s)·π/2)` (improved DDPM,
    arXiv:2102.09672, eq. 17).

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
class Betas(Table):
    """The betas as they are given, one a time: a trained model's own."""

    given: tuple[float, ...]

    @property
    def T(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self.given)

    def betas(self) -> Tensor:
        return torch.tensor(self.given, dtype=torch.float64)


@dataclass(frozen=True)
class AlphasCumprod(Table):
    """`alpha_t²` as it is given for each time, falling and within (0, 1): diffusers' alphas_cumprod."""

    given: tuple[float, ...]

    @property
    def T(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self.given)

    def log_alpha2(self) -> Tensor:
        alpha2 = torch.tensor(self.given, dtype=torch.float64)
        if not bool(((alpha2 > 0) & (alpha2 < 1)).all()) or not bool((alpha2.diff() < 0).all()):
            raise InputError(
                f"alphas_cumprod must fall, within 0 and 1: these {self.T:,} go from {alpha2.max():g} to"
                f" {alpha2.min():g}, or not always down"
            )
        return alpha2.log()


@dataclass(frozen=True)
class ZeroTerminal(Table):
    """Another `table` rescaled to end in pure noise (arXiv:2305.08891, algorithm 1).

    `alpha_t ← (alpha_t − alpha_{T−1})·alpha_0/(alpha_0 − alpha_{T−1})`: the first time stays, the last has alpha 0, or
    `alpha² = terminal_alpha2`. Tools whose solvers divide by alpha leave it 2^−24.
    """

    table: Schedule
    terminal_alpha2: float = 0.0

    @property
    def T(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        if not isinstance(self.table, Table) or self.table.T < 2:
            raise InputError(
                f"only a table of two times or more can be rescaled to end in pure noise, not {self.table}"
            )
        return self.table.T

    def log_alpha2(self) -> Tensor:
        assert isinstance(self.table, Table)
        if not 0 <= self.terminal_alpha2 < 1:
            raise InputError(f"terminal_alpha2 must be from 0 to below 1, not {self.terminal_alpha2}")
        alpha = root_sigmoid(self.table.logsnr)
        log_alpha2 = 2 * ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])).log()
        log_alpha2[-1] = math.log(self.terminal_alpha2) if self.terminal_alpha2 else -math.inf
        return log_alpha2
