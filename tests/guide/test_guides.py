"""Guides wrap a denoiser and are one: what they change, how often they ask, and that they stack."""

import math

import pytest
import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import Trailing, Uniform, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import VP, Linear
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.guide import ClassifierFree, Clip, Watch
from sfumato.oracle import Gaussian
from sfumato.sample import DDIM, sample

SCHEDULE = Linear()
ASKED, EMPTY = (Gaussian(SCHEDULE, *torch.tensor(law, dtype=torch.float64)) for law in ([[1.0], [0.5]], [[0.0], [1.0]]))


class Two:
    """Gaussian data of one law under a condition and of another under none; remembers the batches it is asked."""

    schedule = SCHEDULE

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.batches.append(len(x_t))
        assert condition.vector is not None and len(condition.vector) == len(x_t)
        x0 = torch.where(condition.vector > 0, ASKED(x_t, level).x0, EMPTY(x_t, level).x0)
        return Estimate(x_t, level, x0)


def batch() -> tuple[Tensor, Level, Condition, Condition]:
    """Five samples at levels of their own, a condition for each, and the empty one."""
    x_t = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    return x_t, SCHEDULE(torch.tensor([0, 100, 500, 900, 999])), *(Condition(torch.full((5, 1), v)) for v in (1.0, 0.0))


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0, 7.5])
@pytest.mark.parametrize("view", ["x0", "eps", "v", "flow", "score"])
def test_guidance_is_the_same_line_in_every_view(view: str, scale: float) -> None:
    x_t, level, condition, null = batch()
    guided = ClassifierFree(Two(), null, scale)(x_t, level, condition)
    asked, empty = (getattr(oracle(x_t, level), view) for oracle in (ASKED, EMPTY))
    wanted = empty + scale * (asked - empty)
    assert ((getattr(guided, view) - wanted) / wanted.abs().clamp(min=1)).abs().max() < 1e-9
    assert guided.x_t is x_t and guided.level is level


@pytest.mark.parametrize(("scale", "batches"), [(1.0, [5]), (1, [5]), (2.0, [10]), (0.0, [10])])
def test_both_are_asked_in_one_call_and_scale_one_asks_once(scale: float, batches: list[int]) -> None:
    two = Two()
    x_t, level, condition, null = batch()
    ClassifierFree(two, null, scale)(x_t, level, condition)
    assert two.batches == batches


def test_one_level_stands_for_the_whole_batch() -> None:
    x_t, _, condition, null = batch()
    guide = ClassifierFree(Two(), null, 3.0)
    one, each = SCHEDULE(torch.tensor([300])), SCHEDULE(torch.tensor([300] * 5))
    assert torch.equal(guide(x_t, one, condition).x0, guide(x_t, each, condition).x0)


def test_a_condition_unlike_the_empty_one_is_refused() -> None:
    x_t, level, _, null = batch()
    with pytest.raises(InputError, match="conditions with different doors cannot be joined"):
        ClassifierFree(Two(), null, 2.0)(x_t, level, Condition(tokens=torch.zeros(5, 1, 1)))


def test_guided_samples_of_a_gaussian_lie_where_the_guided_score_says() -> None:
    """Of two laws of one spread the guided score is that of the same spread, about a mean moved by the scale."""
    schedule = VP()
    mean, std = torch.zeros(1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)

    class Moved(Two):
        def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
            assert condition.vector is not None
            oracles = (Gaussian(schedule, mean + shift, std)(x_t, level).x0 for shift in (0.4, 0.0))
            return Estimate(x_t, level, torch.where(condition.vector > 0, *oracles))

    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    _, _, condition, null = batch()
    path = levels(schedule, Uniform(), 100)
    *_, guided = sample(ClassifierFree(Moved(), null, 3.0), DDIM(), x, path, condition, noise=Noise([]))
    *_, there = sample(Gaussian(schedule, mean + 1.2, std), DDIM(), x, path, noise=Noise([]))
    assert (guided - there).abs().max() < 1e-9


@pytest.mark.parametrize("limit", [0.25, 1.0])
def test_clip_holds_the_estimate_within_its_limit_and_the_other_views_with_it(limit: float) -> None:
    x_t, level, *_ = batch()
    free, held = ASKED(x_t, level), Clip(ASKED, limit)(x_t, level)
    assert torch.equal(held.x0, free.x0.clamp(-limit, limit))
    assert held.x0.abs().max() == limit
    back = level.alpha[:, None] * held.x0 + level.sigma[:, None] * held.eps
    assert (back - x_t).abs().max() < 1e-12


def test_clip_lets_no_nan_pass_for_a_number() -> None:
    class Broken(Two):
        def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
            return Estimate(x_t, level, torch.full_like(x_t, math.nan))

    x_t, level, *_ = batch()
    assert Clip(Broken())(x_t, level).x0.isnan().all()


def test_clip_lets_no_infinity_pass_for_a_number() -> None:
    class Broken(Two):
        def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
            return Estimate(x_t, level, torch.full_like(x_t, math.inf))

    x_t, level, *_ = batch()
    assert not Clip(Broken())(x_t, level).x0.isfinite().any()


def test_watch_keeps_the_last_estimate_and_changes_nothing() -> None:
    watch = Watch(ASKED)
    assert watch.last is None
    x_t, level, *_ = batch()
    for x in (x_t, -x_t):
        estimate = watch(x, level)
        assert watch.last is estimate
        assert torch.equal(estimate.x0, ASKED(x, level).x0)


def test_guides_stack_and_know_the_schedule() -> None:
    x_t, _, condition, null = batch()
    free = ClassifierFree(Two(), null, 4.0)
    watch = Watch(Clip(free, 0.8))
    assert isinstance(watch, DenoiserLike) and watch.schedule is free.schedule is SCHEDULE
    *_, last = sample(watch, DDIM(), x_t, levels(SCHEDULE, Trailing(), 10), condition, noise=Noise([]))
    assert watch.last is not None and torch.equal(watch.last.x0, last)
    assert last.abs().max() <= 0.8
