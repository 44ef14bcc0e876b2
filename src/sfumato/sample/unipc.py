"""UniPC (arXiv:2302.04867): a predictor of any order, and a corrector that costs no evaluation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sfumato.core.level import Level, like, logsnr_change
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.sample.driver import Progress, at_start
from sfumato.sample.steps import History, Past, solve_moments


class UniPCState(NamedTuple):
    """The samples before the last step and the level they stood at, None before the first; the steps before, the newest
    first, as λ and x_0; and how far the trajectory is."""

    x: Tensor | None
    level: Level | None
    past: History
    progress: Progress


@dataclass(frozen=True)
class UniPC:
    """`x_s = (sigma_s/sigma_t)·x_t − alpha_s·(exp(−h) − 1)·x_0 − alpha_s·B(h)·∑_k ρ_k·(x_0^k − x_0)/r_k`
    (UniPC, arXiv:2302.04867, eq. 3, 7 and 10, for the prediction of x_0; `h` as in DPM-Solver++).

    The ρ are those of algorithm 1 and 2 for `order` 1, 2 or 3 with `b` "bh1", `B = −h`, or "bh2", `B = exp(−h) − 1`. B
    matters only where ρ is a single one, which the paper sets to 1/2: where ρ is solved for, B cancels.

    Once x_0 is known at the new samples, the corrector improves the step that led to them, and the next starts there.
    The order of the trajectory is one above `order`, and no more than 3 from a cold start, whose first step has two
    estimates to go by; one evaluation a step. Steps onto clean data and from pure noise are of first order.

    `uncorrected` are steps, counted from 0, that are left as they were predicted. With `lower_final` the order falls by
    one a step at the end, to 1 in the last.
    """

    order: int = 2
    b: Literal["bh1", "bh2"] = "bh2"
    uncorrected: tuple[int, ...] = ()
    lower_final: bool = False

    @property
    def min_steps(self) -> int:
        return max(self.order + 1, 3)  # the last step is of first order, and its start needs no correction

    def init(self, x: Tensor, levels: Sequence[Level]) -> UniPCState:
        return UniPCState(None, None, (), at_start(levels))

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: UniPCState, noise: Noise
    ) -> tuple[Tensor, UniPCState]:
        if self.order not in (1, 2, 3):
            raise InputError(f"the order of unipc must be 1, 2 or 3, not {self.order}")
        if self.b not in ("bh1", "bh2"):
            raise InputError(f"the b of unipc must be bh1 or bh2, not {self.b}")
        here = Past(now.logsnr / 2, denoiser(x, now).x0)
        done, remaining = state.progress.done, max(state.progress.remaining, 1)
        if state.x is not None and state.level is not None and done - 1 not in self.uncorrected:
            x = self._move(state.x, state.level, now, state.past, here)
        order = min(self.order, remaining) if self.lower_final else self.order
        past = (here, *state.past[: order - 1])
        return self._move(x, now, then, past, None), UniPCState(x, now, past, state.progress.next())

    def _move(self, x: Tensor, now: Level, then: Level, past: History, new: Past | None) -> Tensor:
        """The predictor's step from `past`, or, with the evaluation `new` at its end, the corrector's."""
        (λ, x0), *others = past
        h = logsnr_change(now, then) / 2
        x_s = like(then.sigma / now.sigma, x) * x + like(then.alpha * -torch.expm1(-h), x) * x0
        others = [new, *others] if new is not None else others
        bounded = h.isfinite()
        if not others or not bool(bounded.any()):
            return x_s
        h = torch.where(bounded, h, 1.0)
        gaps = (torch.where(bounded, (one.place - λ) / h, -math.inf) for one in others)
        places = torch.stack(torch.broadcast_tensors(*gaps), 1)
        if new is not None:
            places[:, 0] = 1.0  # exactly, for the end of the step itself
        weights = self._rho(h.expand(len(places)), places) / places
        scale = torch.where(bounded, then.alpha * self._b(-h), 0.0)
        for weight, one in zip(weights.unbind(1), others, strict=True):
            x_s = x_s - like(scale * weight, x) * (one.slope - x0)
        return x_s

    def _b(self, hh: Tensor) -> Tensor:
        return hh if self.b == "bh1" else torch.expm1(hh)

    def _rho(self, h: Tensor, places: Tensor) -> Tensor:
        """The ρ of each of `places`, [b, k]: `∑_k ρ_k·r_k^(i−1) = i!·φ_{i+1}(h)/B(h)`, or 1/2 for a single one."""
        if places.shape[1] == 1:
            return torch.full_like(places, 0.5)
        hh, factorial, moments = -h, 1.0, []
        φ = torch.expm1(hh) / hh - 1
        for i in range(1, places.shape[1] + 1):
            moments.append(φ * factorial / self._b(hh))
            factorial *= i + 1
            φ = φ / hh - 1 / factorial
        return solve_moments(places, torch.stack(moments, 1))
