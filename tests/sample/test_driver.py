"""The loop: one yield a step, nothing asked before it is wanted, and no number that is not finite."""

import math
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import TrailingSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Linear
from sfumato.denoise import DenoiserLike
from sfumato.errors import NonFiniteError
from sfumato.sample import DDIM, Ancestral, sample

SCHEDULE = Linear(T=100)


class Spy:
    """Believes that the data is zero, unless other answers are given; records its arguments."""

    schedule = SCHEDULE

    def __init__(self, bad: dict[int, tuple[int, float]] | None = None) -> None:
        self.bad = bad or {}
        self.asked: list[tuple[float, Condition]] = []

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.asked.append((level.t[0].item(), condition))
        x0 = torch.zeros_like(x_t)
        if len(self.asked) in self.bad:
            row, value = self.bad[len(self.asked)]
            x0[row] = value
        return Estimate(x_t, level, x0)


def trajectory(
    denoiser: DenoiserLike, steps: int = 5, b: int = 3, condition: Condition = Condition()
) -> Iterator[Tensor]:
    noise = Noise(range(b))
    return sample(denoiser, DDIM(), noise(2), levels(SCHEDULE, TrailingSpacing(), steps), condition, noise=noise)


@pytest.mark.parametrize("steps", [1, 2, 5, 100])
def test_each_step_is_one_yield_and_one_evaluation(steps: int) -> None:
    spy = Spy()
    found = list(trajectory(spy, steps))
    assert len(found) == len(spy.asked) == steps
    assert [t for t, _ in spy.asked] == [level.t.item() for level in levels(SCHEDULE, TrailingSpacing(), steps)[:-1]]
    assert torch.equal(found[-1], torch.zeros(3, 2))
    assert all(x.shape == (3, 2) for x in found)


def test_nothing_is_asked_before_it_is_wanted() -> None:
    spy = Spy()
    states = trajectory(spy)
    assert not spy.asked
    next(states)
    next(states)
    assert len(spy.asked) == 2
    assert isinstance(states, Generator)
    states.close()
    assert list(states) == [] and len(spy.asked) == 2


def test_the_condition_reaches_every_question() -> None:
    spy, condition = Spy(), Condition(vector=torch.ones(3, 1))
    list(trajectory(spy, condition=condition))
    assert all(given is condition for _, given in spy.asked)


def test_no_gradient_is_kept_of_a_trajectory_though_it_may_be_taken_around_one() -> None:
    weight = torch.ones(1, requires_grad=True)

    class Learns(Spy):
        def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
            return Estimate(x_t, level, weight * x_t)

    for x in trajectory(Learns()):
        assert not x.requires_grad
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("nth", "time"), [(1, 99), (3, 59), (5, 19)])
def test_a_number_that_is_not_finite_stops_the_trajectory_and_says_where(value: float, nth: int, time: int) -> None:
    states = trajectory(Spy({nth: (1, value)}))
    for _ in range(nth - 1):
        next(states)
    message = rf"step {nth} of 5 \(from t = {time}\) gave a number that is not finite, in sample 1 and 0 more of 3: try"
    with pytest.raises(NonFiniteError, match=message):
        next(states)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_infinity_is_no_better_than_nan(value: float) -> None:
    class Leaves(DDIM):
        """A sampler that leaves the numbers in one element of two samples."""

        def step(self, denoiser: DenoiserLike, x: Tensor, *rest: Any) -> tuple[Tensor, None]:
            return torch.where(torch.tensor([[0, 0], [0, 1], [1, 0]]) > 0, value, x), None

    states = sample(Spy(), Leaves(), torch.zeros(3, 2), levels(SCHEDULE, TrailingSpacing(), 5), noise=Noise(range(3)))
    with pytest.raises(NonFiniteError, match="step 1 of 5 .* in sample 1 and 1 more of 3: try float32, or less guidan"):
        next(states)


def test_noise_that_is_not_finite_is_named_too() -> None:
    class Broken(Noise):
        def like(self, x: Tensor) -> Tensor:
            return torch.full_like(x, math.nan)

    path = levels(SCHEDULE, TrailingSpacing(), 5)
    states = sample(Spy(), Ancestral(), torch.zeros(2, 2), path, noise=Broken([0, 1]))
    with pytest.raises(NonFiniteError, match=r"step 1 of 5 .* in sample 0 and 1 more of 2"):
        next(states)
