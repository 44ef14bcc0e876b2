"""Posterior guidance: exact for Gaussian data whatever is measured, near for a mixture, and what it refuses."""

from itertools import pairwise

import pytest
import torch
from distributions import SCHEDULE, Constant, Correlated, Reshaped, correlated, error, normal
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.gaussian import marginal
from sfumato.core.grid import UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Flow
from sfumato.errors import InputError, ShapeError
from sfumato.guide import MomentMatching
from sfumato.oracle import MixtureDenoiser
from sfumato.sample import DDIM, sample

D = 12
ORACLE = correlated(D)
X_T, LEVEL = normal(5, D), SCHEDULE(torch.tensor([0, 100, 500, 900, 999]))
OPERATORS = {
    "mask": torch.eye(D, dtype=torch.float64)[[0, 1, 2, 8, 9]],
    "mean": torch.full((1, D), 1 / D, dtype=torch.float64),
    "halves": torch.eye(D // 2, dtype=torch.float64).repeat_interleave(2, dim=1) / 2,
    "dense": normal(4, D),
}
BLUR = sum(
    (torch.diag(torch.full((D - abs(k),), w, dtype=torch.float64), k) for k, w in ((-1, 0.25), (0, 0.5), (1, 0.25))),
    start=torch.zeros(D, D, dtype=torch.float64),
)


def exact(matrix: Tensor, y: Tensor, noise: float) -> Tensor:
    """`E[x_0 | x_t, y]` of each of the five samples, y [5, m]."""
    each = (ORACLE.given(matrix, y[i], noise)(X_T[[i]], row(LEVEL, i)).x0 for i in range(5))
    return torch.cat(list(each))


def row(level: Level, i: int) -> Level:
    return Level(*(value[[i]] for value in level))


def guided(matrix: Tensor, y: Tensor, noise: float, iterations: int) -> Tensor:
    return MomentMatching(ORACLE, lambda x: x @ matrix.T, y, noise, iterations)(X_T, LEVEL).x0


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("name", OPERATORS)
def test_it_is_exact_for_gaussian_data(name: str, noise: float) -> None:
    """Found: 6e-12 at most, in as many iterations as there are numbers seen."""
    matrix = OPERATORS[name]
    y = normal(5, len(matrix), seed=1)
    wanted = exact(matrix, y, noise)
    assert error(guided(matrix, y, noise, len(matrix)), wanted) < 1e-9
    assert error(ORACLE(X_T, LEVEL).x0, wanted) > 0.1


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_it_is_exact_for_a_blur(noise: float) -> None:
    """A blur nearly loses something, so that the equation is ill-conditioned and takes more iterations."""
    y = normal(5, D, seed=1)
    assert error(guided(BLUR, y, noise, 2 * D), exact(BLUR, y, noise)) < 1e-9


def test_one_iteration_goes_part_of_the_way_and_each_goes_further() -> None:
    y = normal(5, D, seed=1)
    wanted = exact(BLUR, y, 1.0)
    errors = [error(ORACLE(X_T, LEVEL).x0, wanted), *(error(guided(BLUR, y, 1.0, n), wanted) for n in (1, 2, 3, 5, 12))]
    assert all(after < before / 2 for before, after in pairwise(errors))


def test_more_iterations_than_are_needed_do_no_harm_and_are_not_taken() -> None:
    calls: list[int] = []

    def mean(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x.mean(1, keepdim=True)

    y = normal(5, 1, seed=1)
    guide = MomentMatching(ORACLE, mean, y, 0.1, iterations=1000)
    assert error(guide(X_T, LEVEL).x0, exact(OPERATORS["mean"], y, 0.1)) < 1e-9
    assert len(calls) < 8


def test_pictures_and_one_observation_for_all() -> None:
    """Means of 2 by 2 pixels, of pictures [5, 3, 2, 2]."""
    operator, y = lambda x: x.mean((2, 3)), normal(1, 3, seed=1)
    matrix = torch.eye(3, dtype=torch.float64).repeat_interleave(4, dim=1) / 4
    found = MomentMatching(Reshaped(ORACLE, (3, 2, 2)), operator, y, 0.2)(X_T.reshape(5, 3, 2, 2), LEVEL).x0
    assert error(found.flatten(1), exact(matrix, y.expand(5, 3), 0.2)) < 1e-9


def test_an_observation_of_another_type_is_seen_in_that_of_the_samples() -> None:
    matrix, y = OPERATORS["dense"].float(), normal(5, 4, seed=1)
    found = MomentMatching(ORACLE, lambda x: x @ matrix.T, y, 0.5, 4)(X_T.float(), LEVEL).x0
    assert found.dtype == torch.float32
    assert torch.equal(found, MomentMatching(ORACLE, lambda x: x @ matrix.T, y.float(), 0.5, 4)(X_T.float(), LEVEL).x0)


def test_in_pure_noise_and_in_clean_data_nothing_changes() -> None:
    oracle = Correlated(Flow(), ORACLE.mean, ORACLE.cov)
    guide = MomentMatching(oracle, lambda x: x[:, :3], normal(5, 3, seed=1), 0.1)
    level = Flow()(torch.tensor([1.0, 0.0, 1.0, 0.5, 0.9]))
    found, plain = guide(X_T, level).x0, oracle(X_T, level).x0
    assert torch.equal(found[:3], plain[:3])
    assert (found - plain)[3:].abs().amax(1).min() > 0.1
    assert torch.equal(MomentMatching(oracle, guide.operator, guide.observation, 0.0)(X_T, level).x0[:3], plain[:3])


def test_an_observation_that_is_met_already_changes_nothing() -> None:
    x0 = ORACLE(X_T, LEVEL).x0
    assert torch.equal(MomentMatching(ORACLE, lambda x: x[:, :3], x0[:, :3], 0.1)(X_T, LEVEL).x0, x0)


def test_a_network_whose_jacobian_is_no_covariance_stays_finite() -> None:
    """Of negative curvature: the way that conjugate gradients would take has no lowest point, and is not taken."""

    class Wrong:
        schedule = SCHEDULE

        def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
            return Estimate(x_t, level, -x_t)

    found = MomentMatching(Wrong(), lambda x: x[:, :3], normal(5, 3, seed=1), 0.0)(X_T, LEVEL).x0
    assert torch.equal(found, -X_T)


# A mixture ------------------------------------------------------------------------------------------------------------

WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5]], dtype=torch.float64)
STDS = torch.tensor([0.3, 0.4, 0.2], dtype=torch.float64)
MIXTURE = MixtureDenoiser(SCHEDULE, WEIGHTS, MEANS, STDS)
OPERATOR, SEEN_NOISE = torch.tensor([[1.0, 0.5]], dtype=torch.float64), 0.2


def conditional(y: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [3], means [3, 2] and covariances [3, 2, 2] of the mixture once y is seen."""
    oracles, seen = [], []
    for mean, std in zip(MEANS, STDS, strict=True):
        cov = std**2 * torch.eye(2, dtype=torch.float64)
        oracles.append(
            Correlated(SCHEDULE, mean, cov).given(OPERATOR, torch.tensor([y], dtype=torch.float64), SEEN_NOISE)
        )
        var = (OPERATOR @ cov @ OPERATOR.T + SEEN_NOISE**2).squeeze()
        seen.append(-((y - OPERATOR @ mean) ** 2).squeeze() / (2 * var) - var.log() / 2)
    weights = (WEIGHTS.log() + torch.stack(seen)).softmax(0)
    return weights, torch.stack([oracle.mean for oracle in oracles]), torch.stack([oracle.cov for oracle in oracles])


def exact_of_mixture(x_t: Tensor, level: Level, y: float) -> Tensor:
    """`E[x_0 | x_t, y]`: each component's own, in the shares that x_t leaves it."""
    weights, means, covs = conditional(y)
    alpha, sigma = level.alpha, level.sigma
    log_p, each = [], []
    for weight, mean, cov in zip(weights, means, covs, strict=True):
        of_x_t = torch.distributions.MultivariateNormal(alpha * mean, alpha**2 * cov + sigma**2 * torch.eye(2).double())
        log_p.append(weight.log() + of_x_t.log_prob(x_t))
        each.append(Correlated(SCHEDULE, mean, cov)(x_t, level).x0)
    return (torch.stack(log_p).softmax(0)[:, :, None] * torch.stack(each)).sum(0)


@pytest.mark.parametrize(
    ("t", "unguided", "within"), [(50, 0.05, 0.002), (200, 0.2, 0.06), (400, 0.2, 0.08), (600, 0.2, 0.07)]
)
def test_the_estimate_for_a_mixture_is_near(t: int, unguided: float, within: float) -> None:
    """Root mean square error, of x_t as they are once y is seen: 0.001, 0.046, 0.063 and 0.057."""
    level, y, n = SCHEDULE(torch.tensor([t])), -0.5, 2000
    weights, means, covs = conditional(y)
    which = torch.multinomial(weights, n, replacement=True, generator=torch.Generator().manual_seed(4))
    x_0 = means[which] + (torch.linalg.cholesky(covs)[which] @ normal(n, 2, 1, seed=5))[..., 0]
    x_t = marginal(x_0, level).sample(normal(n, 2, seed=6))
    guide = MomentMatching(MIXTURE, lambda x: x @ OPERATOR.T, torch.tensor([[y]], dtype=torch.float64), SEEN_NOISE)
    wanted = exact_of_mixture(x_t, level, y)
    plain, found = (((x0 - wanted) ** 2).mean().sqrt().item() for x0 in (MIXTURE(x_t, level).x0, guide(x_t, level).x0))
    assert plain > unguided and found < within


@pytest.mark.parametrize(("y", "unguided", "within"), [(-0.5, 0.25, 0.05), (0.6, 1.1, 0.8)])
def test_a_trajectory_meets_the_observation_and_may_take_kinds_of_data_in_wrong_shares(
    y: float, unguided: float, within: float
) -> None:
    """The mean of the trajectory's ends misses that of p(x_0 | y) by 0.03 at y = −0.5, where unguided samples miss by
    0.30.

    At y = 0.6 it misses by 0.75 (unguided: 1.17): which of two kinds fits y is settled under much noise, where a
    mixture is no Gaussian. What was measured is met in both, to 0.02.
    """
    weights, means, _ = conditional(y)
    wanted = weights @ means
    guide = MomentMatching(MIXTURE, lambda x: x @ OPERATOR.T, torch.tensor([[y]], dtype=torch.float64), SEEN_NOISE)
    path = levels(SCHEDULE, UniformSpacing(), 100)
    plain, found = (
        list(sample(denoiser, DDIM(), normal(1000, 2, seed=2), path, noise=Noise([])))[-1].mean(0)
        for denoiser in (MIXTURE, guide)
    )
    assert error(plain, wanted) > unguided and error(found, wanted) < within
    assert error(OPERATOR @ found, OPERATOR @ wanted) < 0.05


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (5, 4), (2, 3), (5, 3, 1)])
def test_an_observation_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ShapeError, match=r"the observation has shape .*, and the operator gives \[5, 3\]: give one such"
    ):
        MomentMatching(ORACLE, lambda x: x[:, :3], torch.zeros(shape), 0.1)(X_T, LEVEL)


def test_an_operator_that_adds_something_is_refused() -> None:
    with pytest.raises(InputError, match=r"operator\(0\) is not 0. Subtract its offset from the observation"):
        MomentMatching(ORACLE, lambda x: (x + 1) / 2, torch.zeros(5, D), 0.1)(X_T, LEVEL)


def test_an_operator_or_a_denoiser_without_a_gradient_is_refused() -> None:
    y = torch.ones(5, D)
    with pytest.raises(InputError, match="the operator cannot be differentiated: compute it from its argument"):
        MomentMatching(ORACLE, lambda x: x.detach(), y, 0.1)(X_T, LEVEL)
    with pytest.raises(InputError, match="the denoiser cannot be differentiated"):
        MomentMatching(Constant(SCHEDULE, 0.0), lambda x: x, y, 0.1)(X_T, LEVEL)


@pytest.mark.parametrize(("noise", "iterations"), [(-0.1, 3), (torch.inf, 3), (torch.nan, 3), (0.1, 0)])
def test_numbers_that_make_no_sense_are_refused(noise: float, iterations: int) -> None:
    with pytest.raises(InputError, match="needs a noise of 0 or more and at least one iteration, not noise"):
        MomentMatching(ORACLE, lambda x: x, torch.zeros(5, D), noise, iterations)(X_T, LEVEL)
