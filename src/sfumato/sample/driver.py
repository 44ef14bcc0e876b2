"""The loop that every sampler shares."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, NonFiniteError

S = TypeVar("S")


@runtime_checkable
class Sampler(Protocol[S]):
    """One rule for moving samples from a level to the next. What it must remember, it hands back as its state."""

    def init(self, x: Tensor) -> S: ...

    def step(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        now: Level,
        then: Level,
        condition: Condition,
        state: S,
        noise: Noise,
    ) -> tuple[Tensor, S]:
        """x [b, *d] at level `now` → samples at level `then`, and the new state."""
        ...


def sample(
    denoiser: DenoiserLike,
    sampler: Sampler[S],
    x: Tensor,
    levels: Sequence[Level],
    condition: Condition = Condition(),
    *,
    noise: Noise,
) -> Iterator[Tensor]:
    """Walk samples x, [b, *d], along `levels`; yields them after each move, so the last yield is the result.

    x must stand at `levels[0]`. Stopping early is stopping the iteration. A sample that leaves the finite numbers is a
    `NonFiniteError` that names the move and the time.
    """
    if any(not bool((level.sigma > 0).all()) for level in levels[:-1]):
        raise InputError("a move cannot start from clean data (sigma 0): leave that level out, or put it last")
    state = sampler.init(x)
    for move, (now, then) in enumerate(pairwise(levels), start=1):
        with torch.no_grad():
            x, state = sampler.step(denoiser, x, now, then, condition, state, noise)
        if not bool(x.isfinite().all()):
            bad = [i for i, one in enumerate(x) if not bool(one.isfinite().all())]
            t = float(now.t.expand(len(x))[bad[0]])
            raise NonFiniteError(
                f"move {move} of {len(levels) - 1} (from t = {t:g}) gave a number that is not finite,"
                f" in sample {bad[0]} and {len(bad) - 1} more of {len(x)}: try float32, or less guidance"
            )
        yield x
