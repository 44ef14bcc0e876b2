"""Ordinary differential equations solved to a tolerance: Dormand and Prince's pair of orders 5 and 4.

Each sample goes at its own pace, by steps of its own size, so that its solution does not depend on its neighbours.
"""

from typing import NamedTuple, NoReturn, Protocol

import torch
from torch import Tensor

from sfumato.core.level import like
from sfumato.errors import InputError, NonFiniteError

ODEState = tuple[Tensor, ...]
"""The solution: one part or more, each [b, *d] of its own."""

STAGES = (
    (1 / 5, (1 / 5,)),
    (3 / 10, (3 / 40, 9 / 40)),
    (4 / 5, (44 / 45, -56 / 15, 32 / 9)),
    (8 / 9, (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729)),
    (1, (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656)),
    (1, (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)),
)
"""How much of the step each stage after the first has gone, and its weights of the slopes before it. The last stage is
the solution of order 5 (Dormand & Prince, A family of embedded Runge-Kutta formulae, 1980, table 2, RK5(4)7M)."""

ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""The weights of all seven slopes in the difference between the solutions of order 5 and 4."""

OPENING = 0.01
"""The first step tried, as a share of the way; one that is too long is tried again, shorter."""

SMALLEST = 1e-10
"""The shortest step, as a share of the way: a solution that needs a shorter one is given up."""


class Slope(Protocol):
    """Times, [b], float64 on the CPU, and the state there → how fast each part of it changes, shaped as the state."""

    def __call__(self, t: Tensor, state: ODEState, /) -> ODEState: ...


class Solution(NamedTuple):
    """The `state` at the end, and how often the slope of each sample was asked for on the way, `evaluations` [b]."""

    state: ODEState
    evaluations: Tensor


def integrate(
    slope: Slope, state: ODEState, start: Tensor, end: Tensor, rtol: float = 1e-5, atol: float = 1e-5
) -> Solution:
    """Solve `d state/dt = slope(t, state)` from `start` to `end`, each [b] or [1], forwards or backwards.

    A step counts when in every part the root mean square of `error/(atol + rtol·|state|)` is at most 1. The step after
    has `0.9·that^(−1/5)` times its length, within 1/5 and 10 (Hairer, Nørsett & Wanner, Solving Ordinary Differential
    Equations I, eq. II.4.10 to 4.13). A sample at its end stays there.

    A slope that is not finite is a `NonFiniteError`, a tolerance that no step meets an `InputError`; both name the
    time.
    """
    if not (rtol >= 0 and atol > 0):
        raise InputError(f"a tolerance needs rtol from 0 and atol above 0, not rtol = {rtol} and atol = {atol}")
    b = len(state[0])
    t, end = (time.to("cpu", torch.float64).expand(b) for time in (start, end))
    way = end - t
    step, here = OPENING * way, slope(t, state)
    evaluations = torch.ones(b, dtype=torch.int64)
    while bool((t != end).any()):
        evaluations += len(STAGES) * (t != end)
        is_last = step.abs() >= (end - t).abs()
        step = torch.where(is_last, end - t, step)
        trial, there, error = dormand_prince(slope, t, step, state, here)
        size = _size(error, state, trial, rtol, atol)
        good = size <= 1
        state, here = _where(good, trial, state), _where(good, there, here)
        t = torch.where(good, torch.where(is_last, end, t + step), t)
        step = step * (0.9 * size ** (-1 / 5)).clamp(1 / 5, 10)
        if bool((stuck := ~good & (step.abs() < SMALLEST * way.abs())).any()):
            i = int(stuck.nonzero()[0])
            place = f"t = {t[i]:g} (of {end[i] - way[i]:g} to {end[i]:g})"
            _give_up(
                place, f"in sample {i} and {int(stuck.sum()) - 1} more of {b}", bool(size[i].isfinite()), rtol, atol
            )
    return Solution(state, evaluations)


def dormand_prince(
    slope: Slope, t: Tensor, step: Tensor, state: ODEState, here: ODEState
) -> tuple[ODEState, ODEState, ODEState]:
    """One step from t, both [b], where the slope is `here` → the state after it, the slope there, and an estimate of
    the error."""
    after, slopes = state, [here]
    for share, weights in STAGES:
        after = _moved(state, step, weights, slopes)
        slopes.append(slope(t + share * step, after))
    still = tuple(torch.zeros_like(part) for part in state)
    return after, slopes[-1], _moved(still, step, ERROR, slopes)


def _moved(state: ODEState, step: Tensor, weights: tuple[float, ...], slopes: list[ODEState]) -> ODEState:
    """`state + step·∑ weight·slope`."""
    return tuple(
        part + like(step, part) * sum(weight * one for weight, one in zip(weights, ones, strict=True) if weight)
        for part, *ones in zip(state, *slopes, strict=True)
    )


def _size(error: ODEState, before: ODEState, after: ODEState, rtol: float, atol: float) -> Tensor:
    """How large the error is where the tolerance is 1, [b]: that of the worst part. Infinite where it is no number."""
    sizes = []
    for e, x, y in zip(error, before, after, strict=True):
        share = e / (atol + rtol * torch.maximum(x.abs(), y.abs()))
        sizes.append((share**2).reshape(len(e), -1).mean(1).sqrt().to("cpu", torch.float64))
    return torch.stack(sizes).amax(0).nan_to_num(nan=torch.inf)


def _where(good: Tensor, new: ODEState, old: ODEState) -> ODEState:
    rows = (good.to(part.device).reshape(-1, *[1] * (part.ndim - 1)) for part in new)
    return tuple(torch.where(row, a, b) for row, a, b in zip(rows, new, old, strict=True))


def _give_up(place: str, samples: str, is_finite: bool, rtol: float, atol: float) -> NoReturn:
    """Raise for samples whose steps have become so short that they stand still."""
    if not is_finite:
        raise NonFiniteError(f"the slope is not finite at {place}, {samples}: try float32, or less guidance")
    raise InputError(
        f"no step from {place} meets the tolerance rtol = {rtol:g}, atol = {atol:g}, {samples}: ask for less, or"
        " compute in float64"
    )
