"""Each sampler's own promises: when it draws noise and of what size, where it can start, and what it refuses."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import posterior_variance, step_variance
from sfumato.core.grid import (
    ExplicitSpacing,
    KarrasSpacing,
    LogSNRSpacing,
    Spacing,
    TrailingSpacing,
    UniformSpacing,
    levels,
)
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.schedule import EDM, VP, Flow, Linear, Schedule, ZeroTerminal
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.oracle import GaussianDenoiser, MixtureDenoiser
from sfumato.parts import SAMPLERS
from sfumato.sample import (
    DDIM,
    IPNDM,
    LMS,
    PLMS,
    Ancestral,
    DPMSolver,
    DPMSolverPairs,
    DPMSolverS,
    Euler,
    Heun,
    Langevin,
    Sampler,
    UniPC,
    sample,
)
from sfumato.sample.driver import check_evaluations
from sfumato.sample.facts import FACTS
from sfumato.sample.steps import solve_moments

SCHEDULE = Linear()
ENDS_IN_NOISE: dict[str, Schedule] = {"flow": Flow(), "flow-shifted": Flow(shift=3.0), "zero": ZeroTerminal(Linear())}
LONG: list[Schedule] = [Linear(T=100_000), Linear(T=1_000_000), VP(beta_max=5000.0)]
SOLVERS = [name for name, facts in FACTS.items() if facts.order is not None]
RULES: list[Sampler[Any]] = [DDIM(), DDIM(eta=0.5), DDIM(eta=1.0), Ancestral("small"), Ancestral("large")]


class Says:
    """A denoiser that predicts the noise `eps`, and counts how often it is asked."""

    schedule: Schedule = SCHEDULE

    def __init__(self, eps: Tensor) -> None:
        self.eps, self.asked = eps, 0

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.asked += 1
        return Estimate(x_t, level, (x_t - like(level.sigma, x_t) * self.eps) / like(level.alpha, x_t))


class Always(Noise):
    """Noise that is `value` everywhere at each draw."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def like(self, x: Tensor) -> Tensor:
        return torch.full_like(x, self.value)


def mixture(schedule: Schedule) -> MixtureDenoiser:
    weights, means, stds = ([0.3, 0.7], [[-0.8], [0.9]], [0.6, 0.5])
    return MixtureDenoiser(schedule, *(torch.tensor(each, dtype=torch.float64) for each in (weights, means, stds)))


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def moved(sampler: Sampler[Any], denoiser: DenoiserLike, x: Tensor, path: Sequence[Level]) -> Tensor:
    """Where a trajectory ends, however short it is."""
    state = sampler.init(x, path)
    for now, then in pairwise(path):
        x, state = sampler.step(denoiser, x, now, then, state, Always(0.5))
    return x


@pytest.mark.parametrize("sampler", RULES, ids=repr)
def test_the_noise_of_a_step_has_its_deviation(sampler: Sampler[Any]) -> None:
    now, then = SCHEDULE(torch.tensor([600])), SCHEDULE(torch.tensor([400]))
    x = torch.zeros(1, 1, dtype=torch.float64)
    (still, _), (noised, _) = (
        sampler.step(Says(x), x, now, then, sampler.init(x, [now, then]), Always(value)) for value in (0, 1)
    )
    match sampler:
        case DDIM(eta):
            wanted = eta**2 * posterior_variance(then, now)
        case Ancestral("small"):
            wanted = posterior_variance(then, now)
        case _:
            wanted = step_variance(then, now)
    assert (noised - still).item() == pytest.approx(wanted.sqrt().item(), abs=1e-12)


@pytest.mark.parametrize("sampler", [name for name in SOLVERS if name != "ddpm,variance=large"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_samples_keep_their_type_and_shape(sampler: str, dtype: torch.dtype) -> None:
    x = torch.zeros(2, 1, 2, 2, dtype=dtype)
    *_, last = sample(Says(x), SAMPLERS.parse(sampler), x, levels(SCHEDULE, TrailingSpacing(), 5), noise=Noise([1, 2]))
    assert last.dtype == dtype and last.shape == x.shape
    assert last.isfinite().all()


# Pure noise ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ENDS_IN_NOISE)
@pytest.mark.parametrize("sampler", [name for name in SOLVERS if FACTS[name].from_noise])
def test_a_trajectory_may_start_from_pure_noise(sampler: str, schedule: str) -> None:
    """At every step samples stay finite, the first ones too, whose history reaches back to infinite sigma/alpha; and in
    the end they have the spread of the data."""
    chosen = ENDS_IN_NOISE[schedule]
    oracle = GaussianDenoiser(chosen, *column(0.6, 0.5))
    path = levels(chosen, TrailingSpacing(), 30)
    assert path[0].alpha.item() == 0
    found = list(sample(oracle, SAMPLERS.parse(sampler), column(-1, 0, 1), path, noise=Always(0.0)))
    assert all(bool(x.isfinite().all()) for x in found)
    low, middle, high = found[-1].flatten().tolist()
    assert middle == pytest.approx(0.6, abs=1e-9)
    if not FACTS[sampler].stochastic:
        assert (high - low) / 2 == pytest.approx(0.5, abs=0.06 if FACTS[sampler].order == 1 else 0.03)


@pytest.mark.parametrize("schedule", LONG, ids=repr)
@pytest.mark.parametrize("sampler", [*SOLVERS, "predictor-corrector"])
def test_signal_too_small_to_write_down_is_no_obstacle(sampler: str, schedule: Schedule) -> None:
    """The first of these levels have an alpha of 1e-217, or of 0 one after another: x_t says nothing of the data."""
    path = levels(schedule, UniformSpacing(), 50)
    assert path[0].alpha == path[1].alpha == 0 or 0 < path[0].alpha < 1e-160
    if path[0].alpha == 0 and not FACTS[sampler].from_noise:
        return
    oracle = GaussianDenoiser(schedule, *column(0.6, 0.5))
    *_, last = sample(oracle, SAMPLERS.parse(sampler), column(-1, 0, 1), path, noise=Always(0.0))
    assert last.isfinite().all()
    assert last[1].item() == pytest.approx(0.6, abs=1e-3)  # coefficients for even strides enlarge what is rounded here


@pytest.mark.parametrize("spacing", [KarrasSpacing(), LogSNRSpacing()], ids=repr)
@pytest.mark.parametrize("sampler", ["dpm++,order=3", "unipc,order=3", "lms", "heun"])
def test_nor_is_noise_whose_powers_are_infinite(sampler: str, spacing: Spacing) -> None:
    oracle = GaussianDenoiser(LONG[0], *column(0.6, 0.5))
    *_, last = sample(oracle, SAMPLERS.parse(sampler), column(0), levels(LONG[0], spacing, 50), noise=Always(0.0))
    assert last.item() == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize(
    "sampler", ["dpm++,order=3", "dpm++,order=3,eta=1", "unipc,order=3", "lms", "ddpm", "dpm++pairs"]
)
def test_a_sample_without_signal_steps_beside_others_as_it_does_alone(sampler: str) -> None:
    rule, oracle, x = SAMPLERS.parse(sampler), GaussianDenoiser(LONG[1], *column(0.6, 0.5)), column(0.3, -0.4)
    first, second = (levels(LONG[1], UniformSpacing(), 50)[i:][:5] for i in (0, 45))
    both = [Level(*(torch.cat(pair) for pair in zip(a, b, strict=True))) for a, b in zip(first, second, strict=True)]
    alone = [moved(rule, oracle, x[i : i + 1], path) for i, path in enumerate((first, second))]
    assert torch.allclose(moved(rule, oracle, x, both), torch.cat(alone), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", ENDS_IN_NOISE)
@pytest.mark.parametrize("sampler", [name for name in SOLVERS if not FACTS[name].from_noise])
def test_or_says_what_may(sampler: str, schedule: str) -> None:
    chosen = ENDS_IN_NOISE[schedule]
    with pytest.raises(InputError, match="no bound at pure noise .alpha 0.: take heun,along=flow, or ddim"):
        next(
            sample(
                mixture(chosen),
                SAMPLERS.parse(sampler),
                column(0),
                levels(chosen, TrailingSpacing(), 9),
                noise=Noise([]),
            )
        )


# Too few steps ------------------------------------------------------------------------------------------------------


def lower(sampler: Sampler[Any]) -> Sampler[Any]:
    """The same sampler, one order lower."""
    order = getattr(sampler, "order", 1)
    return replace(sampler, order=order - 1) if order > 1 else DDIM()  # pyright: ignore[reportCallIssue]


HIGH = [name for name in SOLVERS if SAMPLERS.parse(name).min_steps > 1]


@pytest.mark.parametrize("sampler", HIGH)
def test_with_fewer_steps_than_the_least_a_solver_would_be_one_of_lower_order(sampler: str) -> None:
    rule = SAMPLERS.parse(sampler)
    x, schedule = column(-1, 0.3, 2), VP()

    def apart(steps: int) -> float:
        path = levels(schedule, TrailingSpacing(), steps)
        here, there = (moved(each, mixture(schedule), x, path) for each in (rule, lower(rule)))
        return (here - there).abs().max().item()

    assert apart(rule.min_steps - 1) < 1e-12
    assert apart(rule.min_steps) > 1e-4


@pytest.mark.parametrize("sampler", HIGH)
def test_so_fewer_are_an_input_error_before_anything_is_asked(sampler: str) -> None:
    rule, x, says = SAMPLERS.parse(sampler), torch.zeros(1, 2), Says(torch.zeros(1, 2))
    short = levels(SCHEDULE, TrailingSpacing(), rule.min_steps - 1)
    message = (
        f"needs at least {rule.min_steps} steps to be of its order, not {rule.min_steps - 1}: take more steps, a lower"
    )
    with pytest.raises(InputError, match=message):
        next(sample(says, rule, x, short, noise=Noise([0])))
    assert not says.asked


@pytest.mark.parametrize(("repeats", "steps", "may"), [(1000, 1000, True), (1000, 1001, False), (1001, 1, False)])
def test_a_trajectory_that_would_never_end_is_refused(repeats: int, steps: int, may: bool) -> None:
    rule = Langevin(1e-3, steps=repeats - 1)  # and once more onto clean data
    if may:
        return check_evaluations(rule, steps)
    with pytest.raises(
        InputError, match=f"asks the network {repeats:,} times a step, in {steps:,} steps: at most 1,000 a"
    ):
        check_evaluations(rule, steps)


def test_what_remembers_nothing_and_looks_once_can_do_with_one_step() -> None:
    assert {name for name in SOLVERS if name not in HIGH} == {
        *(name for name in SOLVERS if name.startswith(("ddpm", "ddim", "euler"))),
        *("dpm++,order=1", "dpm++,order=1,eta=1", "ipndm,order=1", "lms,order=1"),
    }


# Settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [DDIM, DPMSolver, DPMSolverS])
@pytest.mark.parametrize("eta", [-3.0, 2.0, float("nan")])
def test_an_eta_out_of_bounds_is_an_input_error(rule: Any, eta: float) -> None:
    with pytest.raises(InputError, match="eta must lie between 0 .* and 1"):
        list(sample(Says(torch.zeros(1, 2)), rule(eta=eta), torch.zeros(1, 2), PATH, noise=Noise([0])))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (LMS(0), "from 1 to 4, not 0"),
        (LMS(5), "from 1 to 4, not 5"),
        (IPNDM(5), "from 1 to 4, not 5"),
        (PLMS(-1), "from 1 to 4, not -1"),
        (DPMSolver(4), "must be 1, 2 or 3, not 4"),
        (DPMSolver(0), "must be 1, 2 or 3, not 0"),
        (UniPC(4), "must be 1, 2 or 3, not 4"),
    ],
    ids=repr,
)
def test_an_order_that_is_not_there_is_an_input_error(rule: Sampler[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(sample(Says(torch.zeros(1, 2)), rule, torch.zeros(1, 2), PATH, noise=Noise([0])))


@pytest.mark.parametrize("rule", [Euler, Heun])
@pytest.mark.parametrize("churn", [-0.1, 0.42, float("nan")])
def test_a_churn_out_of_bounds_is_an_input_error(rule: Any, churn: float) -> None:
    with pytest.raises(InputError, match="churn must lie between 0 .none. and √2 − 1 = 0.4142"):
        list(sample(Says(torch.zeros(1, 2)), rule(churn=churn), torch.zeros(1, 2), PATH, noise=Noise([0])))


PATH = levels(SCHEDULE, UniformSpacing(), 9)


# Beside the published code, in float64 --------------------------------------------------------------------------------


def exactly(schedule: Schedule) -> GaussianDenoiser:
    """Data N(0.3, 0.5²), whose denoiser is known."""
    return GaussianDenoiser(schedule, *(torch.tensor([value], dtype=torch.float64) for value in (0.3, 0.5)))


@pytest.mark.parametrize(("sigma_min", "sigma_max"), [(0.002, 80.0), (0.0023, 80.3)])
def test_heun_on_karras_times_is_edm(sigma_min: float, sigma_max: float) -> None:
    """arXiv:2206.00364, algorithm 1 on the times of eq. 5."""
    n, rho, x = 18, 7, 1.7 * sigma_max
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    t = [*((ends[0] + i / (n - 1) * (ends[1] - ends[0])) ** rho for i in range(n)), 0.0]

    def d(x: float, σ: float) -> float:
        return (x - (0.3 + 0.25 / (0.25 + σ**2) * (x - 0.3))) / σ

    for now, then in pairwise(t):
        here = d(x, now)
        new = x + (then - now) * here
        x = x + (then - now) * (here + d(new, then)) / 2 if then else new
    schedule = EDM(sigma_min, sigma_max)
    found = moved(Heun(), exactly(schedule), column(1.7 * sigma_max), levels(schedule, KarrasSpacing(), n))
    assert found.item() == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("times", [range(0, 1000, 33), [int(v) for v in torch.linspace(0, 800**0.5, 10).double() ** 2]])
def test_ddim_on_times_that_are_given_is_the_code_released_with_it(times: Sequence[int]) -> None:
    """functions/denoising.py: `x0 = (x − √(1 − a)·e)/√a`, then to the time before, and from the first to −1."""
    products, x = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0), 1.2
    for now, before in zip(reversed(times), [*reversed(times[:-1]), -1], strict=True):
        a, b = products[now].item(), products[before].item() if before >= 0 else 1.0
        x0 = 0.3 + a**0.5 * 0.25 / (a * 0.25 + 1 - a) * (x - a**0.5 * 0.3)
        x = b**0.5 * x0 + (1 - b) ** 0.5 * (x - a**0.5 * x0) / (1 - a) ** 0.5
    path = levels(Linear(), ExplicitSpacing(tuple(reversed(times))), len(times))
    assert moved(DDIM(), exactly(Linear()), column(1.2), path).item() == pytest.approx(x, rel=1e-12)


def test_2m_on_logsnr_times_is_dpm_solver() -> None:
    """arXiv:2211.01095, algorithm 2, between the λ of VP at 1e-3 and 1 (arXiv:2206.00927, appendix D.4)."""

    def λ(t: float) -> float:
        log_alpha = -(t**2) * (20 - 0.1) / 4 - t * 0.1 / 2
        return log_alpha - math.log(-math.expm1(2 * log_alpha)) / 2

    n, x, before = 20, 1.2, None
    grid = [λ(1.0) + i / (n - 1) * (λ(1e-3) - λ(1.0)) for i in range(n)]
    for i, (now, then) in enumerate(pairwise(grid)):
        a_t, a_s = (1 / math.sqrt(1 + math.exp(-2 * one)) for one in (now, then))
        s_t, s_s = (1 / math.sqrt(1 + math.exp(2 * one)) for one in (now, then))
        x0 = 0.3 + a_t * 0.25 / (a_t**2 * 0.25 + s_t**2) * (x - a_t * 0.3)
        h, D = then - now, x0
        if before is not None:
            r = (now - grid[i - 1]) / h
            D = (1 + 1 / (2 * r)) * x0 - before / (2 * r)
        x, before = s_s / s_t * x - a_s * math.expm1(-h) * D, x0
    found = moved(DPMSolver(2), exactly(VP()), column(1.2), levels(VP(), LogSNRSpacing(), n)[:-1])
    assert found.item() == pytest.approx(x, rel=1e-12)


# Churn --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [Linear(), VP(), EDM()], ids=repr)
def test_churn_raises_the_noise_and_keeps_the_signal(schedule: Schedule) -> None:
    """Samples of the level below become samples of the level above: `alpha·x_0 + sigma·eps` with another eps."""
    now = schedule(schedule.inverse(torch.tensor([0.0, -2.0], dtype=torch.float64)))
    x_0 = column(3.0, -2.0)
    rule = Euler(churn=0.2)
    still, level = rule.churned(schedule, like(now.alpha, x_0) * x_0, now, Always(0.0))
    noised, _ = rule.churned(schedule, like(now.alpha, x_0) * x_0, now, Always(1.0))
    assert torch.allclose(level.sigma / level.alpha, 1.2 * now.sigma / now.alpha, rtol=1e-12)
    assert torch.allclose(still, like(level.alpha, x_0) * x_0, rtol=1e-12)
    kept = (level.alpha / now.alpha * now.sigma) ** 2  # of the noise that was there
    assert torch.allclose((noised - still)[:, 0] ** 2 + kept, level.sigma**2, rtol=1e-12)


def test_churn_is_for_the_noise_it_is_meant_for_and_never_beyond_the_last() -> None:
    schedule = EDM()
    now = schedule(torch.tensor([0.03, 0.5, 60.0, 79.0], dtype=torch.float64))
    x = torch.zeros(4, 1, dtype=torch.float64)
    _, level = Heun(churn=0.1, low=0.05, high=50.0).churned(schedule, x, now, Always())
    assert level.sigma.tolist() == pytest.approx([0.03, 0.55, 60.0, 79.0])
    _, level = Heun(churn=0.1).churned(schedule, x, now, Always())
    assert level.sigma.tolist() == pytest.approx([0.033, 0.55, 66.0, 80.0])


@pytest.mark.parametrize("rule", [Euler, Heun])
def test_churn_may_be_all_that_edm_lets_it(rule: Any) -> None:
    now = EDM()(torch.tensor([2.0], dtype=torch.float64))
    _, level = rule(churn=math.sqrt(2) - 1).churned(EDM(), column(0.0), now, Always())
    assert level.sigma.item() == pytest.approx(2 * math.sqrt(2), rel=1e-12)


@pytest.mark.parametrize("bound", [0.05, 0.3, 1.1, 50.0, 60.7])
def test_churn_counts_its_bounds_in(bound: float) -> None:
    """`S_tmin ≤ t ≤ S_tmax` (EDM, algorithm 2)."""
    now, x = EDM()(torch.tensor([bound], dtype=torch.float64)), column(0.0)
    for rule in (Euler(churn=0.1, low=bound), Euler(churn=0.1, high=bound)):
        assert rule.churned(EDM(), x, now, Always())[1].sigma.item() == pytest.approx(1.1 * bound, rel=1e-12)


def test_plms_goes_straight_onto_the_data_beside_samples_that_do_not() -> None:
    oracle, x = mixture(SCHEDULE), column(0.4, -0.7)
    now, then = (SCHEDULE(torch.tensor(t, dtype=torch.float64)) for t in ([500.0, 20.0], [400.0, -1.0]))
    both, _ = PLMS().step(oracle, x, now, then, (), Always())
    for i in range(2):
        a, b = (Level(*(value[i : i + 1] for value in level)) for level in (now, then))
        alone, _ = PLMS().step(oracle, x[i : i + 1], a, b, (), Always())
        assert both[i].item() == pytest.approx(alone.item(), rel=1e-12)
    assert both[1].item() == pytest.approx(oracle(x, now).x0[1].item(), rel=1e-12)


@pytest.mark.parametrize("sampler", ["dpm++", "dpm++,order=3", "unipc", "lms", "ipndm", "plms", "heun"])
def test_a_solver_that_looks_further_comes_nearer(sampler: str) -> None:
    """In as many steps, to where ten times as many come to."""
    path = levels(SCHEDULE, TrailingSpacing(), 20)
    x, oracle = column(-1.5, -0.2, 0.4, 1.1), mixture(SCHEDULE)
    wanted = moved(SAMPLERS.parse("dpm++,order=3"), oracle, x, levels(SCHEDULE, LogSNRSpacing(), 200))
    near, far = (
        (moved(SAMPLERS.parse(name), oracle, x, path) - wanted).abs().max().item() for name in (sampler, "ddim")
    )
    assert near < far


@pytest.mark.parametrize("far", [math.inf, 1e200, -1e160])
def test_a_place_so_far_that_its_powers_are_infinite_gets_no_weight(far: float) -> None:
    """The weights of the others are those without it: w_0 + w_1 = 1 and w_1 − 2 w_0 = 1/2."""
    places, moments = (torch.tensor([row], dtype=torch.float64) for row in ([-2.0, 1.0, far], [1.0, 0.5, 7.0]))
    assert solve_moments(places, moments)[0].tolist() == pytest.approx([1 / 6, 5 / 6, 0.0], abs=1e-15)


@pytest.mark.parametrize(
    ("sampler", "plain"),
    [
        (DPMSolver(3, lower_final=True), DPMSolver(3)),
        (DPMSolver(2, euler_final=True), DPMSolver(2)),
        (DPMSolverPairs(lower_final=True), DPMSolverPairs()),
        (UniPC(3, lower_final=True), UniPC(3)),
        (UniPC(2, uncorrected=(1,)), UniPC(2)),
    ],
    ids=repr,
)
def test_steps_by_hand_end_as_those_of_the_driver_do(sampler: Sampler[Any], plain: Sampler[Any]) -> None:
    """With the last steps of lower order, wherever the levels end: here in noise, where orders differ."""
    x, path = column(0.4, -1.1), levels(SCHEDULE, TrailingSpacing(), 9)[:-1]
    *_, wanted = sample(mixture(SCHEDULE), sampler, x, path, noise=Always(0.5))
    assert torch.equal(moved(sampler, mixture(SCHEDULE), x, path), wanted)
    assert (moved(plain, mixture(SCHEDULE), x, path) - wanted).abs().max() > 1e-6
