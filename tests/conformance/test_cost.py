"""The cost of a trajectory: evaluations of the denoiser and draws of noise are as many as the facts say."""

from typing import Any

import pytest
import torch
from matrix import DETERMINISTIC, SOLVERS, STOCHASTIC, Draws, normal
from torch import Tensor

from sfumato import parts
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import TrailingSpacing, levels
from sfumato.core.level import Level
from sfumato.core.schedule import Linear
from sfumato.oracle import GaussianDenoiser
from sfumato.sample import sample
from sfumato.sample.facts import FACTS, TOKEN_FACTS

SCHEDULE = Linear()


class Counts(Draws):
    def __init__(self) -> None:
        super().__init__(0)
        self.drawn = 0

    def like(self, x: Tensor) -> Tensor:
        self.drawn += 1
        return super().like(x)


class Asked:
    """An exact denoiser that counts how often it is asked."""

    schedule = SCHEDULE

    def __init__(self) -> None:
        self.times = 0
        self.oracle = GaussianDenoiser(
            SCHEDULE, torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
        )

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        assert bool((level.sigma > 0).all())
        self.times += 1
        return self.oracle(x_t, level)


def counted(sampler: str, steps: int) -> tuple[int, int]:
    """How often a trajectory onto clean data evaluates the denoiser, and how often it draws noise."""
    asked, noise = Asked(), Counts()
    rule: Any = parts.SAMPLERS.parse(sampler)
    list(sample(asked, rule, normal(3, 2), levels(SCHEDULE, TrailingSpacing(), steps), noise=noise))
    return asked.times, noise.drawn


@pytest.mark.parametrize("steps", [4, 9])
@pytest.mark.parametrize("sampler", FACTS)
def test_a_trajectory_evaluates_as_often_as_its_facts_say(sampler: str, steps: int) -> None:
    asked, _ = counted(sampler, steps)
    assert asked == FACTS[sampler].evaluations * steps + FACTS[sampler].over


@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_a_deterministic_solver_draws_nothing(sampler: str) -> None:
    assert counted(sampler, 9)[1] == 0


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_a_stochastic_solver_draws_once_a_step_and_not_for_the_last(sampler: str) -> None:
    assert counted(sampler, 9)[1] == 8


@pytest.mark.parametrize("sampler", sorted(FACTS.keys() - SOLVERS.keys()))
def test_what_is_no_solver_draws_too(sampler: str) -> None:
    assert FACTS[sampler].stochastic and counted(sampler, 9)[1] > 0


def test_there_are_facts_of_every_sampler() -> None:
    assert {spelled.partition(",")[0] for spelled in FACTS | TOKEN_FACTS} == parts.SAMPLERS.kinds.keys()
