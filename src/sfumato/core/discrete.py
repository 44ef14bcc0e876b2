"""The noise levels of samplers that visit a table of whole times, as diffusers' schedulers do."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.schedule import Schedule, Table
from sfumato.core.schedule.protocol import preserving
from sfumato.core.schedule.table import MAX_T
from sfumato.errors import InputError

NEARLY = 1e-4
"""So near to the whole time above, a time is cut to that: their tables are rounded to float32."""


@dataclass(frozen=True)
class DiscreteSpacing:
    """The levels that diffusers' schedulers visit on a table of whole times (arXiv:2305.08891, table 2).

    The arguments have diffusers' names where it has one.

    - `timestep_spacing`: the times, "linspace" evenly from the last to 0, rounded if `round_times`; "leading", whole
      strides up from `steps_offset`; "trailing", even strides down from the last (diffusers: `timestep_spacing`);
    - `steps_offset`: the lowest of the leading times, from 0 to T − 1;
    - `drop_last`: whether one more time is laid and the lowest left out;
    - `num_timesteps`: how many times of the table are visited, counted from the first; None for all T;
    - `sigmas`: how `σ = sigma/alpha` falls. "table": that of each time, linear in σ between whole times; "karras"
      (arXiv:2206.00364, eq. 5, rho 7), "exponential" (evenly in log σ) and "beta" (quantiles of Beta(0.6, 0.6),
      arXiv:2407.12173): between the ends of `sigma_range` (diffusers: `use_karras_sigmas` and the like);
    - `sigma_range`: "visited", the σ of the first and last of the times; "table", those of the whole table;
    - `sigma_min`, `sigma_max`: ends of σ that stand in for those of `sigma_range`, or None;
    - `time_input`: the time that the network receives where σ is not the table's: that at which the table has this σ,
      "exact", "rounded", or its "floor";
    - `final_sigma`: "zero", the trajectory ends in clean data; "sigma_min", with the noise of the first time left in
      (diffusers: `final_sigmas_type`);
    - `initial_std`: the standard deviation of the initial noise, "marginal", that of x_t for data of unit variance; or
      "sigma", that of the noise in x_t alone (k-diffusion).
    """

    timestep_spacing: Literal["linspace", "leading", "trailing"] = "leading"
    steps_offset: int = 0
    drop_last: bool = False
    round_times: bool = True
    num_timesteps: int | None = None
    sigmas: Literal["table", "karras", "exponential", "beta"] = "table"
    sigma_range: Literal["visited", "table"] = "visited"
    sigma_min: float | None = None
    sigma_max: float | None = None
    time_input: Literal["exact", "rounded", "floor"] = "exact"
    final_sigma: Literal["zero", "sigma_min"] = "zero"
    initial_std: Literal["marginal", "sigma"] = "marginal"

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        return torch.cat([level.t for level in self.levels(schedule, steps)[:-1]])

    def levels(self, schedule: Schedule, steps: int) -> list[Level]:
        if not isinstance(schedule, Table):
            raise InputError(f"a discrete spacing is laid on a schedule of whole times, and {schedule} is none")
        if not 0 <= self.steps_offset < schedule.T:
            raise InputError(f"the offset of a spacing must be from 0 to {schedule.T - 1:,}, not {self.steps_offset:,}")
        if self.num_timesteps is not None and abs(self.num_timesteps) > MAX_T:
            raise InputError(f"the times of a spacing are at most {MAX_T:,}, not {self.num_timesteps:,}")
        times = self._times(schedule, steps)
        if bool(((times < schedule.first) | (times > schedule.last)).any()):
            raise InputError(
                f"{steps:,} steps of {self} leave the times [{schedule.first:g}, {schedule.last:g}] of this schedule:"
                " take fewer, or no offset"
            )
        visited = self._visited(schedule, times)
        if bool((visited.logsnr.diff() <= 0).any()):
            raise InputError(f"{steps:,} steps of {self} do not all go to less noise: take fewer, or other ends")
        clean = torch.tensor([schedule.clean], dtype=torch.float64)
        last = schedule(clean if self.final_sigma == "zero" else clean * 0 + schedule.first)._replace(t=clean)
        return [Level(*fields) for fields in zip(*(field.split(1) for field in visited), strict=True)] + [last]

    def _times(self, schedule: Table, steps: int) -> Tensor:
        """The times, [steps], falling."""
        most = schedule.T if self.num_timesteps is None else self.num_timesteps
        if self.timestep_spacing == "trailing":
            return (most - schedule.T / steps * torch.arange(steps, dtype=torch.float64)).round() - 1
        count = steps + self.drop_last
        if self.timestep_spacing == "leading":
            rising = most // count * torch.arange(count, dtype=torch.float64) + self.steps_offset
        else:
            rising = torch.from_numpy(np.linspace(0.0, most - 1, count))  # exact at its end
            rising = rising.round() if self.round_times else rising
        return rising.flip(0)[:steps]

    def _visited(self, schedule: Table, times: Tensor) -> Level:
        """The levels at the times, or those of the law of σ between their ends."""
        if self.sigmas == "table" and bool((times == times.round()).all()):
            return schedule(times)
        table = torch.exp(-schedule.logsnr / 2)
        below = times.floor().long()
        above = (below + 1).clamp(max=schedule.T - 1)
        σ = torch.lerp(table[below], table[above], times - below)
        if not bool(σ.isfinite().all()):
            raise InputError(
                f"{self} needs sigma/alpha to have a bound, and pure noise has none: let some signal remain"
            )
        if self.sigmas == "table":
            return preserving(times, -2 * σ.log())
        ends = (σ[0], σ[-1]) if self.sigma_range == "visited" else (table[-1], table[0])
        high, low = (float(end if given is None else given) for end, given in zip(ends, self._given(), strict=True))
        if not 0 < low < high < math.inf and len(times) > 1:
            raise InputError(f"{self} needs 0 < sigma_min < sigma_max, and has {low:g} and {high:g}")
        λ = -2 * _between(self.sigmas, high, low, len(times)).log()
        t = schedule.inverse(λ)
        if self.time_input != "exact":
            t = t.round() if self.time_input == "rounded" else (t + NEARLY).floor()
        return preserving(t, λ)

    def _given(self) -> tuple[float | None, float | None]:
        return self.sigma_max, self.sigma_min


@dataclass(frozen=True)
class DistilledSpacing:
    """Times among the `original_steps` evenly laid ones that a consistency model was distilled at, from the last down,
    as evenly as may be (latent consistency models, arXiv:2310.04378, section 4.3 and its code)."""

    original_steps: int = 50

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        if schedule.T is None or not 1 <= self.original_steps <= schedule.T:
            raise InputError(
                f"{self.original_steps} times of distillation must lie on a table of as many or more, not {schedule}"
            )
        if steps > self.original_steps:
            raise InputError(
                f"a model distilled at {self.original_steps} times is drawn from in at most as many steps, not {steps}"
            )
        stride = schedule.T // self.original_steps
        place = (torch.arange(steps, dtype=torch.float64) * (self.original_steps / steps)).floor()
        return (self.original_steps - place) * stride - 1


def _between(law: str, high: float, low: float, steps: int) -> Tensor:
    """`steps` falling values of σ."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    if law == "karras":
        return (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    if law == "exponential":
        return torch.exp(math.log(high) + ramp * (math.log(low) - math.log(high)))
    return low + _beta_quantile(1 - ramp, 0.6) * (high - low)


def _beta_quantile(p: Tensor, a: float) -> Tensor:
    """The quantiles of Beta(a, a), by halving: its distribution is `x^a/B·∑_n (1−a)_n/n!·x^n/(a + n)` up to 1/2, and
    symmetric."""
    n = torch.arange(64, dtype=torch.float64)
    rising = torch.lgamma(1 - a + n) - math.lgamma(1 - a) - torch.lgamma(n + 1)
    terms = rising.exp() / (a + n) / math.exp(2 * math.lgamma(a) - math.lgamma(2 * a))
    tail = torch.minimum(p, 1 - p)
    low, high = torch.zeros_like(p), torch.full_like(p, 0.5)
    for _ in range(80):
        x = (low + high) / 2
        less = (terms * x[:, None] ** (a + n)).sum(1) < tail
        low, high = torch.where(less, x, low), torch.where(less, high, x)
    x = torch.where(tail > 0, (low + high) / 2, 0.0)
    return torch.where(p <= 0.5, x, 1 - x)
