"""The adaptive solver against equations whose solutions are known: order, tolerance, each sample by itself."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sfumato.core.adaptive import ERROR, STAGES, ODEState, dormand_prince, integrate
from sfumato.core.level import like
from sfumato.errors import InputError, NonFiniteError


def at(*times: float) -> Tensor:
    return torch.tensor(times, dtype=torch.float64)


def waves(t: Tensor, state: ODEState) -> ODEState:
    """`y' = y·cos t`: `y = y(0)·exp(sin t)`."""
    return (state[0] * like(t.cos(), state[0]),)


def turning(t: Tensor, state: ODEState) -> ODEState:
    """`(p, q)' = (q, −p)`, in two parts: a circle, so `p(t) = p(0)·cos t + q(0)·sin t`."""
    return state[1], -state[0]


def pulled(t: Tensor, state: ODEState) -> ODEState:
    """`y' = −200·(y − cos t)`, stiff: `y = (200²·cos t + 200·sin t)/(200² + 1)` once the start is forgotten."""
    return (-200 * (state[0] - like(t.cos(), state[0])),)


def test_the_weights_meet_the_conditions_of_order() -> None:
    """`∑ b = 1`, `∑ b·c^k = 1/(k + 1)` up to order 5 and 4, and each stage's weights add up to its place."""
    places = at(0, *(share for share, _ in STAGES))
    fifth = at(*STAGES[-1][1], 0)
    fourth = fifth - at(*ERROR)
    for share, weights in STAGES:
        assert sum(weights) == pytest.approx(share, abs=1e-14)
    for k in range(5):
        assert (fifth * places**k).sum().item() == pytest.approx(1 / (k + 1), abs=1e-14)
    for k in range(4):
        assert (fourth * places**k).sum().item() == pytest.approx(1 / (k + 1), abs=1e-14)
    assert abs((fourth * places**4).sum().item() - 1 / 5) > 1e-4  # else the error would say nothing of order 5


def error(steps: int) -> float:
    """The error at t = 4 of so many even steps along `waves` from 1."""
    t, step, state = at(0), at(4 / steps), (torch.ones(1, 1, dtype=torch.float64),)
    here = waves(t, state)
    for _ in range(steps):
        state, here, _ = dormand_prince(waves, t, step, state, here)
        t = t + step
    return abs(state[0].item() - math.exp(math.sin(4)))


def test_even_steps_converge_with_order_5() -> None:
    orders = [math.log2(error(n) / error(2 * n)) for n in (32, 64, 128)]
    assert orders == pytest.approx([5, 5, 5], abs=0.35)


def test_the_estimated_error_of_a_step_is_of_order_5() -> None:
    sizes = []
    for step in (0.2, 0.1, 0.05):
        state = (torch.ones(1, 1, dtype=torch.float64),)
        sizes.append(dormand_prince(waves, at(0.3), at(step), state, waves(at(0.3), state))[2][0].abs().item())
    assert [math.log2(a / b) for a, b in pairwise(sizes)] == pytest.approx([5, 5], abs=0.35)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-9])
@pytest.mark.parametrize("end", [10.0, -10.0])
def test_the_tolerance_is_met_forwards_and_backwards(end: float, tolerance: float) -> None:
    y = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    found = integrate(waves, (y,), at(0), at(end), rtol=tolerance, atol=tolerance)
    assert (found.state[0] - y * math.exp(math.sin(end))).abs().max() < 10 * tolerance
    p, q = (torch.tensor([[value]], dtype=torch.float64) for value in (1.0, 0.0))
    found = integrate(turning, (p, q), at(0), at(end), rtol=tolerance, atol=tolerance)
    assert abs(found.state[0].item() - math.cos(end)) < 10 * tolerance
    assert abs(found.state[1].item() + math.sin(end)) < 10 * tolerance


def test_a_tighter_tolerance_costs_what_order_5_lets_it() -> None:
    """The error of a step goes as its fifth power: a thousandth of the tolerance takes some 4 times the steps."""
    y = torch.ones(1, 1, dtype=torch.float64)
    costs = [integrate(waves, (y,), at(0), at(20), rtol=tol, atol=tol).evaluations.item() for tol in (1e-5, 1e-8)]
    assert 3 < costs[1] / costs[0] < 5


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize("end", [3.0, -20.0])
def test_steps_are_as_long_as_the_rule_of_hairer_norsett_and_wanner_makes_them(tolerance: float, end: float) -> None:
    """Eq. II.4.11 to 4.13, with 0.9, 1/5 and 10, in plain numbers."""
    t, y, step, asked = 0.0, 1.0, 0.01 * end, 1
    while t != end:
        step, asked = math.copysign(min(abs(step), abs(end - t)), end), asked + 6
        k = [y * math.cos(t)]
        for share, weights in STAGES:
            k.append((y + step * sum(map(math.prod, zip(weights, k, strict=True)))) * math.cos(t + share * step))
        new = y + step * sum(map(math.prod, zip(STAGES[-1][1], k[:-1], strict=True)))
        size = abs(step * sum(map(math.prod, zip(ERROR, k, strict=True))))
        size /= tolerance + tolerance * max(abs(y), abs(new))
        if size <= 1:
            t, y = (end if abs(step) >= abs(end - t) else t + step), new
        step *= min(max(0.9 * size**-0.2, 1 / 5), 10)
    start = torch.ones(1, 1, dtype=torch.float64)
    found = integrate(waves, (start,), at(0), at(end), rtol=tolerance, atol=tolerance)
    assert found.evaluations.item() == asked
    assert found.state[0].item() == pytest.approx(y, rel=1e-11)


def test_a_stiff_equation_is_solved_by_shorter_steps() -> None:
    y = torch.zeros(1, 1, dtype=torch.float64)
    found = integrate(pulled, (y,), at(0), at(2), rtol=1e-6, atol=1e-6)
    wanted = (200**2 * math.cos(2) + 200 * math.sin(2)) / (200**2 + 1)
    assert abs(found.state[0].item() - wanted) < 1e-5
    assert found.evaluations.item() > 500


def test_each_sample_has_its_own_times_and_steps() -> None:
    ends = at(1, -3, 0, 20)
    y = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    together = integrate(waves, (y,), at(0), ends)
    assert (together.state[0] - y * ends.sin().exp()[:, None]).abs().max() < 1e-3
    for i in range(4):
        alone = integrate(waves, (y[i : i + 1],), at(0), ends[i : i + 1])
        assert torch.equal(alone.state[0][0], together.state[0][i])
        assert alone.evaluations.item() == together.evaluations[i].item()
    assert together.evaluations[2].item() == 1  # no way to go


def test_the_slope_is_evaluated_as_often_as_counted() -> None:
    asked = []

    def spy(t: Tensor, state: ODEState) -> ODEState:
        asked.append(t.item())
        return waves(t, state)

    found = integrate(spy, (torch.ones(1, 2, dtype=torch.float64),), at(0), at(5))
    assert found.evaluations.item() == len(asked)
    assert min(asked) == 0 and max(asked) == 5


def test_a_part_without_axes_is_solved_too_and_its_type_is_kept() -> None:
    """`r' = |y|`, y constant: `r = |y|·t`."""

    def slope(t: Tensor, state: ODEState) -> ODEState:
        return torch.zeros_like(state[0]), state[0].abs().mean(1)

    found = integrate(slope, (torch.full((2, 3), -2.0), torch.zeros(2)), at(0), at(1.5))
    assert found.state[1].dtype == torch.float32
    torch.testing.assert_close(found.state[1], torch.full((2,), 3.0))


def test_the_worst_part_decides() -> None:
    """Ten thousand elements that stand still do not hide the error of the one part that changes."""

    def slope(t: Tensor, state: ODEState) -> ODEState:
        return torch.zeros_like(state[0]), state[1] * t.cos()

    parts = (torch.ones(1, 10_000, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    found = integrate(slope, parts, at(0), at(10), rtol=1e-6, atol=1e-6)
    assert abs(found.state[1].item() - math.exp(math.sin(10))) < 1e-5


def test_a_slope_that_is_not_finite_is_an_error_that_names_time_and_sample() -> None:
    def slope(t: Tensor, state: ODEState) -> ODEState:
        return (torch.where(like(t, state[0]) > torch.tensor([[9.0], [0.5]]), torch.nan, state[0]),)

    with pytest.raises(
        NonFiniteError, match=r"not finite at t = 0\.(49|5)\d* \(of 0 to 1\), in sample 1 and 0 more of 2"
    ):
        integrate(slope, (torch.ones(2, 1),), at(0), at(1))


def test_a_solution_that_blows_up_is_given_up() -> None:
    """`y' = y²` from 1 has no solution beyond t = 1."""
    with pytest.raises((InputError, NonFiniteError), match=r"(at|from) t = (1|0\.9999\d*) \(of 0 to 2\)"):
        integrate(lambda t, state: (state[0] ** 2,), (torch.ones(1, 1, dtype=torch.float64),), at(0), at(2))


@pytest.mark.parametrize(("rtol", "atol"), [(-1e-3, 1e-3), (1e-3, 0.0), (math.nan, 1e-3), (1e-3, math.nan)])
def test_a_tolerance_that_cannot_be_is_an_error(rtol: float, atol: float) -> None:
    with pytest.raises(InputError, match="a tolerance needs rtol from 0 and atol above 0"):
        integrate(waves, (torch.ones(1, 1),), at(0), at(1), rtol, atol)
