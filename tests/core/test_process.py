"""Forward processes: the Gaussian one is the same to the last bit; those of tokens agree with sums over all tokens."""

import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato import parts
from sfumato.core import gaussian
from sfumato.core.categorical import Categorical, log_one_hot
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.process import Gaussian, Masking, Process, TokenProcess, Uniform
from sfumato.core.schedule import Cosine, Flow, at
from sfumato.errors import InputError, NonFiniteError, ShapeError

K = 5
PROCESSES: list[TokenProcess] = [Masking(4), Masking(0), Uniform(K)]
ALPHAS = [
    *((1.0, 0.0), (1.0, 0.3), (0.9, 0.7), (0.6, 1e-9), (1 - 1e-9, 0.5), (0.2, 0.0), (1 - 1e-12, 1 - 2e-12)),
    *((1.0, 1 - 2.0**-53), (1 - 1e-13, 0.3), (0.7, 0.7 - 1e-13), (1 - 1e-12, 1e-12), (1e-9, 1e-12), (1e-200, 1e-300)),
]
"""alpha of s and of t."""


def level(*alphas: float) -> Level:
    alpha = torch.tensor(alphas, dtype=torch.float64)
    return Level(1 - alpha, alpha, 1 - alpha)


Matrix = list[list[Fraction]]


@cache
def matrix(process: TokenProcess, kept: Fraction) -> Matrix:
    """`Q[i][j] = q(x_t = j | x_s = i)`, as the papers write it, without rounding."""
    lost = [Fraction(j == process.mask_id) if isinstance(process, Masking) else Fraction(1, K) for j in range(K)]
    return [[kept * (i == j) + (1 - kept) * lost[j] for j in range(K)] for i in range(K)]


def matrices(process: TokenProcess, alpha_s: float, alpha_t: float) -> tuple[Matrix, Matrix, Matrix]:
    """From the data to s, from s to t, and from the data to t."""
    s, t = Fraction(alpha_s), Fraction(alpha_t)
    return matrix(process, s), matrix(process, t / s), matrix(process, t)


@cache
def bayes(process: TokenProcess, alpha_s: float, alpha_t: float, x_0: int, x_t: int) -> list[Fraction]:
    """`q(x_s | x_t, x_0)` by Bayes' rule, over all x_s."""
    to_s, between, to_t = matrices(process, alpha_s, alpha_t)
    return [to_s[x_0][x_s] * between[x_s][x_t] / to_t[x_0][x_t] for x_s in range(K)]


def can(process: TokenProcess, alpha_t: float) -> list[tuple[int, int]]:
    """All x_0 and x_t that there can be."""
    q = matrix(process, Fraction(alpha_t))
    return [(x_0, x_t) for x_0, x_t in itertools.product(data(process), range(K)) if q[x_0][x_t] > 0]


def miss(found: Tensor, wanted: list[Fraction]) -> float:
    """The largest difference, relative to each probability."""
    pairs = zip(found.exp().flatten().tolist(), wanted, strict=True)
    return max(float(abs(Fraction(a) - b) / b) if b > 0 else a for a, b in pairs)


def model(process: TokenProcess) -> list[Fraction]:
    """Some distribution over the tokens of the data."""
    weights = [Fraction(0)] * K
    for token, weight in zip(data(process), (8, 5, 3, 1, 2), strict=False):
        weights[token] = Fraction(weight)
    return [weight / sum(weights) for weight in weights]


def log_model(process: TokenProcess) -> Tensor:
    return torch.tensor([float(p) for p in model(process)], dtype=torch.float64).log().expand(1, 1, K)


def divergences(q: list[Fraction], p: list[Fraction]) -> Decimal:
    """`∑ q·log(q/p) − q + p`, in 60 digits: of distributions, `KL(q ‖ p)`."""
    with localcontext(prec=60):
        exact = [
            (Decimal(a.numerator) / a.denominator, Decimal(b.numerator) / b.denominator)
            for a, b in zip(q, p, strict=True)
        ]
        return sum((a * (a / b).ln() - a + b if a else b for a, b in exact), Decimal())


def data(process: TokenProcess) -> list[int]:
    return [token for token in range(K) if not (isinstance(process, Masking) and token == process.mask_id)]


def every(x: int) -> Tensor:
    return torch.tensor([[x]])


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(("alpha_s", "alpha_t"), ALPHAS)
def test_marginal_and_transition_are_rows_of_the_matrices(
    process: TokenProcess, alpha_s: float, alpha_t: float
) -> None:
    s, t = level(alpha_s), level(alpha_t)
    _, between, to_t = matrices(process, alpha_s, alpha_t)
    for x in data(process):
        assert miss(process.marginal(log_one_hot(every(x), K), t).log_p, to_t[x]) < 1e-12
        assert miss(process.transition(log_one_hot(every(x), K), s, t).log_p, between[x]) < 1e-12


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(("alpha_s", "alpha_t"), ALPHAS)
def test_the_posterior_is_that_of_bayes_rule(process: TokenProcess, alpha_s: float, alpha_t: float) -> None:
    s, t = level(alpha_s), level(alpha_t)
    for x_0, x_t in can(process, alpha_t):
        found = process.posterior(log_one_hot(every(x_0), K), every(x_t), s, t).log_p
        assert miss(found, bayes(process, alpha_s, alpha_t, x_0, x_t)) < 1e-12, (x_0, x_t)
        assert abs(found.exp().sum() - 1) < 1e-12


def modelled(process: TokenProcess, alpha_s: float, alpha_t: float, x_t: int) -> list[Fraction]:
    """`p(x_s | x_t)`: the posterior of each token of the data, weighted by the model (masks: at a mask)."""
    each = [(p, bayes(process, alpha_s, alpha_t, x, x_t)) for x, p in enumerate(model(process)) if p]
    return [sum((p * one[x_s] for p, one in each), Fraction(0)) for x_s in range(K)]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(("alpha_s", "alpha_t"), ALPHAS)
def test_the_posterior_of_a_distribution_is_the_mean_of_those_of_its_tokens(
    process: TokenProcess, alpha_s: float, alpha_t: float
) -> None:
    s, t = level(alpha_s), level(alpha_t)
    for x_t in [process.mask_id] if isinstance(process, Masking) else range(K):
        found = process.posterior(log_model(process), every(x_t), s, t).log_p
        assert miss(found, modelled(process, alpha_s, alpha_t, x_t)) < 1e-12, x_t


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(("alpha_s", "alpha_t"), ALPHAS)
def test_the_divergence_of_a_step_is_the_sum_over_all_tokens(
    process: TokenProcess, alpha_s: float, alpha_t: float
) -> None:
    """To twelve digits of the loss, the divergence a unit by which alpha changes, and to the square of float64's."""
    s, t = level(alpha_s), level(alpha_t)
    for x_0, x_t in can(process, alpha_t):
        if isinstance(process, Masking) and x_t != process.mask_id:
            continue  # it is known there
        found = process.step_divergence(log_model(process), every(x_0), every(x_t), s, t).item()
        p = modelled(process, alpha_s, alpha_t, x_t)
        wanted = float(divergences(bayes(process, alpha_s, alpha_t, x_0, x_t), p))
        assert found == pytest.approx(wanted, rel=1e-12, abs=max(1e-12 * (alpha_s - alpha_t), 2.0**-100)), (x_0, x_t)


@pytest.mark.parametrize("alpha", [1e-300, 1e-12, 1e-4, 0.3, 0.7, 1 - 1e-4, 1 - 1e-12])
def test_the_divergence_a_unit_of_alpha_is_that_of_score_entropy(alpha: float) -> None:
    """SEDD, eq. 10: `∑ s − r·log s + r·(log r − 1)` over the other tokens, by the rate at which tokens are replaced."""
    process = Uniform(K)
    to_t, p = matrix(process, Fraction(alpha)), model(process)
    for x_0, x_t in can(process, alpha):
        others = [y for y in range(K) if y != x_t]
        each = [[row[y] / row[x_t] for y in others] for row in to_t]  # by the token of x_0
        score = [sum((p[x] * each[x][y] for x in range(K)), Fraction()) for y in range(K - 1)]
        wanted = float(divergences(each[x_0], score)) / K / alpha
        found = process.divergence_rate(log_model(process), every(x_0), every(x_t), level(alpha)).item()
        assert found == pytest.approx(wanted, rel=1e-12, abs=1e-12), (x_0, x_t)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_at_either_end_nothing_is_undefined(process: TokenProcess) -> None:
    ends = [level(1.0), level(0.5), level(0.0)]
    for s, t in [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)]:
        for x_0, x_t in itertools.product(data(process), range(K)):
            found = process.posterior(log_one_hot(every(x_0), K), every(x_t), ends[s], ends[t]).log_p
            assert not found.isnan().any() and found.exp().sum() == pytest.approx(1, abs=1e-12)
    clean = process.posterior(log_one_hot(every(1), K), every(1), ends[0], ends[1])
    assert clean.mode().item() == 1 and clean.log_p.exp().max() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_corrupted_tokens_have_the_marginal(process: TokenProcess) -> None:
    """Of a grid of noise instead of random numbers: the share of each token is its probability."""
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5)[:, None] / 100_000
    for alpha in (0.0, 0.37, 1.0):
        x_t = process.corrupt(torch.full(u.shape, 2), level(alpha), u)
        share = torch.bincount(x_t.flatten(), minlength=K) / len(u)
        wanted = process.marginal(log_one_hot(every(2), K), level(alpha)).log_p.exp()[0, 0]
        assert (share - wanted).abs().max() < 2e-5
        drawn = process.marginal(log_one_hot(torch.full(u.shape, 2), K), level(alpha)).sample(u)
        assert (torch.bincount(drawn.flatten(), minlength=K) / len(u) - wanted).abs().max() < 2e-5


@pytest.mark.parametrize("process", [Gaussian(), *PROCESSES], ids=repr)
def test_a_sample_depends_on_its_own_seed_alone(process: Process) -> None:
    x_0, t = torch.tensor([[0, 1, 2], [3, 1, 2]]), Flow()(torch.tensor([0.3, 0.8]))
    if isinstance(process, Gaussian):
        x_0 = x_0.float()
    noise = process.noise(Noise([7, 8]).streams, 3)
    other = process.noise(Noise([9, 8]).streams, 3)
    assert torch.equal(noise[1], other[1]) and not torch.equal(noise[0], other[0])
    assert torch.equal(process.corrupt(x_0, t, noise)[1], process.corrupt(x_0, t, other)[1])
    assert torch.equal(process.start(noise, t)[1], process.start(other, t)[1])


def test_the_gaussian_process_is_what_trainer_and_system_compute() -> None:
    x_0, t = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)), at(Cosine(), 3, 700)
    noise = Gaussian().noise(Noise([1, 2]).streams, 3, 4)
    assert torch.equal(noise, Noise([1, 2])(3, 4))
    assert torch.equal(Gaussian().corrupt(x_0, t, noise), gaussian.marginal(x_0, t).sample(noise))
    assert torch.equal(Gaussian().start(noise, at(Cosine(), 999), 1.5), noise * 1.5)
    assert torch.equal(Gaussian().start(noise, level(0.6)._replace(sigma=torch.tensor([0.8]).double())), noise)


def test_the_start_is_the_stationary_distribution() -> None:
    u = torch.tensor([[0.0, 0.19, 0.2, 0.99, 1 - 2.0**-53]], dtype=torch.float64)
    assert Masking(3).start(u, level(0.0)).tolist() == [[3] * 5]
    assert Uniform(K).start(u, level(0.0)).tolist() == [[0, 0, 1, 4, 4]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_token_of_no_probability_is_never_drawn(dtype: torch.dtype) -> None:
    log_p = torch.tensor([-math.inf, math.log(0.3), -math.inf, math.log(0.7), -math.inf], dtype=dtype)
    u = torch.tensor([[0.0, 0.29, 0.31, 0.9999, 1 - 2.0**-53]], dtype=torch.float64)
    assert Categorical(log_p.expand(1, 5, 5)).sample(u).tolist() == [[1, 1, 3, 3, 3]]


@pytest.mark.parametrize("process", [Masking(2), Uniform(4)], ids=repr)
def test_log_probabilities_are_normalised_and_of_no_mask(process: TokenProcess) -> None:
    x_t = torch.tensor([[0, 2, 3]])
    log_p = process.log_probabilities(torch.tensor([0.3, 2.0, 5.0, -1.0]).expand(1, 3, 4), x_t)
    assert (log_p.exp().sum(-1) - 1).abs().max() < 1e-6
    if isinstance(process, Masking):
        assert log_p.argmax(-1).tolist() == [[0, 1, 3]], "known tokens stay"
        assert (log_p[..., 2] == -math.inf).all() and log_p[0, 0].exp().tolist() == [1, 0, 0, 0]


def test_processes_are_parts() -> None:
    for process in (Gaussian(), Masking(7), Uniform(27)):
        assert parts.PROCESSES.load(parts.PROCESSES.dump(process)) == process
    assert parts.PROCESSES.spell(Masking(7)) == "masking,mask_id=7"


def test_what_does_not_fit_is_refused() -> None:
    x_0 = log_one_hot(torch.tensor([[1]]), 4)
    with pytest.raises(InputError, match="mask_id must be one of the 4 tokens, from 0 to 3, not 4$"):
        Masking(4).marginal(x_0, level(0.5))
    with pytest.raises(ShapeError, match=r"of 5 tokens takes log-probabilities \[b, l, 5\], not of 4 tokens"):
        Uniform(5).marginal(x_0, level(0.5))
    with pytest.raises(InputError, match="masks want a vocabulary of two tokens or more"):
        Masking(0).marginal(log_one_hot(torch.tensor([[0]]), 1), level(0.5))


@pytest.mark.parametrize("value", [-1, 1.5, True, "a", 2**40])
def test_a_number_of_tokens_that_is_none_is_refused(value: Any) -> None:
    for make, name in ((Masking, "mask_id"), (Uniform, "k, the number of tokens,")):
        with pytest.raises(InputError, match=f"^{name} must be a whole number from [01] to 2,147,483,648, not "):
            make(value)
    with pytest.raises(InputError, match="not 0$"):
        Uniform(0)


@pytest.mark.parametrize("log_p", [math.nan, -math.inf])
def test_no_token_is_drawn_where_there_is_no_distribution(log_p: float) -> None:
    """An id beyond the vocabulary would be, which an embedding cannot look up."""
    with pytest.raises(NonFiniteError, match="holds NaN, or no token that is possible"):
        Categorical(torch.full((1, 2, 4), log_p)).sample(torch.zeros(1, 2, dtype=torch.float64))
    assert Categorical(torch.zeros(0, 2, 4)).sample(torch.zeros(0, 2, dtype=torch.float64)).shape == (0, 2)
