"""Classifier guidance: exact where the likelihood is, off where it says, and silent in pure noise."""

import pytest
import torch
from distributions import SCHEDULE, Correlated, correlated, error, normal
from torch import Tensor
from torch.distributions import MultivariateNormal

from sfumato.core.grid import TrailingSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Cosine, Flow, Schedule
from sfumato.errors import InputError, ShapeError
from sfumato.guide import Classifier
from sfumato.sample import DDIM, sample

D = 6
X_T, LEVEL = normal(5, D), SCHEDULE(torch.tensor([0, 100, 500, 900, 999]))
OPERATOR, Y, NOISE = normal(2, D, seed=1), normal(2, seed=2), 0.5


def likelihood(oracle: Correlated):
    """`log p(y | x_t)` for `y = OPERATOR·x_0 + NOISE·n`: x_0 is Gaussian given x_t, so y is."""

    def log_prob(x_t: Tensor, level: Level) -> Tensor:
        mean = oracle(x_t, level).x0 @ OPERATOR.T
        cov = OPERATOR @ oracle.uncertainty(level) @ OPERATOR.T + NOISE**2 * torch.eye(len(Y)).to(x_t)
        return MultivariateNormal(mean, cov).log_prob(Y)

    return log_prob


def oracle_on(schedule: Schedule) -> Correlated:
    oracle = correlated(D)
    return Correlated(schedule, oracle.mean, oracle.cov)


@pytest.mark.parametrize("schedule", [SCHEDULE, Cosine(), Flow()])
@pytest.mark.parametrize("view", ["x0", "eps", "v", "flow", "score"])
def test_the_exact_likelihood_gives_the_exact_posterior(view: str, schedule: Schedule) -> None:
    oracle, times = oracle_on(schedule), schedule.last * torch.tensor([0.02, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)
    level = schedule(times)
    found, wanted = (
        getattr(denoiser(X_T, level), view)
        for denoiser in (Classifier(oracle, likelihood(oracle)), oracle.given(OPERATOR, Y, NOISE))
    )
    assert error(found / wanted.abs().clamp(min=1), wanted / wanted.abs().clamp(min=1)) < 1e-9
    plain = getattr(oracle(X_T, level), view)
    assert error(plain, wanted) > 0.1


def test_the_trajectory_ends_where_that_of_the_exact_posterior_does() -> None:
    oracle, path = oracle_on(SCHEDULE), levels(SCHEDULE, TrailingSpacing(), 50)
    found, wanted = (
        list(sample(denoiser, DDIM(), X_T, path, noise=Noise([])))[-1]
        for denoiser in (Classifier(oracle, likelihood(oracle)), oracle.given(OPERATOR, Y, NOISE))
    )
    assert error(found, wanted) < 1e-9


def test_the_push_grows_with_the_scale() -> None:
    oracle = oracle_on(SCHEDULE)
    plain, once, thrice = (Classifier(oracle, likelihood(oracle), scale)(X_T, LEVEL).x0 for scale in (0, 1, 3))
    assert error(thrice - plain, 3 * (once - plain)) < 1e-12


def test_scale_zero_is_off_and_does_not_ask() -> None:
    def never(x_t: Tensor, level: Level) -> Tensor:
        raise AssertionError("asked")

    oracle = oracle_on(SCHEDULE)
    assert torch.equal(Classifier(oracle, never, 0.0)(X_T, LEVEL).x0, oracle(X_T, LEVEL).x0)


def test_in_pure_noise_and_in_clean_data_nothing_changes() -> None:
    """Whatever the classifier says there: its gradient is not even a number in the first."""
    oracle = oracle_on(Flow())
    level = Flow()(torch.tensor([1.0, 0.5, 1.0, 0.5, 0.5]))
    rows = torch.tensor([False, True, False, True, True])

    def log_prob(x_t: Tensor, level: Level) -> Tensor:
        return (x_t / level.alpha[:, None]).sum(1)

    found, plain = Classifier(oracle, log_prob)(X_T, level).x0, oracle(X_T, level).x0
    assert torch.equal(found[~rows], plain[~rows])
    assert (found - plain)[rows].abs().min() > 0.1
    clean = SCHEDULE(torch.tensor([-1.0]))
    assert torch.equal(Classifier(oracle_on(SCHEDULE), log_prob)(X_T, clean).x0, oracle_on(SCHEDULE)(X_T, clean).x0)


def test_a_log_prob_that_is_not_one_number_a_sample_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"one number a sample, \[5\], not \[5, 6\]: pick or sum"):
        Classifier(oracle_on(SCHEDULE), lambda x_t, level: x_t)(X_T, LEVEL)


def test_a_log_prob_without_a_gradient_is_refused() -> None:
    with pytest.raises(InputError, match="log_prob cannot be differentiated: compute it"):
        Classifier(oracle_on(SCHEDULE), lambda x_t, level: x_t.detach().sum(1))(X_T, LEVEL)
