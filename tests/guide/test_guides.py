"""What every guide does: it wraps a denoiser and is one, on any level, in any mode, and they stack."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from distributions import SCHEDULE, Conditional, correlated, error, normal
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import TrailingSpacing, levels
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.parameterization import VPrediction
from sfumato.denoise import Denoiser, DenoiserLike
from sfumato.guide import (
    Autoguidance,
    Classifier,
    ClassifierFree,
    Guide,
    Inpaint,
    MomentMatching,
    StaticThreshold,
    Watch,
)
from sfumato.sample import DDIM, Ancestral, sample

D = 4
ORACLE, MODEL = correlated(D), Conditional(correlated(D))
X_T, TIMES = normal(5, D), torch.tensor([0, 100, 500, 900, 999])
CONDITION, NULL = Condition(torch.tensor([[1.0], [-0.5], [2.0], [0.5], [1.5]])), Condition(torch.zeros(1, 1))
PICTURE, KNOWN = normal(D, seed=1), torch.tensor([True, False, False, True])
OPERATOR, Y, NOISE = normal(2, D, seed=2), normal(1, 2, seed=3), 0.3


def measure(x: Tensor) -> Tensor:
    return x @ OPERATOR.to(x).T


def log_prob(x_t: Tensor, level: Level) -> Tensor:
    return -((like(level.alpha, x_t) * x_t.sin() - 1) ** 2).sum(1)


GUIDES: dict[str, Callable[[DenoiserLike], Guide]] = {
    "free": lambda denoiser: ClassifierFree(denoiser, NULL, 3.0),
    "free-interval": lambda denoiser: ClassifierFree(denoiser, NULL, 3.0, interval=(0.1, 10.0), rescale=0.7),
    "classifier": lambda denoiser: Classifier(denoiser, log_prob, 2.0),
    "auto": lambda denoiser: Autoguidance(denoiser, Conditional(correlated(D, reach=1.0)), 2.0),
    "inpaint": lambda denoiser: Inpaint(denoiser, PICTURE, KNOWN),
    "posterior": lambda denoiser: MomentMatching(denoiser, measure, Y, NOISE),
    "clip": lambda denoiser: StaticThreshold(denoiser, 0.5),
    "watch": lambda denoiser: Watch(denoiser),
}
OFF: dict[str, Callable[[DenoiserLike], Guide]] = {
    "free": lambda denoiser: ClassifierFree(denoiser, NULL, 1.0, interval=(0.1, 10.0), rescale=0.7),
    "free-outside": lambda denoiser: ClassifierFree(denoiser, NULL, 3.0, interval=(1e6, 1e7)),
    "classifier": lambda denoiser: Classifier(denoiser, log_prob, 0.0),
    "auto": lambda denoiser: Autoguidance(denoiser, MODEL, 1.0),
    "watch": lambda denoiser: Watch(denoiser),
}
each_guide = pytest.mark.parametrize("name", GUIDES)


def rows(level: Level, which: list[int]) -> Level:
    return Level(*(value[which] for value in level))


def close(found: Estimate, wanted: Estimate) -> bool:
    assert found.variance_fraction is not None and wanted.variance_fraction is not None
    return error(found.x0, wanted.x0) < 1e-12 and error(found.variance_fraction, wanted.variance_fraction) < 1e-12


@each_guide
def test_a_guide_is_a_denoiser_on_the_schedule_of_the_one_it_wraps(name: str) -> None:
    guide = GUIDES[name](MODEL)
    assert isinstance(guide, DenoiserLike) and isinstance(guide, Guide) and guide.schedule is SCHEDULE


@each_guide
def test_a_guide_keeps_the_samples_their_level_and_the_learned_variance_of_the_condition(name: str) -> None:
    level = SCHEDULE(TIMES)
    guided, plain = GUIDES[name](MODEL)(X_T, level, CONDITION), MODEL(X_T, level, CONDITION)
    assert guided.x_t is X_T and guided.level is level
    assert guided.variance_fraction is not None and plain.variance_fraction is not None
    assert torch.equal(guided.variance_fraction, plain.variance_fraction)
    then = SCHEDULE((TIMES - 1).clamp(min=-1))
    assert guided.reverse(then, "learned").sample(torch.zeros_like(X_T)).shape == X_T.shape
    if name != "watch":
        assert error(guided.x0, plain.x0) > 0.1


@each_guide
def test_a_denoiser_that_learned_no_variance_gets_none(name: str) -> None:
    class Plain(Conditional):
        def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
            estimate = super().__call__(x_t, level, condition)
            return Estimate(x_t, level, estimate.x0)

    assert GUIDES[name](Plain(ORACLE))(X_T, SCHEDULE(TIMES), CONDITION).variance_fraction is None


@pytest.mark.parametrize("name", OFF)
def test_a_guide_that_is_off_costs_one_call_and_changes_nothing(name: str) -> None:
    model = Conditional(ORACLE)
    guided = OFF[name](model)(X_T, SCHEDULE(TIMES), CONDITION)
    assert model.batches == [5]
    assert torch.equal(guided.x0, MODEL(X_T, SCHEDULE(TIMES), CONDITION).x0)


@each_guide
def test_a_batch_at_many_levels_is_guided_as_each_sample_alone(name: str) -> None:
    guide, level = GUIDES[name](MODEL), SCHEDULE(TIMES)
    together = guide(X_T, level, CONDITION)
    for i in range(5):
        alone = guide(X_T[[i]], rows(level, [i]), CONDITION.map(lambda value, i=i: value[[i]]))
        assert close(together.rows(torch.tensor([i])), alone)


@each_guide
def test_one_level_stands_for_the_whole_batch(name: str) -> None:
    guide = GUIDES[name](MODEL)
    one, each = (guide(X_T, SCHEDULE(torch.tensor([300] * n)), CONDITION) for n in (1, 5))
    assert close(one, each)


@each_guide
def test_guides_work_with_gradients_off_and_in_inference_mode(name: str) -> None:
    """Everything that the call needs, levels and conditions too, may have been made in that mode."""

    def asked(mode: AbstractContextManager[object]) -> Estimate:
        with mode:
            estimate = GUIDES[name](MODEL)(X_T.clone(), SCHEDULE(TIMES), CONDITION.map(torch.Tensor.double))
        assert not estimate.x0.requires_grad and estimate.x0.grad_fn is None
        return estimate

    wanted = asked(nullcontext())
    for mode in (torch.no_grad(), torch.inference_mode()):
        found = asked(mode)
        assert found.variance_fraction is not None and wanted.variance_fraction is not None
        assert torch.equal(found.x0, wanted.x0) and torch.equal(found.variance_fraction, wanted.variance_fraction)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("sampler", [DDIM(), Ancestral("learned")])
@each_guide
def test_a_trajectory_is_the_same_in_every_mode(name: str, sampler, mode) -> None:
    def drawn() -> Tensor:
        path = levels(SCHEDULE, TrailingSpacing(), 7)
        *_, last = sample(GUIDES[name](MODEL), sampler, X_T.clone(), path, CONDITION, noise=Noise(range(5)))
        return last

    wanted = drawn()
    assert not wanted.requires_grad
    with mode():
        assert torch.equal(drawn(), wanted)


@each_guide
def test_a_network_of_float32_weights_is_guided_in_its_type(name: str) -> None:
    class Wide(torch.nn.Module):
        """Twice the channels, from samples and a vector: a learned variance too."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(D + 1, 2 * D)

        def forward(self, x: Tensor, time: Tensor, vector: Tensor) -> Tensor:
            return self.layer(torch.cat([x, vector], 1)).tanh()

    model = Denoiser(Wide(), SCHEDULE, VPrediction()).eval()
    with torch.inference_mode():
        guided = GUIDES[name](model)(X_T.float(), SCHEDULE(TIMES), CONDITION)
    assert guided.x0.dtype == torch.float32 and guided.x0.isfinite().all()
    assert guided.variance_fraction is not None and guided.variance_fraction.shape == X_T.shape
    assert all(weight.grad is None for weight in model.parameters())


@each_guide
def test_gradients_by_x_t_pass_through_a_guide(name: str) -> None:
    """Against differences: so a guide outside may differentiate one inside."""
    level, step = SCHEDULE(torch.tensor([100, 300, 400, 500, 600])), 1e-5
    guide, along = GUIDES[name](MODEL), normal(5, D, seed=9)
    x = X_T.clone().requires_grad_()
    (found,) = torch.autograd.grad(guide(x, level, CONDITION).x0.sum(), x)
    with torch.no_grad():
        ahead, behind = (guide(X_T + sign * step * along, level, CONDITION).x0.sum(1) for sign in (1, -1))
    assert error((found * along).sum(1), (ahead - behind) / (2 * step)) < 1e-6


# Stacks ---------------------------------------------------------------------------------------------------------------


def test_two_observations_in_two_guides_are_those_of_both() -> None:
    """In either order, and by either kind of guide: exact for Gaussian data."""
    level = SCHEDULE(TIMES)
    first, y, noise = normal(2, D, seed=5), normal(2, seed=6), 0.5
    wanted = ORACLE.given(first, y, noise).given(OPERATOR, Y[0], NOISE)(X_T, level).x0

    def likelihood(x_t: Tensor, level: Level) -> Tensor:
        mean = ORACLE(x_t, level).x0 @ first.T
        cov = first @ ORACLE.uncertainty(level) @ first.T + noise**2 * torch.eye(2).to(x_t)
        return torch.distributions.MultivariateNormal(mean, cov).log_prob(y)

    def by_first(denoiser: DenoiserLike) -> Guide:
        return MomentMatching(denoiser, lambda x: x @ first.T, y[None], noise, iterations=2)

    def by_second(denoiser: DenoiserLike) -> Guide:
        return MomentMatching(denoiser, measure, Y, NOISE, iterations=2)

    for stack in (by_second(by_first(ORACLE)), by_first(by_second(ORACLE)), by_second(Classifier(ORACLE, likelihood))):
        assert error(stack(X_T, level).x0, wanted) < 1e-9


def test_the_outer_guide_has_the_last_word() -> None:
    level, high = SCHEDULE(TIMES), torch.full((D,), 3.0)
    clipped, free = (
        (lambda denoiser: StaticThreshold(denoiser, 0.5)),
        (lambda denoiser: ClassifierFree(denoiser, NULL, 4.0)),
    )
    inside, outside = free(clipped(MODEL))(X_T, level, CONDITION).x0, clipped(free(MODEL))(X_T, level, CONDITION).x0
    assert inside.abs().max() > 0.6 and outside.abs().max() == 0.5
    asked, empty = (
        MODEL(X_T, level, given).x0.clamp(-0.5, 0.5) for given in (CONDITION, NULL.map(lambda v: v.expand(5, 1)))
    )
    assert error(inside, empty + 4.0 * (asked - empty)) < 1e-12
    held = Inpaint(clipped(MODEL), high, KNOWN)(X_T, level, CONDITION).x0
    assert torch.equal(held[:, KNOWN], torch.full((5, 2), 3.0).double())
    assert clipped(Inpaint(MODEL, high, KNOWN))(X_T, level, CONDITION).x0.max() == 0.5


def test_a_deep_stack_draws() -> None:
    free = ClassifierFree(MODEL, NULL, 4.0, interval=(0.1, 20.0))
    watch = Watch(
        Inpaint(StaticThreshold(MomentMatching(Classifier(free, log_prob), measure, Y, NOISE), 0.8), PICTURE, KNOWN)
    )
    path = levels(SCHEDULE, TrailingSpacing(), 10)
    assert watch.schedule is SCHEDULE
    with torch.inference_mode():
        *_, last = sample(watch, DDIM(), X_T, path, CONDITION, noise=Noise([]))
    assert watch.last is not None and torch.equal(watch.last.x0, last)
    assert torch.equal(last[:, KNOWN], PICTURE[KNOWN].expand(5, 2))
    assert last[:, ~KNOWN].abs().max() <= 0.8
