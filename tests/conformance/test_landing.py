"""With an exact eps, every sampler lands on the data, on every row of the matrix."""

from itertools import pairwise

import pytest
import torch
from matrix import (
    DETERMINISTIC,
    LONG,
    PARAMETERIZATIONS,
    SCHEDULES,
    SPACINGS,
    STEPS,
    Knows,
    Row,
    each_row,
    error,
    levels,
    network,
    normal,
    precision,
    run,
)

from sfumato.core.process import marginal
from sfumato.oracle import Gaussian, finite

POINT = torch.tensor([0.7, -1.2, 0.05], dtype=torch.float64)


@each_row()
def test_data_of_one_point_is_found(sampler: str, schedule: str, rows: list[Row]) -> None:
    for row in rows:
        denoiser = network(Gaussian(SCHEDULES[schedule], POINT, torch.zeros(3)), row.parameterization)
        found = run(denoiser, sampler, normal(2, 3), levels(schedule, row.spacing, row.steps))
        assert len(found) == row.steps
        assert error(found[-1], POINT) < precision(schedule), row


@each_row(DETERMINISTIC)
def test_a_network_that_knows_the_noise_leads_along_the_straight_path(
    sampler: str, schedule: str, rows: list[Row]
) -> None:
    x_0, eps = normal(2, 3, seed=1), normal(2, 3, seed=2)
    for row in rows:
        start, *rest = path = levels(schedule, row.spacing, row.steps)
        denoiser = network(Knows(SCHEDULES[schedule], eps), row.parameterization)
        found = run(denoiser, sampler, marginal(x_0, start).sample(eps), path)
        for x, level in zip(found, rest, strict=True):
            assert error(x, marginal(x_0, level).sample(eps)) < precision(schedule), row


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_point_is_found_as_a_finite_data_set_too(schedule: str, parameterization: str) -> None:
    denoiser = network(finite(SCHEDULES[schedule], POINT[None]), parameterization)
    found = run(denoiser, "ddpm", normal(2, 3), levels(schedule, "trailing", 10))
    assert error(found[-1], POINT) < precision(schedule)


@pytest.mark.parametrize("steps", [n for n in STEPS if n < LONG])
@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_with_all_the_noise_is_ddpm(schedule: str, parameterization: str, steps: int) -> None:
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)
    denoiser = network(finite(SCHEDULES[schedule], points), parameterization)
    path = levels(schedule, "trailing", steps)
    ddim, ddpm = (run(denoiser, sampler, normal(4, 2), path, seed=7) for sampler in ("ddim,eta=1", "ddpm"))
    for here, there in zip(ddim, ddpm, strict=True):
        assert error(here, there) < 1e-9


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("schedule", [name for name, schedule in SCHEDULES.items() if schedule.T])
def test_as_many_steps_as_times_visit_them_all(schedule: str, spacing: str) -> None:
    times = [level.t.item() for level in levels(schedule, spacing, LONG)]
    assert times == [float(t) for t in range(LONG - 1, -2, -1)]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_move_is_towards_less_noise_and_the_last_onto_none(schedule: str, spacing: str, steps: int) -> None:
    path = levels(schedule, spacing, steps)
    assert len(path) == steps + 1
    assert all(now.logsnr < then.logsnr for now, then in pairwise(path))
    assert (path[-1].alpha, path[-1].sigma, path[-1].t) == (1, 0, SCHEDULES[schedule].clean)
