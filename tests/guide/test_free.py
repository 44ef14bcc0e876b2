"""Classifier-free guidance: the line it draws, where it draws it, what it asks, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from distributions import SCHEDULE, Conditional, Correlated, Reshaped, correlated, error, normal
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import TrailingSpacing, UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import VP, Flow
from sfumato.errors import InputError, ShapeError
from sfumato.guide import ClassifierFree
from sfumato.sample import DDIM, sample

D = 4
X_T, LEVEL = normal(5, D), SCHEDULE(torch.tensor([0, 100, 500, 900, 999]))
CONDITION = Condition(torch.tensor([[1.0], [-0.5], [2.0], [0.5], [1.5]]))
NULL = Condition(torch.zeros(5, 1))
RATIOS = (LEVEL.sigma / LEVEL.alpha).tolist()


def model() -> Conditional:
    return Conditional(correlated(D))


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 1.0, 2.0, 7.5])
@pytest.mark.parametrize("view", ["x0", "eps", "v", "flow", "score"])
def test_guidance_is_the_same_line_in_every_view(view: str, scale: float) -> None:
    guided = ClassifierFree(model(), NULL, scale)(X_T, LEVEL, CONDITION)
    asked, empty = (getattr(model()(X_T, LEVEL, given), view) for given in (CONDITION, NULL))
    wanted = empty + scale * (asked - empty)
    assert error(getattr(guided, view) / wanted.abs().clamp(min=1), wanted / wanted.abs().clamp(min=1)) < 1e-9
    assert guided.x_t is X_T and guided.level is LEVEL


@pytest.mark.parametrize(("scale", "batches"), [(1.0, [5]), (1, [5]), (2.0, [10]), (0.0, [10])])
def test_both_are_asked_in_one_call_and_scale_one_asks_once(scale: float, batches: list[int]) -> None:
    oracle = model()
    ClassifierFree(oracle, NULL, scale)(X_T, LEVEL, CONDITION)
    assert oracle.batches == batches


def test_one_level_stands_for_the_whole_batch() -> None:
    guide = ClassifierFree(model(), NULL, 3.0, interval=(0.1, 10.0), rescale=0.5)
    one, each = SCHEDULE(torch.tensor([300])), SCHEDULE(torch.tensor([300] * 5))
    assert torch.equal(guide(X_T, one, CONDITION).x0, guide(X_T, each, CONDITION).x0)


def test_a_negative_prompt_is_the_null_of_each_sample_or_of_all() -> None:
    negative = Condition(torch.tensor([[-2.0]]))
    wanted = ClassifierFree(model(), negative.map(lambda value: value.expand(5, 1)), 3.0)(X_T, LEVEL, CONDITION)
    asked, away = (model()(X_T, LEVEL, given).x0 for given in (CONDITION, Condition(torch.full((5, 1), -2.0))))
    assert error(wanted.x0, away + 3.0 * (asked - away)) < 1e-12
    assert torch.equal(ClassifierFree(model(), negative, 3.0)(X_T, LEVEL, CONDITION).x0, wanted.x0)
    own = Condition(torch.tensor([[-2.0], [0.0], [1.0], [0.0], [0.3]]))
    found = ClassifierFree(model(), own, 3.0)(X_T, LEVEL, CONDITION).x0
    away = model()(X_T, LEVEL, own).x0
    assert error(found, away + 3.0 * (asked - away)) < 1e-12


# The interval ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "inside"),
    [
        ((RATIOS[1], RATIOS[3]), [2, 3]),  # the low end does not belong, the high end does
        ((0.0, RATIOS[0]), [0]),
        ((RATIOS[1] * 1.01, RATIOS[2] * 0.99), []),
        ((0.0, torch.inf), [0, 1, 2, 3, 4]),
        (None, [0, 1, 2, 3, 4]),
    ],
)
def test_only_samples_within_the_interval_are_guided_and_only_they_are_asked_twice(
    interval: tuple[float, float] | None, inside: list[int]
) -> None:
    oracle = model()
    guided = ClassifierFree(oracle, NULL, 3.0, interval)(X_T, LEVEL, CONDITION)
    assert oracle.batches == [5 + len(inside)]
    everywhere, nowhere = (ClassifierFree(model(), NULL, scale)(X_T, LEVEL, CONDITION).x0 for scale in (3.0, 1.0))
    rows = torch.tensor([i in inside for i in range(5)])[:, None]
    assert error(guided.x0, torch.where(rows, everywhere, nowhere)) < 1e-12
    assert (everywhere - nowhere).abs().amin() > 1e-6


def test_within_the_interval_each_sample_is_led_from_its_own_null() -> None:
    own = Condition(torch.tensor([[-2.0], [0.0], [1.0], [0.0], [0.3]]))
    found = ClassifierFree(model(), own, 3.0, (RATIOS[1], RATIOS[3]))(X_T, LEVEL, CONDITION).x0
    everywhere = ClassifierFree(model(), own, 3.0)(X_T, LEVEL, CONDITION).x0
    assert error(found[2:4], everywhere[2:4]) < 1e-12


def test_a_trajectory_costs_one_call_a_step_and_a_double_one_within_the_interval() -> None:
    oracle, path = model(), levels(SCHEDULE, TrailingSpacing(), 10)
    low, high = 0.3, 5.0
    list(sample(ClassifierFree(oracle, NULL, 3.0, (low, high)), DDIM(), X_T, path, CONDITION, noise=Noise([])))
    inside = [low < float(level.sigma / level.alpha) <= high for level in path[:-1]]
    assert oracle.batches == [10 if here else 5 for here in inside]
    assert set(inside) == {True, False}


def test_pure_noise_lies_within_an_interval_without_end_only() -> None:
    pure = Level(*(value.expand(5) for value in Flow()(torch.tensor([1.0]))))
    for high, batches in ((1e9, [5]), (torch.inf, [10])):
        oracle = model()
        assert ClassifierFree(oracle, NULL, 3.0, (0.0, high))(X_T, pure, CONDITION).x0.isfinite().all()
        assert oracle.batches == batches


# Rescaling ------------------------------------------------------------------------------------------------------------


def test_rescale_brings_back_the_standard_deviation_of_the_conditional_estimate() -> None:
    """Each sample's own; half way is half way; the factor is one number a sample."""
    asked = model()(X_T, LEVEL, CONDITION).x0
    plain, half, full = (
        ClassifierFree(model(), NULL, 5.0, rescale=rescale)(X_T, LEVEL, CONDITION).x0 for rescale in (0.0, 0.5, 1.0)
    )
    assert (plain.std(1) / asked.std(1) - 1).abs().min() > 0.05
    assert error(full.std(1), asked.std(1)) < 1e-12
    assert error(half, (plain + full) / 2) < 1e-12
    assert error(full / plain, (asked.std(1) / plain.std(1))[:, None].expand(5, D)) < 1e-12


def test_rescale_spans_all_axes_of_a_sample() -> None:
    oracle = Conditional(correlated(12))
    shape = Reshaped(oracle, (3, 2, 2))
    x = normal(5, 12)
    flat = ClassifierFree(oracle, NULL, 5.0, rescale=0.7)(x, LEVEL, CONDITION).x0
    assert (
        error(
            ClassifierFree(shape, NULL, 5.0, rescale=0.7)(x.reshape(5, 3, 2, 2), LEVEL, CONDITION).x0.flatten(1), flat
        )
        < 1e-12
    )


def test_a_sample_of_one_element_has_no_contrast_to_rescale() -> None:
    x = X_T[:, :1]
    plain, full = (
        ClassifierFree(Conditional(correlated(1)), NULL, 5.0, rescale=rescale)(x, LEVEL, CONDITION).x0
        for rescale in (0.0, 1.0)
    )
    assert torch.equal(plain, full)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [None, (1e8, 1e9)])
@pytest.mark.parametrize("given", ["none", "context"])
def test_a_condition_unlike_null_is_refused_also_where_nothing_is_guided_yet(
    given: str, interval: tuple[float, float] | None
) -> None:
    condition = Condition() if given == "none" else Condition(context=torch.zeros(5, 1, 1))
    with pytest.raises(InputError, match=rf"null \(vector\), and got one with {given}: give the condition"):
        ClassifierFree(model(), NULL, 2.0, interval)(X_T, LEVEL, condition)


def test_a_condition_where_null_has_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"null \(none\), and got one with vector: .* make null by the same"):
        ClassifierFree(model(), Condition(), 2.0)(X_T, LEVEL, CONDITION)


def test_a_condition_forgotten_by_the_driver_is_refused() -> None:
    path = levels(SCHEDULE, TrailingSpacing(), 10)
    with pytest.raises(InputError, match="or take scale 1"):
        list(sample(ClassifierFree(model(), NULL, 2.0), DDIM(), X_T, path, noise=Noise([])))


@pytest.mark.parametrize(
    ("condition", "null", "text"),
    [
        (CONDITION, Condition(torch.zeros(3, 1)), "null gives 3 vector to 5 samples: give each one, or one to all"),
        (Condition(torch.zeros(2, 1)), NULL, "the condition gives 2 vector to 5 samples"),
        (
            CONDITION,
            Condition(torch.zeros(5, 2)),
            r"the condition has \[1\] a sample and that of null \[2\]: make both of one",
        ),
    ],
)
def test_shapes_that_cannot_be_asked_together_are_refused(condition: Condition, null: Condition, text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        ClassifierFree(model(), null, 2.0)(X_T, LEVEL, condition)


@pytest.mark.parametrize("interval", [(-1.0, 2.0), (2.0, 2.0), (3.0, 1.0), (0.0, torch.nan)])
def test_an_interval_that_is_none_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"interval must be two sigma/alpha with 0 ≤ low < high, not \("):
        ClassifierFree(model(), NULL, 2.0, interval)(X_T, LEVEL, CONDITION)


@pytest.mark.parametrize("rescale", [-0.1, 1.1, torch.nan])
def test_a_rescale_outside_its_bounds_is_refused(rescale: float) -> None:
    with pytest.raises(InputError, match=r"rescale must lie between 0 \(off\) and 1"):
        ClassifierFree(model(), NULL, 2.0, rescale=rescale)(X_T, LEVEL, CONDITION)


# Where it leads -------------------------------------------------------------------------------------------------------


def test_guided_samples_of_a_gaussian_lie_where_the_guided_score_says() -> None:
    """Of two Gaussians of one covariance the guided score is that of a third, about a mean moved by the scale."""
    base = correlated(D)
    path = levels(VP(), UniformSpacing(), 100)

    class Moved(Conditional):
        def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
            assert condition.vector is not None
            shift = condition.vector.to(x_t)
            estimate = self.oracle(x_t - level.alpha[:, None] * shift, level)
            return replace(estimate, x_t=x_t, x0=estimate.x0 + shift)

    oracle = Correlated(VP(), base.mean, base.cov)
    *_, guided = sample(ClassifierFree(Moved(oracle), NULL, 3.0), DDIM(), X_T, path, CONDITION, noise=Noise([]))
    assert CONDITION.vector is not None
    for i, shift in enumerate(CONDITION.vector.flatten().tolist()):
        *_, there = sample(Correlated(VP(), base.mean + 3.0 * shift, base.cov), DDIM(), X_T[[i]], path, noise=Noise([]))
        assert error(guided[[i]], there) < 1e-9
