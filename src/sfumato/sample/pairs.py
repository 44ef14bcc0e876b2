"""DPM-Solver++ 2S on a grid that holds the middles of its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.sample.dpm import check_eta, check_form, slope_weight, weights
from sfumato.sample.driver import Progress, at_start


class Half(NamedTuple):
    """Steps half done: the samples where they began, their level, the x_0 found there, and which are not done, [b]."""

    x: Tensor
    level: Level
    x0: Tensor
    open: Tensor


class PairState(NamedTuple):
    """The first of two steps, if one was made; and how far the trajectory is."""

    half: Half | None
    progress: Progress


@dataclass(frozen=True)
class DPMSolverPairs:
    """The single-step form of second order (DPM-Solver++, arXiv:2211.01095, algorithm 1), in steps that go in pairs:
    one of first order to the middle, and one from where that began, with the estimates of both. One evaluation a step.

    The middle lies wherever the grid has it, which need not be half-way in λ. A step onto clean data, and with
    `lower_final` any last one, is of first order. `eta` and `form` are those of `DPMSolver`.
    """

    eta: float = 0.0
    form: Literal["midpoint", "heun"] = "midpoint"
    lower_final: bool = False

    @property
    def min_steps(self) -> int:
        return 3  # the last step is of first order

    def init(self, x: Tensor, levels: Sequence[Level]) -> PairState:
        return PairState(None, at_start(levels))

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: PairState, noise: Noise
    ) -> tuple[Tensor, PairState]:
        check_eta(self.eta)
        check_form(self.form)
        x0 = denoiser(x, now).x0
        here = Half(x, now, x0, torch.ones(1, dtype=torch.bool))
        half, progress = state.half, state.progress.next()
        if half is None or (self.lower_final and state.progress.remaining <= 1):
            return self._moved(x, here, then, noise), PairState(here, progress)
        second = half.open & (then.sigma > 0) & half.level.logsnr.isfinite()
        start = _where(second, half, here)
        h, part = then.logsnr - start.level.logsnr, now.logsnr - start.level.logsnr
        h, part = torch.where(second, h, 1.0), torch.where(second, part, 1.0)
        weight = then.alpha * slope_weight((1 + self.eta) * h / 2, self.form) * h / part
        x_s = self._moved(x, start, then, noise) + like(torch.where(second, weight, 0.0), x) * (x0 - start.x0)
        return x_s, PairState(here._replace(open=~second), progress)

    def _moved(self, x: Tensor, start: Half, then: Level, noise: Noise) -> Tensor:
        """The step of first order from `start`."""
        mean, data, std = weights(start.level, then, self.eta)
        x_s = like(mean, x) * start.x + like(data, x) * start.x0
        return x_s + like(std, x) * noise.like(x) if bool((std > 0).any()) else x_s


def _where(which: Tensor, this: Half, other: Half) -> Half:
    """One or the other, for each sample."""
    x, x0 = (torch.where(like(which, one).bool(), one, two) for one, two in ((this.x, other.x), (this.x0, other.x0)))
    level = Level(*(torch.where(which, one, two) for one, two in zip(this.level, other.level, strict=True)))
    return Half(x, level, x0, which)
