"""With an exact eps, every sampler lands on the data, on every row of the matrix."""

import itertools
from itertools import pairwise

import pytest
import torch
from matrix import (
    DETERMINISTIC,
    LAID,
    LONG,
    PARAMETERIZATIONS,
    SCHEDULES,
    SHORT,
    STEPS,
    Knows,
    Row,
    begin,
    each_row,
    error,
    fits,
    levels,
    network,
    normal,
    precision,
    run,
    starts_in_noise,
)

from sfumato.core.gaussian import marginal
from sfumato.oracle import GaussianDenoiser, finite

POINT = torch.tensor([0.7, -1.2, 0.05], dtype=torch.float64)


@each_row()
def test_data_of_one_point_is_found(sampler: str, schedule: str, rows: list[Row]) -> None:
    for row in rows:
        denoiser = network(GaussianDenoiser(SCHEDULES[schedule], POINT, torch.zeros(3)), row.parameterization)
        path = levels(schedule, row.spacing, row.steps)
        found = run(denoiser, sampler, begin(path[0], normal(2, 3)), path)
        assert len(found) == row.steps
        assert error(found[-1], POINT) < precision(schedule), row


@each_row(DETERMINISTIC)
def test_a_network_that_knows_the_noise_leads_along_the_straight_path(
    sampler: str, schedule: str, rows: list[Row]
) -> None:
    x_0, eps = normal(2, 3, seed=1), normal(2, 3, seed=2)
    for row in rows:
        if starts_in_noise(schedule, row):
            continue  # where nothing of x_0 is left to be found
        start, *rest = path = levels(schedule, row.spacing, row.steps)
        denoiser = network(Knows(SCHEDULES[schedule], eps), row.parameterization)
        found = run(denoiser, sampler, marginal(x_0, start).sample(eps), path)
        for x, level in zip(found, rest, strict=True):
            assert error(x, marginal(x_0, level).sample(eps)) < precision(schedule), row


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_point_is_found_as_a_finite_data_set_too(schedule: str) -> None:
    for parameterization in PARAMETERIZATIONS:
        if fits(schedule, Row(parameterization, "trailing", 10)):
            denoiser, path = (
                network(finite(SCHEDULES[schedule], POINT[None]), parameterization),
                levels(schedule, "trailing", 10),
            )
            found = run(denoiser, "ddpm", begin(path[0], normal(2, 3)), path)
            assert error(found[-1], POINT) < precision(schedule), parameterization


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_with_all_the_noise_is_ddpm(schedule: str) -> None:
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)
    for parameterization, steps in zip(PARAMETERIZATIONS, itertools.cycle(SHORT), strict=False):
        if fits(schedule, Row(parameterization, "trailing", steps)):
            path = levels(schedule, "trailing", steps)
            x, denoiser = begin(path[0], normal(4, 2)), network(finite(SCHEDULES[schedule], points), parameterization)
            ddim, ddpm = (run(denoiser, sampler, x, path, seed=7) for sampler in ("ddim,eta=1", "ddpm"))
            for here, there in zip(ddim, ddpm, strict=True):
                assert error(here, there) < precision(schedule), parameterization


@pytest.mark.parametrize("schedule, spacing", [(on, spacing) for on, spacing in LAID if SCHEDULES[on].T])
def test_as_many_steps_as_times_visit_them_all(schedule: str, spacing: str) -> None:
    times = [level.t.item() for level in levels(schedule, spacing, LONG)]
    assert times == [float(t) for t in range(LONG - 1, -2, -1)]


@pytest.mark.parametrize("schedule, spacing", LAID)
def test_each_step_is_towards_less_noise_and_the_last_onto_none(schedule: str, spacing: str) -> None:
    for steps in STEPS:
        path = levels(schedule, spacing, steps)
        assert len(path) == steps + 1
        assert all(now.logsnr < then.logsnr for now, then in pairwise(path))
        assert (path[-1].alpha, path[-1].sigma, path[-1].t) == (1, 0, SCHEDULES[schedule].clean)
