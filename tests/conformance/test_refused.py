"""What the matrix leaves out is refused, with an error that says what to do instead; and nothing else is."""

import itertools

import pytest
import torch
from matrix import (
    LAID,
    PARAMETERIZATIONS,
    SCHEDULES,
    SHORT,
    SPACINGS,
    Row,
    begin,
    fits,
    levels,
    network,
    normal,
    run,
    stack,
)

from sfumato.core import grid
from sfumato.errors import InputError
from sfumato.oracle import GaussianDenoiser

REFUSED = [pair for pair in itertools.product(SCHEDULES, SPACINGS) if pair not in LAID]
UNFIT = [
    (on, Row(parameterization, spacing, SHORT[i % len(SHORT)]))
    for i, ((on, spacing), parameterization) in enumerate(itertools.product(LAID, PARAMETERIZATIONS))
    if not fits(on, Row(parameterization, spacing, SHORT[i % len(SHORT)]))
]


def test_what_is_refused_has_to_do_with_pure_noise() -> None:
    assert {on for on, _ in REFUSED} == {on for on, _ in UNFIT} == {"flow", "flow-3", "zero-terminal"}
    assert {spacing for _, spacing in REFUSED} == {"karras", "logsnr"}
    assert {row.parameterization for _, row in UNFIT} == {"eps", "score", "score-itself", "karras", "mean"}
    assert {row.spacing for _, row in UNFIT} == {"uniform", "trailing", "quadratic"}


@pytest.mark.parametrize("schedule, spacing", REFUSED)
def test_a_spacing_that_needs_a_bound_on_the_noise_says_which_do_not(schedule: str, spacing: str) -> None:
    message = f"take the spacing {spacing},sigma_max=80, or trailing, uniform or quadratic"
    for steps in SHORT:
        with pytest.raises(InputError, match=message):
            levels(schedule, spacing, steps)


@pytest.mark.parametrize(
    "schedule, row", UNFIT, ids=lambda value: "-".join(map(str, value)) if isinstance(value, Row) else value
)
def test_a_prediction_that_says_nothing_of_pure_noise_says_which_do(schedule: str, row: Row) -> None:
    denoiser = network(GaussianDenoiser(SCHEDULES[schedule], torch.zeros(3), torch.ones(3)), row.parameterization)
    path = levels(schedule, row.spacing, row.steps)
    name = row.parameterization.removesuffix("-itself")
    message = rf"predicts {name} cannot be evaluated at alpha 0 \(pure noise\), .*: predict x0, v or flow, or end"
    with pytest.raises(InputError, match=message):
        run(denoiser, "ddim", begin(path[0], normal(2, 3)), path)


def test_nothing_else_is_refused() -> None:
    for (on, spacing), parameterization, steps in itertools.product(LAID, PARAMETERIZATIONS, SHORT):
        if fits(on, Row(parameterization, spacing, steps)):
            coefficients = PARAMETERIZATIONS[parameterization](SCHEDULES[on])(stack(levels(on, spacing, steps)[:-1]))
            assert all(each.isfinite().all() for each in coefficients)


def test_ays_is_refused_where_it_would_stand_still() -> None:
    """Between ends that are closer than its own, several of its levels are one."""
    narrow = SCHEDULES["quadratic"]
    with pytest.raises(InputError, match="must fall from step to step: .* take fewer steps, or another spacing"):
        grid.levels(narrow, grid.AYSSpacing("svd"), 30)
