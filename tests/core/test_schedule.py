"""Noise schedules against their formulas, against brute force and against diffusers."""

import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.core.schedule import VP, Cosine, Linear, Quadratic, ScaledLinear, Schedule, Sigmoid, Table
from sfumato.errors import InputError

TABLES: list[Table] = [Linear(), ScaledLinear(), Quadratic(), Cosine(), Sigmoid()]
SHORT: list[Table] = [kind(T=50) for kind in (Linear, ScaledLinear, Quadratic, Cosine, Sigmoid)]
ALL: list[Schedule] = [*TABLES, *SHORT, VP(), VP(beta_min=0.5, beta_max=5.0, first=0.01)]

each = pytest.mark.parametrize("schedule", ALL, ids=repr)
each_table = pytest.mark.parametrize("schedule", [*TABLES, *SHORT], ids=repr)


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


@pytest.mark.parametrize("schedule", [VP(), VP(beta_min=0.5, beta_max=5.0)], ids=repr)
@pytest.mark.parametrize("t", [1e-6, 1e-3, 0.1, 0.5, 1.0])
def test_vp_is_the_integral_of_its_beta(schedule: VP, t: float) -> None:
    with mpmath.workdps(30):
        rise = mpmath.mpf(schedule.beta_max) - schedule.beta_min
        total = mpmath.quad(lambda s: schedule.beta_min + s * rise, [0, mpmath.mpf(t)])
        alpha, sigma = float(mpmath.exp(-total / 2)), float(mpmath.sqrt(-mpmath.expm1(-total)))
    level = schedule(at(t))
    assert level.alpha.item() == pytest.approx(alpha, rel=1e-12)
    assert level.sigma.item() == pytest.approx(sigma, rel=1e-12)


@each
def test_variance_is_preserved_and_noise_only_grows(schedule: Schedule) -> None:
    level = schedule(torch.linspace(schedule.first, schedule.last, 777, dtype=torch.float64))
    assert (level.alpha**2 + level.sigma**2 - 1).abs().max() < 1e-14
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
@given(logsnr=st.floats(-60, 60))
def test_inverse_stays_within_the_times_of_the_network(schedule: Schedule, logsnr: float) -> None:
    t = schedule.inverse(at(logsnr)).item()
    assert schedule.first <= t <= schedule.last
    if schedule.first < t < schedule.last:
        assert schedule(at(t)).logsnr.item() == pytest.approx(logsnr, abs=1e-8)


@each
def test_the_clean_time_has_all_signal_and_no_noise(schedule: Schedule) -> None:
    level = schedule(at(schedule.clean, schedule.last))
    assert level.alpha[0] == 1 and level.sigma[0] == 0 and level.logsnr[0] == math.inf
    assert level.alpha[1] < 1 and level.sigma[1] > 0
    assert schedule.inverse(level.logsnr)[0] == schedule.clean


def test_clean_is_one_before_the_first_of_a_table() -> None:
    assert Linear().clean == -1
    assert VP().clean == 0


@each_table
@pytest.mark.parametrize("t", [-0.5, -1.5, -2.0, math.inf, -math.inf, math.nan])
def test_a_time_outside_a_table_is_refused(schedule: Table, t: float) -> None:
    with pytest.raises(InputError, match=rf"time must lie in \[0, {schedule.T - 1}\] or be -1 \(clean data\), not \["):
        schedule(at(0, t))


def test_a_time_past_the_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"time must lie in \[0, 999\] or be -1 \(clean data\), not \[999.5\]"):
        Linear()(at(999.5))
    for t in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match=rf"time must lie in \[0, 1\], not \[{t}\]"):
            VP()(at(t))


@pytest.mark.parametrize("T", [0, -5, 10**12])
def test_a_schedule_of_no_steps_or_too_many_is_refused(T: int) -> None:
    with pytest.raises(InputError, match=rf"the T of a schedule must be from 1 to 1,000,000, not {T:,}"):
        _ = Linear(T=T).logsnr


@pytest.mark.parametrize("beta_end", [1.0, -0.1, math.nan])
def test_betas_that_are_no_variances_are_refused(beta_end: float) -> None:
    with pytest.raises(InputError, match=r"betas must lie between 0 and 1: Linear\(.* has "):
        Linear(T=10, beta_end=beta_end)(at(3))


def test_one_step_is_a_schedule() -> None:
    schedule = Linear(T=1, beta_start=0.3)
    assert schedule(at(0)).sigma.item() == pytest.approx(math.sqrt(0.3))
    assert schedule.inverse(at(0.0)).item() == 0


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


@pytest.mark.parametrize("wrong", [dict(beta_min=-1.0), dict(beta_max=0.01), dict(first=2.0), dict(first=0.0)], ids=str)
def test_a_continuous_schedule_that_cannot_be_says_so(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="a VP schedule needs 0 ≤ beta_min ≤ beta_max"):
        VP(**wrong)(torch.tensor([0.5]))
