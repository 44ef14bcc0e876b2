"""At which times a network is trained: each law by its quantiles, and the one that follows the losses."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfumato.core.schedule import EDM, VE, VP, Cosine, Flow, Linear, Schedule, SubVP, ZeroTerminal
from sfumato.errors import InputError
from sfumato.loss import (
    CosineTimes,
    ImportanceTimes,
    LogitNormalTimes,
    LogNormalTimes,
    LossAwareTimes,
    Times,
    UniformTimes,
)

LAWS: list[Times] = [
    UniformTimes(),
    LogitNormalTimes(),
    LogitNormalTimes(-0.5, 2.0),
    LogNormalTimes(),
    LogNormalTimes(0.3, 0.5),
    CosineTimes(),
    CosineTimes(shift=-2.77),
]
SCHEDULES: list[Schedule] = [
    Linear(),
    Cosine(T=50),
    ZeroTerminal(Linear()),
    VP(),
    SubVP(),
    VE(),
    VE(T=20),
    EDM(),
    Flow(),
    Flow(shift=3.0),
]
each_law = pytest.mark.parametrize("law", LAWS, ids=repr)

# Laws that stand still ------------------------------------------------------------------------------------------------


@given(u=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
def test_whole_times_are_drawn_each_as_likely(u: list[float]) -> None:
    found = UniformTimes()(Linear(T=10), torch.tensor(u, dtype=torch.float64))
    assert found.tolist() == [int(10 * share) for share in u]


def test_times_are_within_the_schedule_even_for_draws_next_to_one() -> None:
    u = torch.tensor([0.0, 0.5, 1 - 2**-24])
    assert UniformTimes()(Linear(), u).tolist() == [0, 500, 999]
    assert UniformTimes()(VP(first=0.01), u).tolist() == pytest.approx([0.01, 0.505, 1.0], abs=1e-6)
    VP()(UniformTimes()(VP(), u))


@each_law
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_every_law_draws_times_that_the_schedule_has(law: Times, schedule: Schedule) -> None:
    u = torch.cat(
        [torch.tensor([0.0, 2.0**-24, 1 - 2**-24]), torch.rand(500, generator=torch.Generator().manual_seed(0))]
    )
    t = law(schedule, u)
    assert t.shape == u.shape and t.dtype == torch.float64
    assert bool(((t >= schedule.first) & (t <= schedule.last)).all())
    assert schedule.T is None or torch.equal(t, t.round())
    assert len(t.unique()) > 5
    assert schedule(t).sigma.isfinite().all()


def phi(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def logit(share: float) -> float:
    return math.log(share / (1 - share))


EXACT: list[tuple[Times, Schedule, Callable[[float], float]]] = [
    (UniformTimes(), VP(), lambda t: (t - 0.001) / 0.999),
    (UniformTimes(), VE(), lambda t: t),
    (UniformTimes(), EDM(), lambda t: (t - 0.002) / (80 - 0.002)),
    (LogitNormalTimes(), Flow(first=1e-9), lambda t: phi(logit(t))),
    (LogitNormalTimes(0.5, 2.0), Flow(first=1e-9), lambda t: phi((logit(t) - 0.5) / 2)),
    (LogitNormalTimes(), Flow(shift=3.0, first=1e-9), lambda t: phi(logit(t))),
    (LogNormalTimes(), EDM(sigma_min=1e-9, sigma_max=1e9), lambda t: phi((math.log(t) + 1.2) / 1.2)),
    (LogNormalTimes(0.3, 0.5), EDM(sigma_min=1e-9, sigma_max=1e9), lambda t: phi((math.log(t) - 0.3) / 0.5)),
    # sigma/alpha = 3t/(1 − t)
    (LogNormalTimes(), Flow(shift=3.0, first=1e-9), lambda t: phi((math.log(3) + logit(t) + 1.2) / 1.2)),
    # sigma/alpha = tan(πu/2)·exp(−shift/2)
    (CosineTimes(), EDM(sigma_min=1e-9, sigma_max=1e9), lambda t: 2 / math.pi * math.atan(t)),
    (CosineTimes(-2.0), EDM(sigma_min=1e-9, sigma_max=1e9), lambda t: 2 / math.pi * math.atan(t * math.exp(-1))),
]


@pytest.mark.parametrize(("law", "schedule", "cdf"), EXACT, ids=lambda value: "" if callable(value) else repr(value))
def test_times_follow_the_exact_law(law: Times, schedule: Schedule, cdf: Callable[[float], float]) -> None:
    """The law at the time of a draw u is u: the Kolmogorov-Smirnov distance over even draws is that of rounding."""
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    rises = [cdf(t) for t in law(schedule, u).tolist()]
    if rises[0] > rises[-1]:
        rises = [1 - rise for rise in rises]  # from most noise to least
    assert max(abs(here - there) for here, there in zip(rises, u.tolist(), strict=True)) < 1e-6


@pytest.mark.parametrize("shift", [0.0, 2 * math.log(64 / 256)])
def test_cosine_times_have_the_noise_of_simple_diffusion(shift: float) -> None:
    """`λ = −2·log tan(πu/2) + shift`; without shift, that of the cosine schedule but for its offset."""
    u = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    λ = VP()(CosineTimes(shift)(VP(), u)).logsnr
    assert λ.tolist() == pytest.approx([-2 * math.log(math.tan(math.pi * x / 2)) + shift for x in u.tolist()], rel=1e-9)
    if shift == 0:
        schedule = Cosine(offset=0.0)
        assert (CosineTimes()(schedule, u) - (1000 * u - 1)).abs().max() <= 0.5 + 1e-6


def test_on_a_table_logit_normal_times_are_those_of_the_share() -> None:
    u = torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    share = LogitNormalTimes()(Flow(first=1e-12), u)
    assert torch.equal(LogitNormalTimes()(Linear(T=10), u), (share * 10).floor())


def test_noise_outside_the_schedule_is_met_at_its_end() -> None:
    t = LogNormalTimes(0.0, 100.0)(EDM(), torch.tensor([0.01, 0.5, 0.99]))
    assert sorted(t.tolist()) == pytest.approx([0.002, 1.0, 80.0])


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("kind", [LogitNormalTimes, LogNormalTimes])
def test_a_law_without_spread_is_refused(kind: type[LogitNormalTimes | LogNormalTimes], std: float) -> None:
    with pytest.raises(InputError, match=f"the std of a law of times must be above 0, not {std}"):
        kind(std=std)(EDM(), torch.tensor([0.5]))


@each_law
def test_laws_that_stand_still_remember_nothing(law: Times) -> None:
    assert not isinstance(law, LossAwareTimes) and isinstance(ImportanceTimes(), LossAwareTimes)


# The law that follows the losses --------------------------------------------------------------------------------------

T = 8
LOSS = torch.tensor([10.0, 5.0, 1.0, 0.5, 0.5, 0.2, 0.1, 3.0], dtype=torch.float64)  # the loss at each time


def even(n: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def warm(law: ImportanceTimes) -> Tensor:
    """A memory that is full of LOSS."""
    memory = law.start(Linear(T=T))
    for _ in range(law.history):
        memory = law.remember(memory, torch.arange(T), LOSS)
    return memory


def test_until_every_time_has_a_history_times_are_uniform() -> None:
    law = ImportanceTimes(history=3)
    memory = law.start(Linear(T=T))
    assert memory.shape == (T, 3) and memory.isnan().all()
    for _ in range(3):
        t, factor = law.draw(Linear(T=T), even(80), memory)
        assert torch.equal(t.long().bincount(), torch.full((T,), 10))
        assert torch.equal(factor, torch.ones(80, dtype=torch.float64))
        memory = law.remember(memory, torch.arange(T - 1), LOSS[:-1])
    for i in range(3):
        assert (law.draw(Linear(T=T), even(80), memory)[1] == 1).all(), "the last time has no full history yet"
        memory = law.remember(memory, torch.tensor([T - 1]), LOSS[-1:])
        assert memory.isnan().sum() == 2 - i
    assert (law.draw(Linear(T=T), even(80), memory)[1] != 1).all()


@pytest.mark.parametrize("uniform", [0.0, 0.001, 0.3, 1.0])
def test_times_are_drawn_in_proportion_to_the_root_mean_square_loss(uniform: float) -> None:
    law = ImportanceTimes(history=2, uniform=uniform)
    memory = law.remember(warm(law), torch.arange(T), 3 * LOSS)  # rms of LOSS and 3·LOSS is √5·LOSS
    share = (1 - uniform) * LOSS / LOSS.sum() + uniform / T
    n = 100_000
    t, factor = law.draw(Linear(T=T), even(n), memory)
    found = t.long().bincount(minlength=T) / n
    assert (found - share).abs().max() < 2 / n
    assert (factor - 1 / (T * share[t.long()])).abs().max() < 1e-9


@pytest.mark.parametrize("uniform", [0.001, 0.3])
def test_the_weighted_loss_is_that_of_uniform_times(uniform: float) -> None:
    """Exactly in the mean, and with far less spread than uniform times have."""
    law = ImportanceTimes(uniform=uniform)
    t, factor = law.draw(Linear(T=T), even(400_000), warm(law))
    weighted = factor * LOSS[t.long()]
    assert weighted.mean().item() == pytest.approx(LOSS.mean().item(), rel=1e-4)
    assert weighted.std() < 0.5 * LOSS.std()
    other = torch.linspace(1, 2, T, dtype=torch.float64) ** 3  # of whatever loss, not only the remembered
    assert (factor * other[t.long()]).mean().item() == pytest.approx(other.mean().item(), rel=1e-4)


def test_the_memory_rolls_in_the_order_of_the_losses() -> None:
    law = ImportanceTimes(history=3)
    memory = law.start(Linear(T=2))
    before = memory.clone()
    after = law.remember(memory, torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0]), torch.tensor([1.0, 9.0, 2.0, 3.0, 4.0]))
    assert np.array_equal(after.numpy(), [[math.nan, math.nan, 9], [2, 3, 4]], equal_nan=True)
    assert np.array_equal(memory.numpy(), before.numpy(), equal_nan=True), "what was handed in is as it was"
    assert after.dtype == torch.float64


@pytest.mark.parametrize("size", [0.0, 1e-200, 1e30])
def test_losses_of_any_size_leave_probabilities(size: float) -> None:
    losses = torch.full((T,), size)
    law = ImportanceTimes(history=1)
    memory = law.remember(law.start(Linear(T=T)), torch.arange(T), losses)
    t, factor = law.draw(Linear(T=T), even(80), memory)
    assert torch.equal(t.long().bincount(minlength=T), torch.full((T,), 10))
    assert (factor - 1).abs().max() < 1e-9


def test_a_time_that_has_no_loss_is_still_drawn_now_and_then() -> None:
    law = ImportanceTimes(history=1, uniform=0.08)
    memory = law.remember(law.start(Linear(T=T)), torch.arange(T), torch.tensor([1.0] + [0.0] * (T - 1)))
    t, factor = law.draw(Linear(T=T), even(1000), memory)
    assert t.long().bincount(minlength=T).tolist() == [930] + [10] * 7
    assert factor.max().item() == pytest.approx(1 / 0.08)


def test_draws_next_to_one_are_of_the_last_time() -> None:
    law = ImportanceTimes()
    assert law.draw(Linear(T=T), torch.tensor([0.0, 1 - 2**-24]), warm(law))[0].tolist() == [0, T - 1]


@pytest.mark.parametrize("law", [LogNormalTimes(-1.2, 1.0), CosineTimes()], ids=repr)
def test_distributions_without_ends_are_cut_where_float64_would_round_draws_to_0_and_1(law: Times) -> None:
    schedule, u = (
        VE(sigma_min=1e-30, sigma_max=1e30),
        torch.tensor([0.0, 1e-12, 1 - 1e-12, 1 - 2.0**-53], dtype=torch.float64),
    )
    t = law(schedule, u)
    assert t[0] == t[1] and t[2] == t[3] and 0 < t[0] < t[2] < 1


def test_importance_may_be_uniform_throughout() -> None:
    law, losses = ImportanceTimes(history=1, uniform=1.0), torch.tensor([1.0, 5.0, 9.0], dtype=torch.float64)
    memory = law.remember(law.start(Linear(T=3)), torch.arange(3), losses)
    t, weights = law.draw(Linear(T=3), torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64), memory)
    assert t.tolist() == [0, 1, 2] and weights.tolist() == pytest.approx([1, 1, 1])


def test_a_draw_on_the_border_between_two_times_is_of_the_later() -> None:
    """As `u` in [0, 1) has it: the first third belongs to the first of three."""
    law = ImportanceTimes()
    t, _ = law.draw(Linear(T=4), torch.tensor([0.0, 0.25, 0.5, 0.75], dtype=torch.float64), law.start(Linear(T=4)))
    assert t.tolist() == [0, 1, 2, 3]


def test_without_a_memory_importance_times_are_uniform() -> None:
    u = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(ImportanceTimes()(Linear(), u), UniformTimes()(Linear(), u))


@pytest.mark.parametrize(
    ("law", "schedule", "message"),
    [
        (
            ImportanceTimes(),
            VP(),
            "importance times count losses of whole times, and this schedule has none: take unif",
        ),
        (ImportanceTimes(history=0), Linear(), "importance times need history from 1 and uniform from 0 to 1, not Imp"),
        (ImportanceTimes(uniform=1.5), Linear(), "importance times need history from 1 and uniform from 0 to 1"),
    ],
    ids=repr,
)
def test_importance_that_cannot_be_says_what_it_needs(law: ImportanceTimes, schedule: Schedule, message: str) -> None:
    with pytest.raises(InputError, match=message):
        law(schedule, even(3))
