"""Langevin dynamics end in the law of the level; annealed, in that of the data; as correctors, they mend others."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal
from sfumato.core.grid import UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import VE, VP, Cosine, Flow, Linear, Schedule
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.oracle import GaussianDenoiser, MixtureDenoiser, finite
from sfumato.sample import (
    DDIM,
    Ancestral,
    AnnealedLangevin,
    DPMSolver,
    Langevin,
    PredictorCorrector,
    Sampler,
    UniPC,
    sample,
)

MEAN, STD = 0.6, 0.5
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5]], dtype=torch.float64)
STDS = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64)
RULES: list[Sampler[Any]] = [
    Langevin(1e-3, steps=2),
    AnnealedLangevin(steps=2),
    PredictorCorrector(corrections=2),
    PredictorCorrector(DPMSolver()),
]


class Draws(Noise):
    """Noise from one stream, and a count of the draws."""

    def __init__(self, seed: int = 0) -> None:
        self.stream, self.drawn = torch.Generator().manual_seed(seed), 0

    def like(self, x: Tensor) -> Tensor:
        self.drawn += 1
        return torch.randn(x.shape, generator=self.stream, dtype=x.dtype)


class Given(Noise):
    """Noise that is what the test says, at every draw."""

    def __init__(self, noise: Tensor | float) -> None:
        self.noise = noise

    def like(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) + self.noise


@dataclass
class Counts:
    """A denoiser that counts what it is asked."""

    denoiser: DenoiserLike
    asked: int = 0

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.asked += 1
        return self.denoiser(x_t, level, condition)


class Stays:
    """A predictor that leaves samples where they are, and hands on how often it was asked."""

    min_steps = 1

    def init(self, x: Tensor, levels: Sequence[Level]) -> int:
        return 0

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: int, noise: Noise
    ) -> tuple[Tensor, int]:
        return x, state + 1


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute error."""
    return (found - wanted).abs().max().item()


def at(schedule: Schedule, *t: float) -> Level:
    return schedule(torch.tensor(t, dtype=torch.float64))


def gaussian(schedule: Schedule, *d: int) -> GaussianDenoiser:
    mean = torch.full(d, MEAN, dtype=torch.float64)
    return GaussianDenoiser(schedule, mean, torch.full_like(mean, STD))


def variance(level: Level) -> float:
    """That of x_t, for the Gaussian data."""
    return (level.alpha**2 * STD**2 + level.sigma**2).item()


def run(denoiser: DenoiserLike, sampler: Sampler[Any], x: Tensor, path: Sequence[Level], seed: int = 0) -> Tensor:
    """Where samples end."""
    *_, last = sample(denoiser, sampler, x, path, noise=Draws(seed))
    return last


def affine(sampler: Sampler[Any], denoiser: DenoiserLike, level: Level) -> tuple[float, float, float]:
    """Gain, offset and deviation of one iteration: what it makes of 0, of 1, and of a noise of 1."""
    x, noise = (torch.tensor(numbers, dtype=torch.float64)[:, None] for numbers in ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]))
    same = Level(*(field.expand(3) for field in level))
    (at_0, at_1, noised), _ = sampler.step(denoiser, x, same, same, None, Given(noise))
    return (at_1 - at_0).item(), at_0.item(), (noised - at_0).item()


def assert_shares(which: Tensor, weights: Tensor) -> None:
    """Each kind's share is within four standard errors of its weight."""
    shares = torch.bincount(which, minlength=len(weights)) / len(which)
    for share, weight in zip(shares.tolist(), weights.tolist(), strict=True):
        assert share == pytest.approx(weight, abs=4 * math.sqrt(weight * (1 - weight) / len(which)))


# One level


@pytest.mark.parametrize("schedule", [VE(sigma_max=2.0), VP(), Flow()], ids=repr)
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("share", [1.5, 0.4, 0.1])
def test_the_law_of_a_chain_at_one_level_is_that_of_the_level_but_for_a_known_bias(
    schedule: Schedule, t: float, share: float
) -> None:
    """`x ← x + a/2·(mean − x)/v + √a·z` has the mean of the law, and the variance `v/(1 − a/4v)`."""
    level = at(schedule, t)
    v = variance(level)
    gain, offset, std = affine(Langevin(share * v), gaussian(schedule, 1), level)
    assert gain == pytest.approx(1 - share / 2, abs=1e-12)
    assert std == pytest.approx(math.sqrt(share * v), abs=1e-12)
    assert offset / (1 - gain) == pytest.approx(level.alpha.item() * MEAN, abs=1e-12)
    assert std**2 / (1 - gain**2) == pytest.approx(v / (1 - share / 4), abs=1e-12)


def test_the_bias_is_of_first_order_in_the_size() -> None:
    schedule = VE()
    level = at(schedule, 0.3)
    v = variance(level)

    def bias(size: float) -> float:
        gain, _, std = affine(Langevin(size), gaussian(schedule, 1), level)
        return std**2 / (1 - gain**2) / v - 1

    biases = [bias(share * v) for share in (0.04, 0.02, 0.01)]
    assert biases[-1] == pytest.approx(0.01 / 4, rel=0.01)
    for large, small in pairwise(biases):
        assert large / small == pytest.approx(2, rel=0.02)


def test_a_chain_that_starts_far_off_comes_to_its_law_within_statistical_error() -> None:
    n, schedule = 40_000, VE()
    level = at(schedule, 0.4)
    v = variance(level)
    chain = [level] * 41  # 40 steps of 5 iterations, each of gain 0.9
    found = run(gaussian(schedule, n), Langevin(0.2 * v, steps=5), torch.full((1, n), 30.0, dtype=torch.float64), chain)
    wanted = v / (1 - 0.2 / 4)
    assert found.mean().item() == pytest.approx(MEAN, abs=4 * math.sqrt(wanted / n))
    assert found.var().item() == pytest.approx(wanted, abs=4 * wanted * math.sqrt(2 / n))
    assert abs(found.var().item() - v) > 4 * v * math.sqrt(2 / n)  # the bias is seen, so the test could fail


def test_modes_that_overlap_get_their_weights_whichever_the_chain_starts_in() -> None:
    n, weight = 1_500, 0.3
    schedule = VE(sigma_max=1.0)
    data = MixtureDenoiser(
        schedule,
        torch.tensor([weight, 1 - weight], dtype=torch.float64),
        torch.tensor([[-1.0], [1.0]], dtype=torch.float64),
        torch.tensor([0.3, 0.3], dtype=torch.float64),
    )
    level = Level(*torch.tensor([[0.5], [1.0], [0.5]], dtype=torch.float64))
    x = torch.full((n, 1), -1.0, dtype=torch.float64)
    found = run(data, Langevin(0.03, steps=600), x, [level, level])
    wanted = torch.special.ndtr(torch.tensor([-1.0, 1.0], dtype=torch.float64) / math.sqrt(0.3**2 + 0.5**2))
    wanted = weight * wanted[0] + (1 - weight) * wanted[1]
    assert_shares((found[:, 0] > 0).long(), torch.stack([1 - wanted, wanted]))
    assert found.mean().item() == pytest.approx(0.4, abs=4 * math.sqrt((0.84 + 0.34) / n))


def test_a_chain_yields_its_states_and_ends_in_the_mean_of_the_data_given_the_last() -> None:
    schedule = VE()
    data, level, clean = gaussian(schedule, 3), at(schedule, 0.5), at(schedule, -1)
    *states, last = sample(data, Langevin(0.01), normal(2, 3), [level] * 5 + [clean], noise=Draws())
    assert len(states) == 4 and len({tuple(x.flatten().tolist()) for x in states}) == 4
    again, _ = Langevin(0.01).step(data, states[-1], level, level, None, draws := Draws())
    assert draws.drawn == 1 and again.shape == (2, 3)
    noised = states[-1] + 0.005 * data(states[-1], level).score
    found, _ = Langevin(0.01).step(data, states[-1], level, clean, None, Given(0.0))
    assert error(found, data(noised, level).x0) < 1e-12
    assert last.shape == (2, 3)


# Annealed


def test_annealing_is_the_published_algorithm() -> None:
    """NCSN, algorithm 1, in its own terms: `α_i = ε·σ_i²/σ_L²`, and T iterations at each σ_i."""
    schedule = VE(T=5, sigma_min=0.01, sigma_max=1.0)
    path, ε, T, data = levels(schedule, UniformSpacing(), 5), 2e-5, 3, finite(schedule, MEANS)
    start, draws = normal(4, 2), Draws(seed=1)
    wanted = start
    for level in path[:-1]:
        α_i = ε * (level.sigma / 0.01) ** 2
        for _ in range(T):
            wanted = wanted + α_i / 2 * data(wanted, level).score + α_i.sqrt() * draws.like(wanted)
    *_, before, last = sample(data, AnnealedLangevin(T, rate=ε / 0.01**2), start, path, noise=Draws(seed=1))
    assert error(last, data(wanted, path[-2]).x0) < 1e-12
    assert error(before, last) > 1e-3


def test_the_chain_of_ncsnv2_has_twice_the_rate() -> None:
    """arXiv:2006.09011, algorithm 1 with the settings of CIFAR-10: `x + α_i·s + √(2α_i)·z`, 5 times at each of 232
    levels from 50 to 0.01, and then `x + σ_L²·s`."""
    schedule = VE(T=232, sigma_min=0.01, sigma_max=50.0)
    path, ε, data = levels(schedule, UniformSpacing(), 232), 6.2e-6, finite(schedule, MEANS)
    start, draws = 50 * normal(3, 2), Draws(seed=1)
    x = start
    for σ in torch.logspace(math.log10(50.0), -2, 232, dtype=torch.float64):
        α, level = ε * (σ / 0.01) ** 2, Level(*(torch.full((1,), v, dtype=torch.float64) for v in (0.0, 1.0, float(σ))))
        for _ in range(5):
            x = x + α * data(x, level).score + (2 * α).sqrt() * draws.like(x)
    x = x + σ**2 * data(x, level).score  # pyright: ignore[reportPossiblyUnboundVariable]
    *_, last = sample(data, AnnealedLangevin(5, rate=2 * ε / 0.01**2), start, path, noise=Draws(seed=1))
    assert 2 * ε / 0.01**2 == pytest.approx(0.124)
    assert error(last, x) < 1e-9


def far(n: int) -> Tensor:
    """All samples in one place, far from all data."""
    return torch.tensor([[30.0, -20.0]], dtype=torch.float64).repeat(n, 1)


@pytest.mark.parametrize("start", [far, lambda n: 10 * normal(n, 2, seed=3)], ids=["far", "noise"])
def test_annealing_finds_each_mode_as_often_as_it_is_whatever_the_start(start: Callable[[int], Tensor]) -> None:
    n = 800
    schedule = VE(sigma_min=0.01, sigma_max=10.0)
    path = levels(schedule, UniformSpacing(), 15)
    found = run(MixtureDenoiser(schedule, WEIGHTS, MEANS, STDS), AnnealedLangevin(steps=40), start(n), path, seed=2)
    which = torch.cdist(found, MEANS).argmin(1)
    assert_shares(which, WEIGHTS)
    for k, std in enumerate(STDS.tolist()):
        each = found[which == k]
        assert error(each.mean(0), MEANS[k]) < 4 * std / math.sqrt(len(each)) + 0.01
        assert each.std(0).mean().item() == pytest.approx(std, rel=0.15)


def test_annealing_ends_on_the_points_of_a_finite_data_set_each_as_often() -> None:
    schedule = VE(sigma_min=0.01, sigma_max=10.0)
    found = run(finite(schedule, MEANS), AnnealedLangevin(steps=40), far(600), levels(schedule, UniformSpacing(), 15))
    which = torch.cdist(found, MEANS).argmin(1)
    assert error(found, MEANS[which]) < 1e-6
    assert_shares(which, torch.full((3,), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), VP(), Flow()], ids=lambda schedule: type(schedule).__name__)
def test_annealing_follows_every_schedule_from_pure_noise_too(schedule: Schedule) -> None:
    path = levels(schedule, UniformSpacing(), 100)
    found = run(gaussian(schedule, 64), AnnealedLangevin(steps=5), normal(100, 64), path)
    assert found.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert STD < found.std().item() < STD + 0.1  # it never quite forgets the wider laws before


@pytest.mark.parametrize("rule", [AnnealedLangevin(steps=3), AnnealedLangevin(steps=3, rate=1.0)], ids=repr)
def test_annealing_is_the_same_trajectory_on_every_schedule(rule: AnnealedLangevin) -> None:
    """In the coordinates `x/alpha` and `sigma/alpha` every level is one of NCSN's."""
    x = normal(4, 2)
    for schedule in (VP(), Cosine(), Flow()):
        data = finite(schedule, MEANS)
        for t, s in pairwise(
            (schedule.last - 0.1, 0.6, 0.3, 0.1, schedule.clean) if schedule.T is None else (900, 600, 9, -1)
        ):
            now, then = at(schedule, t), at(schedule, s)
            here, there = (Level(level.t, torch.ones(1).double(), level.sigma / level.alpha) for level in (now, then))
            found, _ = rule.step(data, x * now.alpha, now, then, None, Draws())
            wanted, _ = rule.step(data, x, here, there, None, Draws())
            assert error(found / then.alpha, wanted) < 1e-9


def test_from_pure_noise_annealing_keeps_the_noise() -> None:
    now, then = at(Flow(), 1.0), at(Flow(), 0.9)
    x = normal(3, 2)
    moved, _ = AnnealedLangevin(steps=1).step(finite(Flow(), MEANS), x, now, then, None, Given(0.0))
    assert error(moved, 0.9 * (x - 0.1 * x)) < 1e-12


# Predictor and corrector


def test_ancestral_sampling_is_a_langevin_step_with_less_noise() -> None:
    """Without noise, between VE's levels: `x + (σ_t² − σ_s²)·score`, a Langevin step of twice that size."""
    schedule = VE(T=100, sigma_max=10.0)
    data, x = finite(schedule, MEANS), normal(5, 2)
    for t in (99, 50, 1):
        now, then = at(schedule, t), at(schedule, t - 1)
        stride = now.sigma**2 - then.sigma**2
        wanted = x + stride * data(x, now).score
        for rule in (Ancestral("small"), Ancestral("large"), Langevin(2 * stride.item())):
            found, _ = rule.step(data, x, now, then, None, Given(0.0))
            assert error(found, wanted) < 1e-12
        for rule, var in (
            (Ancestral("small"), stride * (then.sigma / now.sigma) ** 2),
            (Ancestral("large"), stride),  # reverse diffusion
            (Langevin(2 * stride.item()), 2 * stride),
        ):
            found, _ = rule.step(data, x, now, then, None, Given(1.0))
            assert error(found, wanted + var.sqrt()) < 1e-12


def test_reverse_diffusion_of_a_preserving_chain_is_ancestral_sampling_up_to_beta_squared() -> None:
    """`(2 − √(1 − β))·x + β·score` (score SDE, appendix E) and `(x + β·score)/√(1 − β)` (eq. 4)."""
    x = normal(5, 2)
    for β in (1e-2, 1e-3, 1e-4):
        schedule = Linear(T=round(0.5 / β), beta_start=β, beta_end=β)
        now, then = at(schedule, schedule.last), at(schedule, schedule.last - 1)
        data = finite(schedule, MEANS)
        found, _ = Ancestral("large").step(data, x, now, then, None, Given(0.0))
        score = data(x, now).score
        assert error(found, (x + β * score) / math.sqrt(1 - β)) < 1e-12
        apart = (found - (2 - math.sqrt(1 - β)) * x - β * score) / β**2
        assert error(apart, score / 2 + x / 4) < 4 * β


def test_a_correction_is_the_published_step() -> None:
    """Score SDE, algorithm 4: `ε = 2·(r·‖z‖/‖g‖)²`, `x + ε·g + √(2ε)·z`; z as long as it typically is."""
    schedule, r = VE(), 0.16
    data, level, x = finite(schedule, MEANS), at(schedule, 0.6), 3 * normal(1, 2)
    z = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    found, _ = PredictorCorrector(Stays(), snr=r).step(data, x, level, level, 0, Given(z))
    g = data(x, level).score
    ε = 2 * (r * z.norm() / g.norm()) ** 2
    assert error(found, x + ε * g + (2 * ε).sqrt() * z) < 1e-12


def test_where_the_score_vanishes_the_correction_is_that_of_standard_normal_data() -> None:
    level, x = at(VP(), 0.3), torch.zeros(1, 4, dtype=torch.float64)
    flat = GaussianDenoiser(VP(), torch.zeros(4), torch.ones(4))
    found, _ = PredictorCorrector(Stays(), snr=0.1).step(flat, x, level, level, 0, Given(1.0))
    assert found.flatten().tolist() == pytest.approx([2 * 0.1] * 4, abs=1e-12)


@pytest.mark.parametrize("schedule", [VE(), VP()], ids=repr)
def test_corrections_leave_the_law_of_a_level_as_it_is_but_for_a_known_bias(schedule: Schedule) -> None:
    """In many dimensions the size is `4·snr²·v`, which leaves `v/(1 − snr²)`, wherever they start: here at v."""
    level, d, n, snr = at(schedule, 0.4), 400, 100, 0.3
    data, v = gaussian(schedule, d), variance(level)
    x = level.alpha * MEAN + math.sqrt(v) * normal(n, d, seed=4)
    found = run(data, PredictorCorrector(Stays(), corrections=40, snr=snr), x, [level, level])
    assert found.mean().item() == pytest.approx(level.alpha.item() * MEAN, abs=4 * math.sqrt(v / (n * d)))
    assert found.var().item() == pytest.approx(v / (1 - snr**2), rel=4 * math.sqrt(2 / (n * d)) + 2 / d)


@pytest.mark.parametrize("schedule", [VE(), VP(), Cosine()], ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("steps", [20, 50])
def test_corrections_mend_what_a_predictor_does_in_few_steps(schedule: Schedule, steps: int) -> None:
    data, path = gaussian(schedule, 128), levels(schedule, UniformSpacing(), steps)
    x = marginal(MEAN + STD * normal(100, 128, seed=5), path[0]).sample(normal(100, 128, seed=6))

    def miss(corrections: int) -> float:
        found = run(data, PredictorCorrector(corrections=corrections), x, path)
        assert found.mean().item() == pytest.approx(MEAN, abs=0.03)
        return abs(found.std().item() - STD)

    none, one, five = miss(0), miss(1), miss(5)
    assert one < 0.8 * none
    assert five < 0.035 and five < 0.4 * none


@pytest.mark.parametrize("predictor", [Ancestral(), DDIM(), DPMSolver(), DPMSolver(3, eta=1.0), UniPC()], ids=repr)
def test_a_predictor_keeps_its_state_and_is_itself_without_corrections(predictor: Sampler[Any]) -> None:
    data, path, x = finite(Cosine(), MEANS), levels(Cosine(), UniformSpacing(), 8), normal(4, 2)
    alone, none = (run(data, rule, x, path) for rule in (predictor, PredictorCorrector(predictor, corrections=0)))
    assert torch.equal(alone, none)
    alone, corrected = (run(data, rule, x, path[:-2]) for rule in (predictor, PredictorCorrector(predictor, snr=0.05)))
    assert 1e-3 < error(corrected, alone) < 10
    _, state = PredictorCorrector(Stays()).step(data, x, path[2], path[3], 7, Draws())
    assert state == 8 and PredictorCorrector(Stays()).init(x, []) == 0


# All of them


@pytest.mark.parametrize(
    ("sampler", "draws", "asked"),
    [
        (Langevin(1e-3, steps=3), 12, 13),
        (AnnealedLangevin(steps=3), 12, 13),
        (PredictorCorrector(corrections=2), 3 + 6, 4 + 6),
        (PredictorCorrector(DDIM(), corrections=2), 6, 4 + 6),
    ],
    ids=repr,
)
def test_how_often_noise_is_drawn_and_the_denoiser_asked(sampler: Sampler[Any], draws: int, asked: int) -> None:
    data, noise = Counts(gaussian(VE(), 2)), Draws()
    list(sample(data, sampler, normal(1, 2), levels(VE(), UniformSpacing(), 4), noise=noise))
    assert (noise.drawn, data.asked) == (draws, asked)


@pytest.mark.parametrize("sampler", RULES, ids=repr)
def test_no_noise_is_left_in_what_comes_onto_clean_data(sampler: Sampler[Any]) -> None:
    point = torch.tensor([0.7, -1.2, 0.05], dtype=torch.float64)
    for schedule in (VE(sigma_max=2.0), Cosine(), Flow()):
        data = GaussianDenoiser(schedule, point, torch.zeros(3))
        assert error(run(data, sampler, normal(2, 3), levels(schedule, UniformSpacing(), 6)), point) < 1e-9


@pytest.mark.parametrize("sampler", RULES, ids=repr)
@pytest.mark.parametrize("schedule", [VE(), VP(), Flow()], ids=lambda schedule: type(schedule).__name__)
def test_a_batch_at_many_levels_steps_as_each_sample_alone(sampler: Sampler[Any], schedule: Schedule) -> None:
    """Also beside a neighbour that comes onto clean data, and one whose score is enormous."""
    data = finite(schedule, MEANS)
    now, then = at(schedule, 1.0, 0.7, 0.4, 0.1, 0.4), at(schedule, 0.8, 0.6, 0.3, schedule.clean, 0.3)
    x = normal(5, 2)
    x[4] *= 1e3

    def stepped(which: list[int]) -> Tensor:
        here, there = (Level(*(field[which] for field in level)) for level in (now, then))
        found, _ = sampler.step(data, x[which], here, there, sampler.init(x[which], [here, there]), Noise(which))
        return found

    together = stepped([0, 1, 2, 3, 4])
    assert together.isfinite().all()
    for i in range(5):
        assert error(together[[i]] / x[i].norm(), stepped([i]) / x[i].norm()) < 1e-12
    assert error(stepped([4, 2, 0])[[1]], together[[2]]) < 1e-12


@pytest.mark.parametrize("sampler", RULES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_samples_keep_their_type_and_shape(sampler: Sampler[Any], dtype: torch.dtype) -> None:
    x = normal(2, 1, 2, 2).to(dtype)
    found = run(gaussian(VE(), 1, 2, 2), sampler, x, levels(VE(), UniformSpacing(), 3))
    assert found.dtype == dtype and found.shape == x.shape


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Langevin(0.0), "size of a Langevin step must be above 0 and finite, not 0.0"),
        (Langevin(math.inf), "size of a Langevin step must be above 0 and finite, not inf"),
        (Langevin(math.nan), "size of a Langevin step must be above 0 and finite, not nan"),
        (Langevin(0.1, steps=0), "at least 1 step a level, not 0"),
        (AnnealedLangevin(steps=0), "at least 1 step a level, not 0"),
        (AnnealedLangevin(rate=0.0), "rate .* must lie between 0 and 4, not 0.0"),
        (AnnealedLangevin(rate=4.0), "rate .* must lie between 0 and 4, not 4.0"),
        (AnnealedLangevin(rate=math.nan), "rate .* must lie between 0 and 4, not nan"),
        (PredictorCorrector(snr=0.0), "snr of a corrector must lie between 0 and 1, not 0.0"),
        (PredictorCorrector(snr=1.0), "snr of a corrector must lie between 0 and 1, not 1.0"),
        (PredictorCorrector(corrections=-1), "must be 0 corrections or more, not -1"),
    ],
    ids=repr,
)
def test_settings_out_of_bounds_are_input_errors(sampler: Sampler[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(gaussian(VE(), 2), sampler, normal(1, 2), levels(VE(), UniformSpacing(), 3))


def test_below_its_bound_a_rate_never_runs_away_and_above_it_does() -> None:
    schedule = VE(sigma_max=1.0)
    point = GaussianDenoiser(schedule, torch.zeros(1), torch.zeros(1))
    gain, _, _ = affine(AnnealedLangevin(1, rate=3.99), point, at(schedule, 0.5))
    assert -1 < gain < -0.99
    gain, _, _ = affine(Langevin(4.01 * at(schedule, 0.5).sigma.item() ** 2), point, at(schedule, 0.5))
    assert gain < -1
