"""Noise schedules against their formulas, against brute force and against diffusers."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.core.schedule import (
    EDM,
    VE,
    VP,
    AlphasCumprod,
    Betas,
    Cosine,
    Flow,
    Linear,
    Quadratic,
    ScaledLinear,
    Schedule,
    Sigmoid,
    SubVP,
    Table,
    ZeroTerminal,
)
from sfumato.core.schedule.protocol import preserving
from sfumato.errors import InputError

TABLES: list[Table] = [Linear(), ScaledLinear(), Quadratic(), Cosine(), Sigmoid()]
SHORT: list[Table] = [kind(T=50) for kind in (Linear, ScaledLinear, Quadratic, Cosine, Sigmoid)]
GIVEN: list[Table] = [Betas((0.1, 0.3, 0.2, 0.9)), AlphasCumprod((0.99, 0.5, 0.3, 0.01))]
PRESERVING: list[Schedule] = [*TABLES, *SHORT, *GIVEN, VP(), VP(beta_min=0.5, beta_max=5.0, first=0.01)]
ENDING_IN_NOISE: list[Schedule] = [ZeroTerminal(Linear()), ZeroTerminal(Cosine(T=50)), Flow(), Flow(shift=3.0)]
EXPLODING: list[Schedule] = [
    VE(),
    VE(sigma_min=0.1, sigma_max=2.0),
    VE(growth="linear"),
    VE(T=10, sigma_max=1.0),
    VE(T=1000, growth="linear"),
    EDM(),
    EDM(sigma_min=0.1, sigma_max=3.0),
]
ALL: list[Schedule] = [*PRESERVING, *ENDING_IN_NOISE, *EXPLODING, SubVP(), SubVP(beta_min=0.5, beta_max=5.0)]

each = pytest.mark.parametrize("schedule", ALL, ids=repr)
each_table = pytest.mark.parametrize("schedule", [*TABLES, *SHORT, GIVEN[0]], ids=repr)


def at(*times: float) -> torch.Tensor:
    return torch.tensor(times, dtype=torch.float64)


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (Linear(), 1e-4, 0.02),
        (ScaledLinear(), 0.00085, 0.012),
        (Quadratic(), 1e-4, 0.02),
        (Sigmoid(), 1e-4 + 0.0199 / (1 + math.e**6), 0.02 - 0.0199 / (1 + math.e**6)),
        (Cosine(), 1 - (math.cos(0.009 / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2, 0.999),
    ],
    ids=repr,
)
def test_betas_have_the_published_ends(schedule: Table, first: float, last: float) -> None:
    betas = schedule.betas()
    assert betas.shape == (1000,) and betas.dtype == torch.float64
    assert (betas[1:] >= betas[:-1]).all()
    assert betas[0].item() == pytest.approx(first, rel=1e-12)
    assert betas[-1].item() == pytest.approx(last, rel=1e-12)


def test_ddpm_ends_with_the_published_share_of_signal() -> None:
    assert Linear()(at(999)).alpha.item() ** 2 == pytest.approx(4.0358e-5, abs=5e-10)


def test_quadratic_is_quadratic_between_the_roots_of_its_ends() -> None:
    roots = [0.01 + (math.sqrt(0.02) - 0.01) * i / 999 for i in range(1000)]
    assert Quadratic().betas().tolist() == pytest.approx([root**2 for root in roots], rel=1e-12)


def test_cosine_is_its_formula_up_to_the_largest_beta() -> None:
    def f(t: float) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    level = Cosine()(torch.arange(1000))
    wanted = [f(t + 1) / f(0) for t in range(999)]
    assert (level.alpha**2)[:-1].tolist() == pytest.approx(wanted, rel=1e-9)
    assert (level.alpha[-1] / level.alpha[-2]).item() ** 2 == pytest.approx(1 - 0.999, rel=1e-9)


@each_table
def test_a_table_is_the_product_of_its_betas(schedule: Table) -> None:
    level = schedule(torch.arange(schedule.T))
    with mpmath.workdps(40):
        bar = mpmath.mpf(1)
        for t, beta in enumerate(schedule.betas().tolist()):
            bar *= 1 - mpmath.mpf(beta)
            assert level.alpha[t].item() == pytest.approx(float(mpmath.sqrt(bar)), rel=1e-12)
            assert level.sigma[t].item() == pytest.approx(float(mpmath.sqrt(1 - bar)), rel=1e-12)
            assert level.logsnr[t].item() == pytest.approx(float(mpmath.log(bar / (1 - bar))), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    "schedule", [VP(), VP(beta_min=0.5, beta_max=5.0), VP(beta_min=5.0, beta_max=5.0), VP(0.0)], ids=repr
)
@pytest.mark.parametrize("t", [1e-6, 1e-3, 0.1, 0.5, 1.0])
def test_vp_is_the_integral_of_its_beta(schedule: VP, t: float) -> None:
    with mpmath.workdps(30):
        rise = mpmath.mpf(schedule.beta_max) - schedule.beta_min
        total = mpmath.quad(lambda s: schedule.beta_min + s * rise, [0, mpmath.mpf(t)])
        alpha, sigma = float(mpmath.exp(-total / 2)), float(mpmath.sqrt(-mpmath.expm1(-total)))
    level = schedule(at(t))
    assert level.alpha.item() == pytest.approx(alpha, rel=1e-12)
    assert level.sigma.item() == pytest.approx(sigma, rel=1e-12)


@pytest.mark.parametrize("schedule", [SubVP(), SubVP(beta_min=0.5, beta_max=5.0)], ids=repr)
@pytest.mark.parametrize("t", [1e-6, 1e-3, 0.1, 0.5, 1.0])
def test_sub_vp_has_the_signal_of_vp_and_the_square_of_its_noise(schedule: SubVP, t: float) -> None:
    with mpmath.workdps(30):
        t_ = mpmath.mpf(t)
        total = t_ * schedule.beta_min + t_**2 * (mpmath.mpf(schedule.beta_max) - schedule.beta_min) / 2
        alpha, sigma = float(mpmath.exp(-total / 2)), float(-mpmath.expm1(-total))
    level = schedule(at(t))
    assert level.alpha.item() == pytest.approx(alpha, rel=1e-12)
    assert level.sigma.item() == pytest.approx(sigma, rel=1e-12)


def test_ve_is_geometric_between_its_ends() -> None:
    t = np.linspace(0, 1, 11)
    level = VE(sigma_min=0.02, sigma_max=30.0)(torch.from_numpy(t))
    assert level.sigma.tolist() == pytest.approx((0.02 * 1500**t).tolist(), rel=1e-13)
    assert level.sigma[0].item() == pytest.approx(0.02) and level.sigma[-1].item() == pytest.approx(30)
    assert (level.alpha == 1).all()


def test_the_noise_levels_of_ncsn_are_a_geometric_sequence() -> None:
    """sigma_1 = 1 to sigma_10 = 0.01 (arXiv:1907.05600, section 5), counted the other way."""
    level = VE(T=10, sigma_min=0.01, sigma_max=1.0)(torch.arange(10))
    wanted = np.exp(np.linspace(np.log(1), np.log(0.01), 10))[::-1]
    assert level.sigma.tolist() == pytest.approx(wanted.tolist(), rel=1e-13)


@pytest.mark.parametrize(("T", "t"), [(None, [0.0, 0.25, 1.0]), (9, [0.0, 2.0, 8.0])])
def test_ve_may_be_linear(T: int | None, t: list[float]) -> None:
    level = VE(T=T, sigma_min=0.1, sigma_max=8.1, growth="linear")(at(*t))
    assert level.sigma.tolist() == pytest.approx([0.1, 2.1, 8.1], rel=1e-13)


def test_the_time_of_edm_is_its_noise() -> None:
    t = at(0, 0.002, 0.5, 80)
    level = EDM()(t)
    assert torch.equal(level.sigma, t) and (level.alpha == 1).all()


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_flow_goes_straight_from_data_to_noise(shift: float) -> None:
    t = np.linspace(0, 1, 11)
    level = Flow(shift)(torch.from_numpy(t))
    sigma = shift * t / (1 + (shift - 1) * t)
    assert level.sigma.tolist() == pytest.approx(sigma.tolist(), rel=1e-14)
    assert level.alpha.tolist() == pytest.approx((1 - sigma).tolist(), rel=1e-13, abs=1e-16)
    assert (level.alpha + level.sigma - 1).abs().max() < 1e-15
    assert level.alpha[-1] == 0 and level.sigma[-1] == 1


def test_the_signal_of_a_preserving_level_is_whole_down_to_the_smallest_numbers() -> None:
    """The sigmoid is 0 below λ = −745; its root is not, before −1490."""
    λ = at(-30, -690, -699.9, -700.1, -745, -746, -1000, -1410, -1600)
    level = preserving(λ, λ)
    with mpmath.workdps(40):
        wanted = [float(mpmath.sqrt(1 / (1 + mpmath.exp(-one)))) for one in λ.tolist()]
    assert level.alpha.tolist() == pytest.approx(wanted, rel=1e-13, abs=0)
    assert level.alpha[-1] == 0 and (level.sigma[1:] == 1).all()
    assert preserving(λ, -λ).sigma.tolist() == level.alpha.tolist()


@pytest.mark.parametrize("schedule", [Linear(T=100_000), VP(beta_max=2900.0), ZeroTerminal(Linear(T=100_000))])
def test_a_schedule_may_fall_below_what_a_sigmoid_can_say(schedule: Schedule) -> None:
    level = schedule((torch.linspace(0.9, 0.99, 9).double() * schedule.last).round(decimals=0 if schedule.T else 3))
    assert (level.alpha > 0).all() and (level.logsnr.diff() < 0).all() and level.logsnr[-1] < -750


def test_flow_keeps_its_signal_next_to_pure_noise() -> None:
    near = 2.0**-40
    assert Flow(shift=3.0)(at(1 - near)).alpha.item() == pytest.approx(near / 3, rel=1e-9)


@pytest.mark.parametrize("of", [Linear(), ScaledLinear(T=50), Cosine()], ids=repr)
def test_a_zero_terminal_table_keeps_its_first_time_and_loses_its_last_signal(of: Table) -> None:
    """Algorithm 1 of arXiv:2305.08891, in forty digits."""
    level = ZeroTerminal(of)(torch.arange(of.T))
    with mpmath.workdps(40):
        bar = [mpmath.mpf(1)]
        for beta in of.betas().tolist():
            bar.append(bar[-1] * (1 - mpmath.mpf(beta)))
        root = [mpmath.sqrt(value) for value in bar[1:]]
        wanted = [float((value - root[-1]) * root[0] / (root[0] - root[-1])) for value in root]
    assert level.alpha.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-15)
    assert (level.alpha**2 + level.sigma**2 - 1).abs().max() < 1e-14
    first = of(at(0))
    assert level.alpha[0].item() == pytest.approx(first.alpha.item(), rel=1e-14)
    assert level.sigma[0].item() == pytest.approx(first.sigma.item(), rel=1e-9)
    assert level.alpha[-1] == 0 and level.sigma[-1] == 1 and level.logsnr[-1] == -math.inf


@given(part=st.floats(0, 1))
def test_towards_pure_noise_the_signal_falls_along_a_straight_line(part: float) -> None:
    schedule = ZeroTerminal(Linear(T=10))
    here, there = schedule(at(8, 8 + part)).alpha.tolist()
    assert there == pytest.approx(here * (1 - part), rel=1e-9, abs=1e-15)


def test_given_betas_and_given_products_are_one_table() -> None:
    betas = Linear(T=30).betas()
    products = AlphasCumprod(tuple((1 - betas).cumprod(0).tolist()))
    for here, there in ((Betas(tuple(betas.tolist())), Linear(T=30)), (products, Linear(T=30))):
        assert here.T == 30 and (here.logsnr - there.logsnr).abs().max() < 1e-10


@pytest.mark.parametrize("schedule", PRESERVING + ENDING_IN_NOISE[:2], ids=repr)
def test_variance_is_preserved(schedule: Schedule) -> None:
    level = schedule(torch.linspace(schedule.first, schedule.last, 777, dtype=torch.float64))
    assert (level.alpha**2 + level.sigma**2 - 1).abs().max() < 1e-14


@each
def test_noise_only_grows(schedule: Schedule) -> None:
    level = schedule(torch.linspace(schedule.first, schedule.last, 777, dtype=torch.float64))
    assert (level.logsnr.diff() < 0).all()
    assert all(field.dtype == torch.float64 and field.shape == (777,) for field in level)


@each_table
@given(data=st.data())
def test_a_fractional_time_lies_on_the_line_between_its_neighbours(schedule: Table, data: st.DataObject) -> None:
    below = data.draw(st.integers(0, schedule.T - 2))
    part = data.draw(st.floats(0, 1))
    low, high, here = schedule(at(below, below + 1, below + part)).logsnr.tolist()
    assert here == pytest.approx(low + part * (high - low), rel=1e-9, abs=1e-9)


@each
@given(part=st.floats(0, 1))
def test_inverse_finds_the_time(schedule: Schedule, part: float) -> None:
    t = at(schedule.first + part * (schedule.last - schedule.first))
    assert schedule.inverse(schedule(t).logsnr).item() == pytest.approx(t.item(), rel=1e-8, abs=1e-8)


@each
def test_inverse_takes_any_type_and_shape_and_counts_in_float64(schedule: Schedule) -> None:
    λ = torch.tensor([[3.0, 1.0], [-0.3, -2.0]])
    found = schedule.inverse(λ)
    assert found.dtype == torch.float64 and torch.equal(found, schedule.inverse(λ.double().flatten()))


@each
@given(logsnr=st.floats(-1e5, 1e5) | st.floats(-15, 15) | st.just(-math.inf))
def test_inverse_stays_within_the_times_of_the_network(schedule: Schedule, logsnr: float) -> None:
    t = schedule.inverse(at(logsnr)).item()
    assert schedule.first <= t <= schedule.last
    if schedule.first < t < schedule.last and logsnr > -15:  # next to pure noise a time is too coarse for λ
        assert schedule(at(t)).logsnr.item() == pytest.approx(logsnr, abs=1e-8)


@each
def test_the_clean_time_has_all_signal_and_no_noise(schedule: Schedule) -> None:
    level = schedule(at(schedule.clean, schedule.last))
    assert level.alpha[0] == 1 and level.sigma[0] == 0 and level.logsnr[0] == math.inf
    assert level.alpha[1] <= 1 and level.sigma[1] > 0
    assert schedule.inverse(level.logsnr)[0] == schedule.clean


def test_clean_is_one_before_the_first_of_a_table() -> None:
    assert Linear().clean == -1
    assert VP().clean == 0


def test_a_schedule_counts_its_times_where_they_are_whole() -> None:
    assert [schedule.T for schedule in (Linear(T=7), Betas((0.1, 0.2)), AlphasCumprod((0.5,)), VE(T=7))] == [7, 2, 1, 7]
    assert ZeroTerminal(Linear(T=7)).T == 7 and ZeroTerminal(Linear(T=7)).last == 6
    assert all(schedule.T is None for schedule in (VP(), SubVP(), VE(), EDM(), Flow()))
    assert [(s.first, s.last) for s in (VE(), VE(T=7), EDM(), Flow())] == [(0, 1), (0, 6), (0.002, 80), (0.001, 1)]


@each_table
@pytest.mark.parametrize("t", [-0.5, -1.5, -2.0, math.inf, -math.inf, math.nan])
def test_a_time_outside_a_table_is_refused(schedule: Table, t: float) -> None:
    with pytest.raises(InputError, match=rf"time must lie in \[0, {schedule.T - 1}\] or be -1 \(clean data\), not \["):
        schedule(at(0, t))


def test_a_time_past_the_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"time must lie in \[0, 999\] or be -1 \(clean data\), not \[999.5\]"):
        Linear()(at(999.5))
    for t in (-0.1, 1.1, math.nan):
        for schedule in (VP(), SubVP(), Flow(), EDM(sigma_max=1.0)):
            with pytest.raises(InputError, match=rf"time must lie in \[0, 1\], not \[{t}\]"):
                schedule(at(t))
        with pytest.raises(InputError, match=rf"time must lie in \[0, 1\] or be -1 \(clean data\), not \[{t}\]"):
            VE()(at(t))


@pytest.mark.parametrize("T", [0, -5, 10**12])
def test_a_schedule_of_no_steps_or_too_many_is_refused(T: int) -> None:
    with pytest.raises(InputError, match=rf"the T of a schedule must be from 1 to 1,000,000, not {T:,}"):
        _ = Linear(T=T).logsnr


@pytest.mark.parametrize("beta_end", [1.0, -0.1, math.nan])
def test_betas_that_are_no_variances_are_refused(beta_end: float) -> None:
    with pytest.raises(InputError, match=r"betas must lie between 0 and 1: Linear\(.* has "):
        Linear(T=10, beta_end=beta_end)(at(3))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Betas(()), "the T of a schedule must be from 1 to 1,000,000, not 0"),
        (Betas((0.1, 1.0)), r"betas must lie between 0 and 1: Betas\(given=\(0.1, 1.0\)\) has 0.1 to 1$"),
        (Betas((0.0,) * 200), "betas must lie between 0 and 1: Betas of T = 200 has 0 to 0$"),
        (AlphasCumprod(()), "the T of a schedule must be from 1 to 1,000,000, not 0"),
        (AlphasCumprod((0.5, 0.7)), "alphas_cumprod must fall, within 0 and 1: these 2"),
        (AlphasCumprod((0.5, 0.5)), "alphas_cumprod must fall"),
        (AlphasCumprod((1.0, 0.5)), "alphas_cumprod must fall"),
        (AlphasCumprod((0.5, 0.0)), "alphas_cumprod must fall"),
        (AlphasCumprod((0.5, math.nan)), "alphas_cumprod must fall"),
        (ZeroTerminal(Linear(T=1)), "only a table of two times or more can be rescaled to end in pure noise, not Lin"),
        (ZeroTerminal(VP()), r"only a table of two times or more can be rescaled to end in pure noise, not VP\("),
        (VE(T=1), "a VE schedule needs T from 2 to 1,000,000, or none, not 1$"),
        (VE(T=10**7), "a VE schedule needs T from 2 to 1,000,000, or none, not 10,000,000$"),
        (VE(sigma_min=0.0), r"a VE schedule needs 0 < sigma_min < sigma_max, not VE\(T=None, sigma_min=0.0"),
        (VE(sigma_max=math.inf), "a VE schedule needs 0 < sigma_min < sigma_max"),
        (EDM(sigma_min=90.0), r"an EDM schedule needs 0 < sigma_min < sigma_max, not EDM\(sigma_min=90.0"),
        (Flow(shift=0.0), r"a flow schedule needs shift > 0 and 0 < first < 1, not Flow\(shift=0.0"),
        (Flow(first=0.0), "a flow schedule needs shift > 0 and 0 < first < 1"),
    ],
    ids=lambda value: repr(value).replace("\\", "")[:60],  # pytest escapes a backslash once more each time it collects
)
def test_a_schedule_that_cannot_be_says_what_it_needs(schedule: Schedule, message: str) -> None:
    with pytest.raises(InputError, match=message):
        schedule(at(schedule.clean))


def test_one_step_is_a_schedule() -> None:
    schedule = Linear(T=1, beta_start=0.3)
    assert schedule(at(0)).sigma.item() == pytest.approx(math.sqrt(0.3))
    assert schedule.inverse(at(0.0)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("schedule", [EDM(0.0023, 80.3), EDM(0.0023, 80.1), VP(first=0.0013), Flow(first=0.0013), VE()])
def test_an_end_that_came_in_a_lower_precision_is_the_end(schedule: Schedule, dtype: torch.dtype) -> None:
    """float32 has 80.30000305 for 80.3, which lies beyond it."""
    level = schedule(torch.tensor([schedule.first, schedule.last], dtype=dtype))
    assert level.t.tolist() == [schedule.first, schedule.last]
    assert level.t.dtype == torch.float64


@pytest.mark.parametrize("schedule", [VP(), EDM(), Flow(), Linear()], ids=repr)
def test_a_schedule_is_computed_on_the_cpu_whatever_device_a_caller_has_set(schedule: Schedule) -> None:
    t = torch.tensor([1.0])
    with torch.device("meta"):
        levels = schedule(t)
    assert all(torch.equal(field, same) for field, same in zip(levels, schedule(t), strict=True))


def test_an_end_that_is_rounded_elsewhere_is_a_time_like_any_other() -> None:
    rounded = torch.tensor([80.1], dtype=torch.float32).double()
    assert EDM(sigma_max=80.1)(rounded).t.item() == rounded.item() != 80.1
    with pytest.raises(InputError, match=r"time must lie in \[0, 80.3\], not \[80.30000305"):
        EDM(sigma_max=80.3)(torch.tensor([80.3]).double())
    assert EDM(sigma_max=80.3)(torch.tensor([80])).t.item() == 80


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_times_of_any_type_give_levels_in_float64(dtype: torch.dtype) -> None:
    level = Linear()(torch.tensor([0, 500, 999], dtype=dtype))
    assert all(torch.equal(here, there) for here, there in zip(level, Linear()(at(0, 500, 999)), strict=True))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Linear(), {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
        (ScaledLinear(), {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
        (Cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
        (Sigmoid(), {"beta_schedule": "sigmoid", "beta_start": 1e-4, "beta_end": 0.02}),
        (Linear(T=100), {"beta_schedule": "linear", "num_train_timesteps": 100}),
        (Cosine(T=100), {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 100}),
    ],
    ids=repr,
)
def test_diffusers_has_the_same_tables(ours: Table, theirs: dict[str, object]) -> None:
    diffusers = pytest.importorskip("diffusers")
    bar = diffusers.DDPMScheduler(**theirs).alphas_cumprod.double()  # computed in float32
    assert (ours(torch.arange(ours.T)).alpha ** 2 - bar).abs().max() < 1e-6


def test_diffusers_rescales_to_zero_terminal_snr_as_we_do() -> None:
    ddpm = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
    for of in (Linear(), ScaledLinear(), Cosine()):
        theirs = (1 - ddpm.rescale_zero_terminal_snr(of.betas())).cumprod(0)
        ours = ZeroTerminal(of)(torch.arange(of.T)).alpha ** 2
        assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_diffusers_shifts_a_flow_as_we_do(shift: float) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift).sigmas.double()
    ours = Flow(shift)(torch.arange(1000, 0, -1, dtype=torch.float64) / 1000).sigma
    assert (ours - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("kind", [VP, SubVP])
@pytest.mark.parametrize(
    "wrong",
    [
        dict(beta_min=-1.0),
        dict(beta_max=0.01),
        dict(beta_min=0.0, beta_max=0.0),
        dict(beta_max=math.inf),
        dict(first=1.0),
        dict(first=0.0),
    ],
    ids=str,
)
def test_a_continuous_schedule_that_cannot_be_says_so(kind: Any, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="a VP schedule needs 0 ≤ beta_min ≤ beta_max"):
        kind(**wrong)(torch.tensor([0.5]))
