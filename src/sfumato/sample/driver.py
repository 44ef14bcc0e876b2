"""The sampling loop, shared by all samplers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Schedule
from sfumato.core.token_estimate import TokenEstimate
from sfumato.denoise import DenoiserLike, TokenDenoiserLike
from sfumato.errors import InputError, NonFiniteError, quoted

State = TypeVar("State")
MAX_REPEATS = 1_000
MAX_EVALUATIONS = 1_000_000
"""How often a sampler may evaluate the network for one sample, in a step and in all: more is never meant."""

StatelessStep = tuple[Tensor, None]
"""The samples, and the state of a sampler that has none."""


class Progress(NamedTuple):
    """How many `steps` a trajectory has, and how many of them are `done`: for samplers whose steps are not all
    alike."""

    done: int
    steps: int

    @property
    def remaining(self) -> int:
        """How many steps are left, the present one among them."""
        return self.steps - self.done

    def next(self) -> "Progress":
        return self._replace(done=self.done + 1)


def at_start(levels: Sequence[Level]) -> Progress:
    """The progress before the first step along `levels`."""
    return Progress(0, len(levels) - 1)


@runtime_checkable
class Sampler(Protocol[State]):
    """One rule for a step from a level to the next. It has no memory of its own: it returns its state, and receives
    it."""

    @property
    def min_steps(self) -> int:
        """The fewest steps onto clean data in which one of them is of the sampler's order: with fewer, a solver of high
        order would be one of low order, unnoticed."""
        ...

    def init(self, x: Tensor, levels: Sequence[Level]) -> State:
        """The state of samples x, [b, *d], before the first step along `levels`, of which x stands at the first."""
        ...

    # a sampler of numbers takes a DenoiserLike, one of tokens a TokenDenoiserLike
    def step(
        self, denoiser: Any, x: Tensor, now: Level, then: Level, state: State, noise: Noise
    ) -> tuple[Tensor, State]:
        """x [b, *d] at level `now` → samples at level `then`, and the new state. The denoiser knows its condition."""
        ...


class Stateless:
    """Samplers that remember nothing."""

    @property
    def min_steps(self) -> int:
        return 1

    def init(self, x: Tensor, levels: Sequence[Level]) -> None:
        return None


@dataclass(frozen=True)
class Conditioned:
    """A denoiser as the sampler asks it: under its condition, and of what the sampler draws, numbers or tokens
    (`sampler.draws`, numbers where it says nothing); another is an `InputError`."""

    denoiser: DenoiserLike | TokenDenoiserLike
    condition: Condition
    sampler: Sampler[Any]

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Any:
        estimate = self.denoiser(x_t, level, self.condition)
        predicts, draws = _kind(estimate), getattr(self.sampler, "draws", "numbers")
        if predicts != draws:
            known = "token-ancestral or confidence-unmasking" if predicts == "tokens" else "ddim"
            raise InputError(
                f"{quoted(self.sampler)} draws {draws}, and this denoiser predicts {predicts}: take {known}"
            )
        return estimate


def _kind(estimate: Any) -> str:
    return "tokens" if isinstance(estimate, TokenEstimate) else "numbers"


def sample(
    denoiser: DenoiserLike | TokenDenoiserLike,
    sampler: Sampler[State],
    x: Tensor,
    levels: Sequence[Level],
    condition: Condition = Condition(),
    *,
    noise: Noise,
) -> Iterator[Tensor]:
    """Samples after each step of a trajectory; the last of them are the result.

    - `denoiser`: of numbers or, for samplers of tokens, of tokens; it is asked under `condition`;
    - `x` [b, *d]: samples at `levels[0]`;
    - `levels`: the levels visited, of falling noise, each [b] or [1] (`grid.levels`);
    - `noise`: of b seeds, for the noise that samplers add.

    Stopping early is stopping the iteration. Levels from which no step can start, and too few steps for the order of
    the sampler, are an `InputError`; a sample that leaves the finite numbers is a `NonFiniteError` that names the step
    and the time.
    """
    check_steps(sampler, len(levels) - 1)
    check_evaluations(sampler, len(levels) - 1)
    if any(not bool((level.sigma > 0).all()) for level in levels[:-1]):
        raise InputError("a step cannot start from clean data (sigma 0): leave that level out, or put it last")
    conditioned, state = Conditioned(denoiser, condition, sampler), sampler.init(x, levels)
    for step, (now, then) in enumerate(pairwise(levels), start=1):
        with torch.no_grad():
            x, state = sampler.step(conditioned, x, now, then, state, noise)
        if not bool(x.isfinite().all()):
            bad = [i for i, one in enumerate(x) if not bool(one.isfinite().all())]
            t = float(now.t.expand(len(x))[bad[0]])
            raise NonFiniteError(
                f"step {step} of {len(levels) - 1} (from t = {t:g}) gave a number that is not finite,"
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
    """Raise an `InputError` if a sampler that repeats something within a step, `repeats` times, would never end."""
    repeats = getattr(sampler, "repeats", 1)
    if repeats > MAX_REPEATS or repeats * steps > MAX_EVALUATIONS:
        raise InputError(
            f"{quoted(sampler)} asks the network {repeats:,} times a step, in {steps:,} steps: at most"
            f" {MAX_REPEATS:,} a step and {MAX_EVALUATIONS:,} in all can be drawn with; take fewer"
        )
