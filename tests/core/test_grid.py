"""Which levels a sampler visits: the grids of other tools, and what every grid keeps to."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.core.grid import (
    AYS_NOISE,
    MAX_GRID_STEPS,
    AYSSpacing,
    ExplicitSpacing,
    KarrasSpacing,
    LeadingSpacing,
    LogSNRSpacing,
    QuadraticSpacing,
    Spacing,
    TrailingSpacing,
    UniformSpacing,
    levels,
)
from sfumato.core.schedule import (
    EDM,
    VE,
    VP,
    Cosine,
    Flow,
    Linear,
    ScaledLinear,
    Schedule,
    SubVP,
    ZeroTerminal,
)
from sfumato.errors import InputError

SPACINGS: list[Spacing] = [
    UniformSpacing(),
    TrailingSpacing(),
    LeadingSpacing(),
    QuadraticSpacing(),
    QuadraticSpacing(0.8),
    KarrasSpacing(),
    KarrasSpacing(3),
    LogSNRSpacing(),
]
each = pytest.mark.parametrize("spacing", SPACINGS, ids=repr)


def times(schedule: Schedule, spacing: Spacing, steps: int) -> list[float]:
    """The times visited, without the clean end."""
    *visited, last = [level.t.item() for level in levels(schedule, spacing, steps)]
    assert last == schedule.clean
    return visited


def noises(schedule: Schedule, spacing: Spacing, steps: int) -> list[float]:
    """`sigma/alpha` at the levels visited, without the clean end."""
    return [(level.sigma / level.alpha).item() for level in levels(schedule, spacing, steps)[:-1]]


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
@pytest.mark.parametrize("schedule", [VP(), SubVP(), VE(), VE(growth="linear"), EDM()], ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 999])
def test_continuous_times_fall_from_within_the_schedule(spacing: Spacing, schedule: Schedule, steps: int) -> None:
    visited = times(schedule, spacing, steps)
    assert len(visited) == steps and all(schedule.first - 1e-12 <= t <= schedule.last for t in visited)
    assert all(here > there for here, there in pairwise(visited))


@pytest.mark.parametrize("spacing", [LeadingSpacing(), TrailingSpacing()], ids=repr)
def test_strides_too_short_for_a_continuous_schedule_are_an_input_error(spacing: Spacing) -> None:
    assert len(levels(VP(), spacing, 1000)) == 1001
    with pytest.raises(InputError, match=r"5,000 steps of \w+\(\) leave the times \[0.001, 1\]"):
        levels(VP(), spacing, 5000)


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_a_grid_that_ends_in_the_first_time_is_not_refused_for_a_rounding_error(steps: int) -> None:
    assert times(VP(first=1 / steps), TrailingSpacing(), steps)[-1] == pytest.approx(1 / steps)


@dataclass(frozen=True)
class Crowded:
    """A spacing whose times all round to the same one."""

    t: float

    def __call__(self, schedule: Schedule, steps: int) -> torch.Tensor:
        return self.t - 0.01 * torch.arange(steps, dtype=torch.float64)


@pytest.mark.parametrize(
    ("t", "wanted"), [(0, [3, 2, 1, 0]), (4.4, [7, 6, 5, 4]), (9, [9, 8, 7, 6]), (9.4, [9, 8, 7, 6])]
)
def test_times_that_round_to_one_make_room_for_one_another(t: float, wanted: list[float]) -> None:
    assert times(Linear(T=10), Crowded(t), 4) == wanted


@pytest.mark.parametrize("t", [9.6, 50.0, -0.6])
def test_times_that_round_to_none_of_a_table_are_refused(t: float) -> None:
    with pytest.raises(
        InputError, match=rf"4 steps of Crowded\(t={t}\) leave the times \[0, 9\] of this schedule: take"
    ):
        levels(Linear(T=10), Crowded(t), 4)


def test_each_level_stands_for_a_whole_batch() -> None:
    path = levels(Linear(), UniformSpacing(), 5)
    assert len(path) == 6
    assert all(field.shape == (1,) for level in path for field in level)


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 30, 50, 1000])
def test_uniform_visits_both_ends(steps: int) -> None:
    assert times(Linear(), UniformSpacing(), steps) == np.linspace(999, 0, steps).round().tolist()


def test_trailing_starts_at_the_end_and_stops_a_stride_before_the_data() -> None:
    assert times(Linear(), TrailingSpacing(), 4) == [999, 749, 499, 249]
    assert times(VP(), TrailingSpacing(), 4) == [1, 0.75, 0.5, 0.25]
    assert times(EDM(), TrailingSpacing(), 4) == [80, 60, 40, 20]
    assert times(VE(T=20), TrailingSpacing(), 4) == [19, 14, 9, 4]


@pytest.mark.parametrize("law", ["geometric", "linear"])
@pytest.mark.parametrize("steps", [1, 4, 5000])
def test_strides_of_a_schedule_that_begins_at_a_gap_are_from_its_beginning(law: Any, steps: int) -> None:
    up = [i / steps for i in range(steps + 1)]
    assert times(VE(growth=law), TrailingSpacing(), steps) == pytest.approx(up[:0:-1], abs=1e-12)
    assert times(VE(growth=law), LeadingSpacing(), steps) == pytest.approx(up[-2::-1], abs=1e-12)


def test_leading_starts_a_stride_before_the_end_and_stops_at_the_first() -> None:
    assert times(Linear(), LeadingSpacing(), 4) == [750, 500, 250, 0]
    assert times(Linear(), LeadingSpacing(), 7) == [852, 710, 568, 426, 284, 142, 0]
    assert times(VP(first=0.01), LeadingSpacing(), 4) == [0.76, 0.51, 0.26, 0.01]


@pytest.mark.parametrize("steps", [1, 2, 50, 100, 1000])
def test_leading_is_the_code_released_with_ddim_where_steps_divide_the_times(steps: int) -> None:
    assert times(Linear(), LeadingSpacing(), steps) == list(range(0, 1000, 1000 // steps))[::-1]


@pytest.mark.parametrize(("steps", "theirs"), [(30, 31), (60, 63), (300, 334)])
def test_elsewhere_that_code_takes_more_times_which_can_be_given(steps: int, theirs: int) -> None:
    released = tuple(range(0, 1000, 1000 // steps))[::-1]
    assert len(released) == theirs and len(times(Linear(), LeadingSpacing(), steps)) == steps
    assert tuple(times(Linear(), ExplicitSpacing(released), theirs)) == released


@pytest.mark.parametrize("steps", [10, 20])
def test_the_quadratic_times_of_that_code_can_be_given(steps: int) -> None:
    released = tuple(int(root**2) for root in np.linspace(0, math.sqrt(1000 * 0.8), steps))[::-1]
    assert released[0] == 800 and times(Linear(), QuadraticSpacing(0.8), steps)[0] == 799
    assert tuple(times(Linear(), ExplicitSpacing(released), steps)) == released


@pytest.mark.parametrize("steps", [5, 7, 10, 20, 50])
def test_quadratic_comes_within_one_time_of_the_code_released_with_ddim(steps: int) -> None:
    """Which rounds down where we round to the nearest, and reaches for 800 where we reach for 0.8·999."""
    published = [int(root**2) for root in np.linspace(0, math.sqrt(1000 * 0.8), steps)]
    for ours, theirs in zip(times(Linear(), QuadraticSpacing(0.8), steps), reversed(published), strict=True):
        assert abs(ours - theirs) <= 1


def test_quadratic_is_denser_near_the_data() -> None:
    visited = times(VP(), QuadraticSpacing(), 5)
    assert visited == pytest.approx([0.001 + 0.999 * (i / 4) ** 2 for i in (4, 3, 2, 1, 0)], rel=1e-12)


@pytest.mark.parametrize("rho", [7.0, 3.0])
@pytest.mark.parametrize("schedule", [EDM(), VE(), VE(growth="linear"), VP(), SubVP()], ids=repr)
def test_karras_is_its_formula_between_the_ends_of_the_schedule(schedule: Schedule, rho: float) -> None:
    low, high = (
        (level.sigma / level.alpha).item() for level in map(schedule, torch.tensor([[schedule.first], [schedule.last]]))
    )
    ramp = np.linspace(0, 1, 18)
    wanted = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    assert noises(schedule, KarrasSpacing(rho), 18) == pytest.approx(wanted.tolist(), rel=1e-9)


@pytest.mark.parametrize("schedule", [EDM(), VE(), VP(), SubVP()], ids=repr)
def test_logsnr_is_even_in_the_log_signal_to_noise_ratio(schedule: Schedule) -> None:
    λ = [level.logsnr.item() for level in levels(schedule, LogSNRSpacing(), 18)[:-1]]
    ends = [schedule(torch.tensor([t])).logsnr.item() for t in (schedule.last, schedule.first)]
    assert λ == pytest.approx(np.linspace(*ends, 18).tolist(), rel=1e-9)


def test_geometric_noise_is_even_in_logsnr() -> None:
    assert times(VE(), LogSNRSpacing(), 11) == pytest.approx(times(VE(), UniformSpacing(), 11), abs=1e-12)


@pytest.mark.parametrize("spacing", [KarrasSpacing(), LogSNRSpacing()], ids=repr)
def test_on_a_table_noise_is_as_near_as_whole_times_allow(spacing: Spacing) -> None:
    for steps in (2, 5, 10):
        assert times(Linear(), spacing, steps) == [round(t) for t in spacing(Linear(), steps).tolist()]
    for steps in (100, 999):  # where several round to one
        visited = times(Cosine(), spacing, steps)
        assert len(set(visited)) == steps and visited[0] == 999 and visited[-1] == 0


@pytest.mark.parametrize("schedule", [ZeroTerminal(Linear()), Flow(), Flow(shift=3.0)], ids=repr)
@pytest.mark.parametrize("spacing", [KarrasSpacing(), LogSNRSpacing()], ids=repr)
def test_noise_without_bound_cannot_be_divided(spacing: Spacing, schedule: Schedule) -> None:
    with pytest.raises(InputError, match="begins at pure noise, .* take the spacing (karras|logsnr),sigma_max=80, or"):
        levels(schedule, spacing, 10)


@pytest.mark.parametrize(
    "spacing",
    [UniformSpacing(), TrailingSpacing(), LeadingSpacing(), QuadraticSpacing(), KarrasSpacing(), LogSNRSpacing()],
    ids=repr,
)
def test_every_sigma_max_is_visited_as_it_is(spacing: Spacing) -> None:
    """Through float32 half of those with one decimal lay beyond themselves."""
    for sigma_max in [i / 10 for i in range(1, 10_000, 37)]:
        visited = times(EDM(sigma_max=sigma_max), spacing, 3)
        if not isinstance(spacing, LeadingSpacing):
            assert visited[0] == pytest.approx(sigma_max, rel=1e-13)
        if not isinstance(spacing, TrailingSpacing):
            assert visited[-1] == pytest.approx(0.002, rel=1e-13)


@pytest.mark.parametrize("schedule", [EDM(0.0023, 80.3), VE(sigma_min=0.03, sigma_max=1.7), VP(first=0.0013), SubVP()])
@pytest.mark.parametrize("spacing", [KarrasSpacing(), LogSNRSpacing()], ids=repr)
def test_the_ends_are_those_of_the_schedule_in_float64(spacing: Spacing, schedule: Schedule) -> None:
    visited = times(schedule, spacing, 18)
    assert visited[0] == pytest.approx(schedule.last, rel=1e-13)
    assert visited[-1] == pytest.approx(schedule.first, rel=1e-10, abs=1e-14)  # VP's λ is steep there


@pytest.mark.parametrize("rho", [0.0, -7.0, math.nan])
def test_rho_must_be_above_0(rho: float) -> None:
    with pytest.raises(InputError, match=f"rho must be above 0, not {rho}"):
        levels(EDM(), KarrasSpacing(rho), 10)


@pytest.mark.parametrize("model", ["sd15", "sdxl", "svd"])
def test_ten_steps_of_ays_are_the_published_ones(model: Any) -> None:
    assert noises(VE(sigma_min=0.001, sigma_max=1000.0), AYSSpacing(model), 10) == pytest.approx(
        AYS_NOISE[model][:-1], rel=1e-9
    )


@pytest.mark.parametrize("steps", [1, 5, 20, 33])
def test_other_numbers_of_ays_steps_are_interpolated_in_the_logarithm(steps: int) -> None:
    known = np.log(AYS_NOISE["sdxl"])
    wanted = np.exp(np.interp(np.linspace(0, 1, steps + 1), np.linspace(0, 1, 11), known))[:-1]
    assert noises(EDM(), AYSSpacing("sdxl"), steps) == pytest.approx(wanted.tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("model", "theirs"),
    [
        ("sd15", [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]),
        ("sdxl", [999, 845, 730, 587, 443, 310, 193, 116, 53, 13]),
    ],
)
def test_ays_visits_the_published_times_of_its_models(model: Any, theirs: list[float]) -> None:
    """They follow from noise that was published in three digits, which leaves a time of sd15 open: 124.56."""
    ours = times(ScaledLinear(), AYSSpacing(model), 10)
    assert max(abs(here - there) for here, there in zip(ours, theirs, strict=True)) <= 1
    assert sum(here != there for here, there in zip(ours, theirs, strict=True)) == (model == "sd15")


def test_diffusers_has_the_same_steps_for_ays() -> None:
    known = pytest.importorskip("diffusers.schedulers").AysSchedules
    for model, name in (("sd15", ""), ("sdxl", "XL"), ("svd", "Video")):
        assert tuple(known[f"StableDiffusion{name}Sigmas"][:-1]) == AYS_NOISE[model][:-1]
    for model, name in (("sd15", ""), ("sdxl", "XL")):
        ours, theirs = times(ScaledLinear(), AYSSpacing(model), 10), known[f"StableDiffusion{name}Timesteps"]
        assert max(abs(here - there) for here, there in zip(ours, theirs, strict=True)) <= 1


def test_ays_outside_the_schedule_is_met_at_its_end_and_refused_where_that_repeats() -> None:
    assert times(VE(sigma_max=40.0), AYSSpacing("svd"), 5)[0] == 1
    with pytest.raises(
        InputError, match=r"times .* must fall .*: AYSSpacing\(model='svd'\) goes from 999 to 999 at step 1 of 100"
    ):
        levels(Linear(), AYSSpacing("svd"), 100)


def test_explicit_times_are_visited_as_they_are() -> None:
    assert times(VP(), ExplicitSpacing((1.0, 0.7, 0.123)), 3) == [1.0, 0.7, 0.123]
    assert times(Linear(), ExplicitSpacing((999, 700, 1)), 3) == [999, 700, 1]
    assert times(Linear(T=10), ExplicitSpacing((8.6, 2.2)), 2) == [9, 2]


@pytest.mark.parametrize(
    ("schedule", "explicit", "steps", "message"),
    [
        (VP(), (1.0, 0.5), 3, "the spacing gives 2 times, and 3 steps were asked for: ask for as many"),
        (
            VP(),
            (0.5, 1.0),
            2,
            r"must fall from step to step: ExplicitSpacing\(times=\(0.5, 1.0\)\) goes from 0.5 to 1 at step 1",
        ),
        (VP(), (1.0, 0.5, 0.5), 3, "goes from 0.5 to 0.5 at step 2 of 3; take fewer steps, or another spacing"),
        (VP(), (1.0, math.nan), 2, "goes from 1 to nan at step 1 of 2"),
        (VP(), (math.nan,), 1, r"1 steps of ExplicitSpacing\(times=\(nan,\)\) leave the times \[0.001, 1\]"),
        (VP(), (1.0, 0.0), 2, r"leave the times \[0.001, 1\] of this schedule"),
        (VP(), (1.1, 0.5), 2, r"leave the times \[0.001, 1\] of this schedule"),
        (Linear(), (1000, 10), 2, r"leave the times \[0, 999\] of this schedule"),
        (Linear(), (10, -1), 2, r"leave the times \[0, 999\] of this schedule"),
        (VP(), tuple(float(t) for t in range(100, 0, -1)), 100, r"100 steps of ExplicitSpacing leave the times"),
    ],
    ids=lambda value: repr(value).replace("\\", "")[:40],  # pytest escapes a backslash once more each time it collects
)
def test_explicit_times_that_cannot_be_visited_are_refused(
    schedule: Schedule, explicit: tuple[float, ...], steps: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        levels(schedule, ExplicitSpacing(explicit), steps)


@pytest.mark.parametrize("reach", [1.5, -0.5, 0.0])
def test_a_quadratic_grid_that_reaches_too_far_or_nowhere_is_refused(reach: float) -> None:
    for schedule in (Linear(), VP()):
        with pytest.raises(InputError, match=r"leave the times|must fall from step to step"):
            levels(schedule, QuadraticSpacing(reach), 10)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(KarrasSpacing(), "karras"), (KarrasSpacing(3.0), "karras"), (LogSNRSpacing(), "exponential")]
)
@pytest.mark.parametrize("steps", [2, 10, 18])
def test_diffusers_goes_through_the_same_noise(ours: Spacing, theirs: str, steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    rho = ours.rho if isinstance(ours, KarrasSpacing) else 7.0
    scheduler = diffusers.EDMEulerScheduler(sigma_schedule=theirs, rho=rho)
    scheduler.set_timesteps(steps)
    assert noises(EDM(), ours, steps) == pytest.approx(scheduler.sigmas[:-1].tolist(), rel=1e-6)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4, 28])
def test_diffusers_takes_a_shifted_flow_through_the_same_noise(shift: float, steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))  # as the pipeline of Stable Diffusion 3 may
    path = levels(Flow(shift), TrailingSpacing(), steps)
    assert [level.sigma.item() for level in path] == pytest.approx(scheduler.sigmas.tolist(), rel=1e-6)


@pytest.mark.parametrize("steps", [7, 10, 30, 50, 1000])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(UniformSpacing(), "linspace"), (LeadingSpacing(), "leading"), (TrailingSpacing(), "trailing")],
    ids=repr,
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


@pytest.mark.parametrize("steps", [0, -1, MAX_GRID_STEPS + 1, 10**9])
def test_continuous_time_has_a_most_too(steps: int) -> None:
    with pytest.raises(InputError, match=rf"steps must be between 1 and 100,000 for this schedule, not {steps:,}"):
        levels(VP(), UniformSpacing(), steps)


def test_the_levels_are_those_of_the_schedule() -> None:
    schedule = VP()
    for level in levels(schedule, UniformSpacing(), 7):
        wanted = schedule(level.t)
        for own, exact in zip(level[1:], wanted[1:], strict=True):  # of one or of many, some processors round apart
            assert (own - exact).abs().max() <= 2**-52


@pytest.mark.parametrize("spacing", [KarrasSpacing, LogSNRSpacing])
@pytest.mark.parametrize("schedule", [Flow(), ZeroTerminal(Linear()), VP()], ids=repr)
def test_a_highest_sigma_stands_in_for_pure_noise(schedule: Schedule, spacing: Any) -> None:
    """The first level has it, and the rest are those of the formula from there."""
    visited = [float(level.sigma / level.alpha) for level in levels(schedule, spacing(sigma_max=60.0), 12)[:-1]]
    low = float(torch.exp(-schedule(torch.tensor([schedule.first])).logsnr / 2))
    root, back = (lambda x: x ** (1 / 7), lambda x: x**7) if spacing is KarrasSpacing else (math.log, math.exp)
    wanted = [back(root(60.0) + i / 11 * (root(low) - root(60.0))) for i in range(12)]
    assert visited == pytest.approx(wanted, rel=0.05 if schedule.T else 1e-6)  # times of a table are whole


@pytest.mark.parametrize("sigma_max", [0.001, 1e9, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("spacing", [KarrasSpacing, LogSNRSpacing])
def test_a_highest_sigma_is_one_of_the_schedule(spacing: Any, sigma_max: float) -> None:
    with pytest.raises(InputError, match="sigma_max of the spacing .* must be above .* and at most"):
        levels(VP(), spacing(sigma_max=sigma_max), 5)
