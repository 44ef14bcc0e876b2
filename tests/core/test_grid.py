"""Which levels a sampler visits: the grids of other tools, and what every grid keeps to."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.core.grid import MOST_STEPS, Leading, Quadratic, Spacing, Trailing, Uniform, levels
from sfumato.core.schedule import VP, Linear, Schedule
from sfumato.errors import InputError

SPACINGS: list[Spacing] = [Uniform(), Trailing(), Leading(), Quadratic(), Quadratic(0.8)]
each = pytest.mark.parametrize("spacing", SPACINGS, ids=repr)


def times(schedule: Schedule, spacing: Spacing, steps: int) -> list[float]:
    """The times visited, without the clean end."""
    *visited, last = [level.t.item() for level in levels(schedule, spacing, steps)]
    assert last == schedule.clean
    return visited


@each
@given(data=st.data())
def test_times_are_whole_distinct_and_falling_whatever_their_number(spacing: Spacing, data: st.DataObject) -> None:
    T = data.draw(st.integers(1, 400), "T")
    steps = data.draw(st.integers(1, T), "steps")
    visited = times(Linear(T=T), spacing, steps)
    assert len(visited) == steps
    assert all(t == int(t) and 0 <= t < T for t in visited)
    assert all(here > there for here, there in pairwise(visited))


@each
@pytest.mark.parametrize("T", [1, 2, 1000])
def test_as_many_steps_as_times_visit_all(spacing: Spacing, T: int) -> None:
    assert times(Linear(T=T), spacing, T) == list(range(T - 1, -1, -1))


@each
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 999, 1000])
def test_continuous_times_fall_from_within_the_schedule(spacing: Spacing, steps: int) -> None:
    schedule = VP()
    visited = times(schedule, spacing, steps)
    assert len(visited) == steps and all(schedule.first - 1e-12 <= t <= schedule.last for t in visited)
    assert all(here > there for here, there in pairwise(visited))


@pytest.mark.parametrize("spacing", [Leading(), Trailing()], ids=repr)
def test_strides_too_short_for_a_continuous_schedule_are_an_input_error(spacing: Spacing) -> None:
    assert len(levels(VP(), spacing, 1000)) == 1001
    with pytest.raises(InputError, match=r"5,000 steps of \w+\(\) leave the times \[0.001, 1\]"):
        levels(VP(), spacing, 5000)


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_a_grid_that_ends_in_the_first_time_is_not_refused_for_a_rounding_error(steps: int) -> None:
    assert times(VP(first=1 / steps), Trailing(), steps)[-1] == pytest.approx(1 / steps)


@dataclass(frozen=True)
class Crowded:
    """A spacing whose times all round to the same one."""

    t: float

    def __call__(self, schedule: Schedule, steps: int) -> torch.Tensor:
        return self.t - 0.01 * torch.arange(steps, dtype=torch.float64)


@pytest.mark.parametrize(
    ("t", "wanted"), [(0, [3, 2, 1, 0]), (4.4, [7, 6, 5, 4]), (9, [9, 8, 7, 6]), (50, [9, 8, 7, 6])]
)
def test_times_that_round_to_one_make_room_for_one_another(t: float, wanted: list[float]) -> None:
    assert times(Linear(T=10), Crowded(t), 4) == wanted


def test_each_level_stands_for_a_whole_batch() -> None:
    path = levels(Linear(), Uniform(), 5)
    assert len(path) == 6
    assert all(field.shape == (1,) for level in path for field in level)


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 30, 50, 1000])
def test_uniform_visits_both_ends(steps: int) -> None:
    assert times(Linear(), Uniform(), steps) == np.linspace(999, 0, steps).round().tolist()


def test_trailing_starts_at_the_end_and_stops_a_stride_before_the_data() -> None:
    assert times(Linear(), Trailing(), 4) == [999, 749, 499, 249]
    assert times(VP(), Trailing(), 4) == [1, 0.75, 0.5, 0.25]


def test_leading_starts_a_stride_before_the_end_and_stops_at_the_first() -> None:
    assert times(Linear(), Leading(), 4) == [750, 500, 250, 0]
    assert times(Linear(), Leading(), 7) == [852, 710, 568, 426, 284, 142, 0]
    assert times(VP(first=0.01), Leading(), 4) == [0.76, 0.51, 0.26, 0.01]


@pytest.mark.parametrize("steps", [5, 7, 10, 20])
def test_quadratic_is_that_of_the_code_released_with_ddim(steps: int) -> None:
    """Which rounds down where we round to the nearest, and reaches for 800 where we reach for 0.8·999."""
    published = [int(root**2) for root in np.linspace(0, math.sqrt(1000 * 0.8), steps)]
    for ours, theirs in zip(times(Linear(), Quadratic(0.8), steps), reversed(published), strict=True):
        assert abs(ours - theirs) <= 1


def test_quadratic_is_denser_near_the_data() -> None:
    visited = times(VP(), Quadratic(), 5)
    assert visited == pytest.approx([0.001 + 0.999 * (i / 4) ** 2 for i in (4, 3, 2, 1, 0)], rel=1e-12)


@pytest.mark.parametrize("steps", [7, 10, 30, 50, 1000])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(Uniform(), "linspace"), (Leading(), "leading"), (Trailing(), "trailing")], ids=repr
)
def test_diffusers_visits_the_same_times(ours: Spacing, theirs: str, steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(timestep_spacing=theirs)
    scheduler.set_timesteps(steps)
    assert times(Linear(), ours, steps) == scheduler.timesteps.tolist()


@each
@pytest.mark.parametrize("steps", [0, -1, 1001, 10**9])
def test_a_number_of_steps_that_cannot_be_is_refused(spacing: Spacing, steps: int) -> None:
    with pytest.raises(InputError, match=rf"steps must be between 1 and 1,000 for this schedule, not {steps:,}"):
        levels(Linear(), spacing, steps)


@pytest.mark.parametrize("steps", [0, -1, MOST_STEPS + 1, 10**9])
def test_continuous_time_has_a_most_too(steps: int) -> None:
    with pytest.raises(InputError, match=rf"steps must be between 1 and 100,000 for this schedule, not {steps:,}"):
        levels(VP(), Uniform(), steps)


def test_the_levels_are_those_of_the_schedule() -> None:
    schedule = VP()
    for level in levels(schedule, Uniform(), 7):
        wanted = schedule(level.t)
        assert torch.equal(level.alpha, wanted.alpha) and torch.equal(level.sigma, wanted.sigma)
