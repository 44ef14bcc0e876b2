"""The loop that every sampler shares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Schedule
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, NonFiniteError, quoted

State = TypeVar("State")
MAX_REPEATS = 1_000
MAX_EVALUATIONS = 1_000_000
"""How often a sampler may ask the network about one sample, in a move and in all: more is never meant."""

StatelessStep = tuple[Tensor, None]
"""What a sampler that remembers nothing hands back."""


@runtime_checkable
class Sampler(Protocol[State]):
    """One rule for moving samples from a level to the next. What it must remember, it hands back as its state."""

    @property
    def min_steps(self) -> int:
        """The fewest moves onto clean data in which one of them is what the sampler promises: with fewer, a solver of
        high order would be one of low order, and not say so."""
        ...

    def init(self, x: Tensor) -> State:
        """The state before the first move."""
        ...

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: State, noise: Noise
    ) -> tuple[Tensor, State]:
        """x [b, *d] at level `now` → samples at level `then`, and the new state. The denoiser knows its condition."""
        ...


class Stateless:
    """What samplers that remember nothing have in common."""

    @property
    def min_steps(self) -> int:
        return 1

    def init(self, x: Tensor) -> None:
        return None


@dataclass(frozen=True)
class Conditioned:
    """A denoiser with its condition, so that who asks need not know of it; and how far the walk is: `step` of `steps`
    are done."""

    denoiser: DenoiserLike
    condition: Condition
    step: int = 0
    steps: int | None = None

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        return self.denoiser(x_t, level, self.condition)


def steps_done(denoiser: DenoiserLike) -> int | None:
    """How many moves of the walk are made; None outside of one."""
    return denoiser.step if isinstance(denoiser, Conditioned) and denoiser.steps is not None else None


def steps_remaining(denoiser: DenoiserLike) -> int | None:
    """How many moves of the walk are left, the present one among them; None outside of one."""
    return denoiser.steps - denoiser.step if isinstance(denoiser, Conditioned) and denoiser.steps is not None else None


def sample(
    denoiser: DenoiserLike,
    sampler: Sampler[State],
    x: Tensor,
    levels: Sequence[Level],
    condition: Condition = Condition(),
    *,
    noise: Noise,
) -> Iterator[Tensor]:
    """Walk samples x, [b, *d], along `levels`; yields them after each move, so the last yield is the result.

    x must stand at `levels[0]`. Stopping early is stopping the iteration. A sample that leaves the finite numbers is a
    `NonFiniteError` that names the step and the time.
    """
    check_steps(sampler, len(levels) - 1)
    check_evaluations(sampler, len(levels) - 1)
    if any(not bool((level.sigma > 0).all()) for level in levels[:-1]):
        raise InputError("a move cannot start from clean data (sigma 0): leave that level out, or put it last")
    state, steps = sampler.init(x), len(levels) - 1
    for step, (now, then) in enumerate(pairwise(levels), start=1):
        conditioned = Conditioned(denoiser, condition, step - 1, steps)
        with torch.no_grad():
            x, state = sampler.step(conditioned, x, now, then, state, noise)
        if not bool(x.isfinite().all()):
            bad = [i for i, one in enumerate(x) if not bool(one.isfinite().all())]
            t = float(now.t.expand(len(x))[bad[0]])
            raise NonFiniteError(
                f"step {step} of {steps} (from t = {t:g}) gave a number that is not finite,"
                f" in sample {bad[0]} and {len(bad) - 1} more of {len(x)}: try float32, or less guidance"
            )
        yield x


def check_steps(sampler: Sampler[Any], steps: int) -> None:
    """Raise an `InputError` if the sampler needs more steps than these to be of its order."""
    if steps < sampler.min_steps:
        raise InputError(
            f"{sampler} needs at least {sampler.min_steps} steps to be of its order, not {steps}: take more steps, a"
            " lower order, or ddim, which needs 1"
        )


def check_evaluations(sampler: Sampler[Any], steps: int) -> None:
    """Raise an `InputError` if a sampler that repeats something within a move, `repeats` times, would never end."""
    repeats = getattr(sampler, "repeats", 1)
    if repeats > MAX_REPEATS or repeats * steps > MAX_EVALUATIONS:
        raise InputError(
            f"{quoted(sampler)} asks the network {repeats:,} times a step, in {steps:,} steps: at most"
            f" {MAX_REPEATS:,} a step and {MAX_EVALUATIONS:,} in all can be drawn with; take fewer"
        )
