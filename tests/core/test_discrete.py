"""The levels of tools that visit a table of whole times: time inputs, noise, ends and starts."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing, _beta_quantile
from sfumato.core.grid import LeadingSpacing, LevelSpacing, TrailingSpacing, UniformSpacing, initial_std, levels
from sfumato.core.schedule import VP, Linear, ScaledLinear, ZeroTerminal
from sfumato.errors import InputError

TABLE = ScaledLinear()


def inputs(spacing: DiscreteSpacing | DistilledSpacing, steps: int) -> list[float]:
    return [level.t.item() for level in levels(TABLE, spacing, steps)[:-1]]


def noises(spacing: DiscreteSpacing, steps: int) -> list[float]:
    return [(level.sigma / level.alpha).item() for level in levels(TABLE, spacing, steps)]


@pytest.mark.parametrize(
    ("spacing", "wanted"),
    [
        (DiscreteSpacing("leading"), [750, 500, 250, 0]),
        (DiscreteSpacing("leading", steps_offset=1), [751, 501, 251, 1]),
        (DiscreteSpacing("leading", drop_last=True), [800, 600, 400, 200]),
        (DiscreteSpacing("leading", num_timesteps=900), [675, 450, 225, 0]),
        (DiscreteSpacing("trailing"), [999, 749, 499, 249]),
        (DiscreteSpacing("linspace"), [999, 666, 333, 0]),
        (DiscreteSpacing("linspace", drop_last=True), [999, 749, 500, 250]),
        (DiscreteSpacing("linspace", drop_last=True, round_times=False), [999, 749.25, 499.5, 249.75]),
        (DistilledSpacing(50), [999, 759, 499, 259]),
    ],
    ids=repr,
)
def test_the_times_of_four_steps(spacing: DiscreteSpacing | DistilledSpacing, wanted: list[float]) -> None:
    assert inputs(spacing, 4) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("noise", ["table", "karras", "exponential", "beta"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_straight_line_of_times_ends_where_it_should_at_any_count(noise: Any, whole: bool) -> None:
    """By floating-point steps some ends come out above the last time."""
    for steps in (*range(2, 130), 333, 500, 998, 999, 1000):
        at = levels(TABLE, DiscreteSpacing("linspace", round_times=whole, sigmas=noise), steps)
        assert at[0].t.item() == pytest.approx(999, abs=1e-9) and at[0].t.item() <= 999
        assert len(at) == steps + 1
        if noise == "table" and not whole:
            assert [level.t.item() for level in at[:-1]] == np.linspace(0, 999, steps)[::-1].tolist()


@pytest.mark.parametrize(
    ("spacing", "plain"),
    [("leading", LeadingSpacing()), ("trailing", TrailingSpacing()), ("linspace", UniformSpacing())],
)
def test_on_whole_times_it_is_the_plain_spacing(spacing: Any, plain: Any) -> None:
    for here, there in zip(levels(TABLE, DiscreteSpacing(spacing), 25), levels(TABLE, plain, 25), strict=True):
        assert here == there


@pytest.mark.parametrize("law", ["karras", "exponential", "beta"])
def test_laws_of_noise_keep_to_their_ends(law: Any) -> None:
    last, first = (torch.exp(-TABLE(torch.tensor([t])).logsnr / 2).item() for t in (999.0, 0.0))
    found = noises(DiscreteSpacing("leading", sigmas=law, sigma_range="table"), 9)
    assert found[0] == pytest.approx(last) and found[-2] == pytest.approx(first) and found[-1] == 0
    found = noises(DiscreteSpacing(sigmas=law, sigma_max=10.0, sigma_min=0.1), 9)
    assert found[0] == pytest.approx(10) and found[-2] == pytest.approx(0.1)
    middle = {
        "karras": ((10 ** (1 / 7) + 0.1 ** (1 / 7)) / 2) ** 7,
        "exponential": 1.0,
        "beta": 5.05,
    }
    assert found[4] == pytest.approx(middle[law])


def test_the_network_gets_the_time_of_the_noise() -> None:
    at = DiscreteSpacing(sigmas="exponential", sigma_max=10.0, sigma_min=0.1)
    exact = inputs(at, 9)
    assert exact == pytest.approx(
        TABLE.inverse(torch.linspace(-2 * math.log(10), 2 * math.log(10), 9)).tolist(), abs=1e-4
    )
    assert inputs(DiscreteSpacing(sigmas="exponential", sigma_max=10.0, sigma_min=0.1, time_input="rounded"), 9) == [
        round(t) for t in exact
    ]
    assert inputs(DiscreteSpacing(sigmas="exponential", sigma_max=10.0, sigma_min=0.1, time_input="floor"), 9) == [
        int(t) for t in exact
    ]


def test_a_time_that_is_whole_but_for_float32_is_not_cut_to_the_one_below() -> None:
    for t in range(20, 1000, 35):
        σ = torch.exp(-TABLE(torch.tensor([t])).logsnr / 2).float().item()
        for cut in (
            DiscreteSpacing(sigmas="karras", time_input="floor", sigma_max=σ),
            DiscreteSpacing(sigmas="karras", time_input="floor", sigma_max=σ * 0.9999),
        ):
            assert inputs(cut, 5)[0] == (t if cut.sigma_max == σ else t - 1)


def test_between_whole_times_the_noise_lies_on_a_straight_line() -> None:
    here, *_ = noises(DiscreteSpacing("linspace", round_times=False, num_timesteps=1000), 3)[1:]
    low, high = (torch.exp(-TABLE(torch.tensor([t])).logsnr / 2).item() for t in (499.0, 500.0))
    assert here == pytest.approx((low + high) / 2, rel=1e-12)


def test_a_trajectory_may_leave_the_noise_of_the_first_time_in() -> None:
    end = levels(TABLE, DiscreteSpacing("leading", final_sigma="sigma_min"), 4)[-1]
    assert end[1:] == TABLE(torch.zeros(1))[1:] and end.t.item() == TABLE.clean


def test_a_trajectory_may_start_from_the_noise_alone() -> None:
    first = TABLE(torch.tensor([999.0]))
    assert initial_std(DiscreteSpacing(), first) == pytest.approx(1.0) and initial_std(
        TrailingSpacing(), first
    ) == pytest.approx(1.0)
    assert initial_std(DiscreteSpacing(initial_std="sigma"), first) == first.sigma.item()
    assert isinstance(DiscreteSpacing(), LevelSpacing) and not isinstance(TrailingSpacing(), LevelSpacing)


@pytest.mark.parametrize("p", [0.0, 1e-6, 0.1, 0.25, 0.5, 0.8, 1.0])
def test_quantiles_of_the_beta_law(p: float) -> None:
    """Beta(1/2, 1/2) is the arcsine law, and Beta(1, 1) the uniform one."""
    at = torch.tensor([p], dtype=torch.float64)
    assert _beta_quantile(at, 0.5).item() == pytest.approx(math.sin(math.pi * p / 2) ** 2, abs=1e-12)
    assert _beta_quantile(at, 0.999999).item() == pytest.approx(p, abs=1e-5)


@pytest.mark.parametrize(
    ("schedule", "spacing", "steps", "message"),
    [
        (VP(), DiscreteSpacing(), 4, "laid on a schedule of whole times"),
        (TABLE, DiscreteSpacing(steps_offset=1), 1000, "leave the times"),
        (TABLE, DiscreteSpacing(steps_offset=1000), 1, "from 0 to 999, not 1,000$"),
        (ZeroTerminal(Linear()), DiscreteSpacing("trailing", sigmas="karras"), 4, "pure noise has none"),
        (TABLE, DiscreteSpacing(sigmas="karras", sigma_max=0.1, sigma_min=1.0), 4, "0 < sigma_min < sigma_max"),
        (
            Linear(T=10),
            DiscreteSpacing("linspace", num_timesteps=7),
            9,
            "not all go to less noise: take fewer, or other ends$",
        ),
        (VP(), DistilledSpacing(), 4, "on a table of as many or more"),
        (TABLE, DistilledSpacing(10), 11, "in at most as many steps, not 11"),
    ],
    ids=repr,
)
def test_what_cannot_be_laid_says_so(schedule: Any, spacing: Any, steps: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        levels(schedule, spacing, steps)


def test_a_little_signal_may_remain_at_the_end() -> None:
    schedule = ZeroTerminal(Linear(), terminal_alpha2=2.0**-24)
    assert schedule(torch.tensor([999.0])).alpha.item() == pytest.approx(2.0**-12)
    with pytest.raises(InputError, match="from 0 to below 1"):
        ZeroTerminal(Linear(), terminal_alpha2=1.0)(torch.tensor([0.0]))
