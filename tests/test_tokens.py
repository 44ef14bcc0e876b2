"""Tokens on a language that can be listed, 5 tokens and 3 places: loss, samplers and guidance against sums over all."""

import itertools
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sfumato import guide
from sfumato.core.categorical import log_one_hot
from sfumato.core.condition import Condition
from sfumato.core.grid import TrailingSpacing, UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.process import Masking, TokenProcess, Uniform
from sfumato.core.schedule import Flow, Linear, Schedule, ZeroTerminal, at
from sfumato.core.token_estimate import TokenEstimate
from sfumato.denoise import TokenDenoiser, TokenDenoiserLike
from sfumato.errors import InputError, ShapeError
from sfumato.guide import ClassifierFree
from sfumato.loss import TokenVLB
from sfumato.oracle import LanguageDenoiser, finite
from sfumato.parts import SAMPLERS
from sfumato.sample import ConfidenceUnmasking, Sampler, TokenAncestral, sample
from sfumato.sample.facts import TOKEN_FACTS

K, L = 5, 3
MASK = 4
EVERY = torch.tensor(list(itertools.product(range(K), repeat=L)))
"""All states, [K**L, L]; the number of one is its tokens in base K."""
PROCESSES: list[TokenProcess] = [Masking(MASK), Uniform(K)]
LINEAR = Flow(first=1e-6)  # alpha = 1 − t


def language(process: TokenProcess) -> tuple[Tensor, Tensor]:
    """Every sequence of data, and its probability, no two alike."""
    sequences = EVERY[(EVERY < MASK).all(1)] if isinstance(process, Masking) else EVERY
    weight = torch.rand(len(sequences), generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3 + 0.01
    return sequences, weight / weight.sum()


def oracle(process: TokenProcess, schedule: Schedule = LINEAR) -> LanguageDenoiser:
    return LanguageDenoiser(schedule, process, *language(process), K)


def number(x: Tensor) -> Tensor:
    return (x * K ** torch.arange(L - 1, -1, -1)).sum(-1)


def joint(log_p: Tensor) -> Tensor:
    """Distributions of each place by itself, [n, L, K] → of all states, [n, K**L]."""
    return log_p.exp()[:, torch.arange(L), EVERY].prod(-1)


def noised(process: TokenProcess, x_0: Tensor, level: Level) -> Tensor:
    """`q(x_t | x_0)` of all states, [n, K**L]."""
    return joint(process.marginal(log_one_hot(x_0, K), level).log_p)


def reverse(denoiser: TokenDenoiserLike, t: Level, s: Level, reached: Tensor) -> Tensor:
    """`p(x_s | x_t)` from the states that are `reached` to every state, [K**L, K**L]."""
    matrix = torch.zeros(K**L, K**L, dtype=torch.float64)
    matrix[reached] = joint(denoiser(EVERY[reached], t).reverse(s).log_p)
    return matrix


class Once:
    """A denoiser that is asked about each state once, however many samples stand there."""

    def __init__(self, denoiser: TokenDenoiserLike) -> None:
        self.denoiser, self.schedule, self.asked = denoiser, denoiser.schedule, 0

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> TokenEstimate:
        self.asked += 1
        states, place = number(x_t).unique(return_inverse=True)
        return self.denoiser(EVERY[states], level).rows(place)


class Draws(Noise):
    """Uniform noise from one stream: quick, where the distribution of the samples is asked, not whose noise it is."""

    def __init__(self, seed: int) -> None:
        self.stream = torch.Generator().manual_seed(seed)

    def uniform_like(self, x: Tensor) -> Tensor:
        return torch.rand(x.shape, generator=self.stream, dtype=torch.float64)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_oracle_is_bayes_rule_over_whole_sequences(process: TokenProcess) -> None:
    sequences, p = language(process)
    t = at(LINEAR, 0.37)
    whole = noised(process, sequences, t) * p[:, None]  # [sequences, x_t]
    posterior = whole / whole.sum(0)
    found = oracle(process)(EVERY, t).log_p.exp()
    for place, token in itertools.product(range(L), range(K)):
        wanted = posterior[sequences[:, place] == token].sum(0)
        assert (found[:, place, token] - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("T", [1, 2, 6])
def test_on_whole_times_the_loss_is_the_bound(process: TokenProcess, T: int) -> None:
    """`∑_t E KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t))`, every divergence summed over all states of all places."""
    schedule = ZeroTerminal(Linear(T=T, beta_start=0.05, beta_end=0.5)) if T > 1 else OneStep()
    denoiser, x_0 = oracle(process, schedule), torch.tensor([[0, 2, 1]])
    found, bound = 0.0, 0.0
    drawn = noised(process, torch.zeros(1, L).long(), at(schedule, T - 1.0))  # pure noise, whatever the data
    for time in reversed(range(T)):
        s, t = (at(schedule, time + end) for end in (-1, 0))
        q_s, q_t = (noised(process, x_0, level)[0] for level in (s, t))
        can = q_t > 0
        loss = TokenVLB()(denoiser(EVERY[can], t), x_0.expand(int(can.sum()), L), schedule)
        found += (q_t[can] * loss).sum().item() / T
        p = reverse(denoiser, t, s, drawn[0] > 0)  # [x_t, x_s]
        q = joint(process.transition(log_one_hot(EVERY, K), s, t).log_p).T * q_s  # of x_t and x_s, given x_0
        bound += torch.where(q > 0, q * (q / (q_t[:, None] * p)).log(), 0.0).nansum().item()
        drawn = drawn @ p
    assert found == pytest.approx(bound / L / math.log(2), rel=1e-12)
    assert bound >= -drawn[0, number(x_0)].log().item() - 1e-12, "it bounds the evidence of the chain"


class OneStep(Linear):
    """A chain of one step, from the data to noise alone."""

    T = 1

    def __init__(self) -> None:
        pass

    def __call__(self, t: Tensor) -> Level:
        alpha = torch.where(t < 0, 1.0, 0.0).double()
        return Level(t.double(), alpha, 1 - alpha)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_in_continuous_time_the_loss_is_the_limit_of_many_steps(process: TokenProcess) -> None:
    x_0, t = torch.tensor([[0, 2, 1]]), at(LINEAR, 0.4)
    denoiser = oracle(process)
    estimate, many = denoiser(EVERY, t), x_0.expand(len(EVERY), L)
    found = TokenVLB()(estimate, many, LINEAR) * math.log(2)
    misses = []
    for h in (1e-3, 5e-4):
        step = process.step_divergence(estimate.log_p, many, EVERY, at(LINEAR, 0.4 - h), t).mean(1) / h
        misses.append((step - found / (LINEAR.last - LINEAR.first)).abs().max().item())
    assert (misses[0] < 1e-2 and misses[0] / max(misses[1], 1e-12) > 1.9) or max(misses) < 1e-9


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_of_the_true_posterior_the_bound_comes_near_to_the_entropy(process: TokenProcess) -> None:
    """In continuous time one token changes at a time, so the reverse steps of the places lose nothing."""
    sequences, p = language(process)
    total = 0.0
    for node, weight in zip(*np.polynomial.legendre.leggauss(16), strict=True):  # of [−1, 1]
        root = (node + 1) / 2
        t = at(LINEAR, root**2)  # close to the data, where the loss is like t·log t
        estimate = oracle(process)(EVERY, t)
        q = noised(process, sequences, t) * p[:, None]  # [sequences, x_t]
        i, j = (q > 0).nonzero(as_tuple=True)
        terms = TokenVLB()(estimate.rows(j), sequences[i], LINEAR)
        total += weight * root * (q[i, j] * terms).sum().item()
    entropy = -(p * p.log2()).sum().item() / L
    assert total == pytest.approx(entropy, abs=1e-4)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_samples_have_the_distribution_of_the_chain(process: TokenProcess) -> None:
    """χ² of 20,000 samples after 8 steps, against the product of the matrices of the steps."""
    denoiser, noise, path = oracle(process), Draws(0), levels(LINEAR, TrailingSpacing(), 8)
    wanted = noised(process, torch.zeros(1, L).long(), path[0])
    for t, s in pairwise(path):
        wanted = wanted @ reverse(denoiser, t, s, wanted[0] > 0)
    x = process.start(noise.uniform_like(torch.zeros(20_000, L)), path[0])
    *_, found = sample(Once(denoiser), TokenAncestral(), x, path, noise=noise)
    seen, expected = torch.bincount(number(found), minlength=K**L).double(), len(x) * wanted[0]
    assert seen[expected == 0].sum() == 0
    seen, expected = seen[expected > 0], expected[expected > 0]
    assert expected.min() > 5
    χ2, freedom = ((seen - expected) ** 2 / expected).sum().item(), len(seen) - 1
    assert abs(χ2 - freedom) < 3.5 * math.sqrt(2 * freedom), "within 3.5 deviations of its mean"


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_many_steps_end_in_the_language(process: TokenProcess) -> None:
    """The distance falls with the steps: more than one token changes in a step more rarely."""
    sequences, p = language(process)
    truth = torch.zeros(K**L, dtype=torch.float64)
    truth[number(sequences)] = p
    misses = []
    for steps in (8, 16, 32):
        state = noised(process, torch.tensor([[0, 0, 0]]), Level(*torch.zeros(3, 1, dtype=torch.float64)))
        for t, s in pairwise(levels(LINEAR, TrailingSpacing(), steps)):
            state = state @ reverse(oracle(process), t, s, state[0] > 0)
        misses.append((state[0] - truth).abs().sum().item())
    assert misses[0] < 0.4 and misses[1] < 0.6 * misses[0] and misses[2] < 0.6 * misses[1]


@pytest.mark.parametrize("sampler", TOKEN_FACTS)
def test_a_step_asks_the_denoiser_once(sampler: str) -> None:
    assert TOKEN_FACTS[sampler].evaluations == 1 and TOKEN_FACTS[sampler].over == 0
    once, path = Once(oracle(Masking(MASK))), levels(LINEAR, TrailingSpacing(), 4)
    list(sample(once, SAMPLERS.parse(sampler), torch.full((2, L), MASK), path, noise=Noise([0, 1])))
    assert once.asked == 4


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_one_step_draws_each_token_by_itself(process: TokenProcess) -> None:
    path = levels(LINEAR, TrailingSpacing(), 1)
    noise = Noise(range(50))
    x = process.start(process.noise(noise.streams, L), path[0])
    (found,) = sample(oracle(process), TokenAncestral(), x, path, noise=noise)
    estimate = oracle(process)(x, path[0])
    again = Noise(range(50))
    process.noise(again.streams, L)
    assert torch.equal(found, estimate.reverse(path[1]).sample(again.uniform_like(x)))
    assert (found < MASK).all() or isinstance(process, Uniform)


@pytest.mark.parametrize("sampler", [TokenAncestral(), ConfidenceUnmasking()], ids=repr)
def test_a_sample_of_tokens_depends_on_its_seed_alone(sampler: TokenAncestral | ConfidenceUnmasking) -> None:
    process = Masking(MASK)

    def drawn(seeds: list[int]) -> Tensor:
        noise = Noise(seeds)
        x = process.start(process.noise(noise.streams, L), at(LINEAR, 1.0))
        *_, last = sample(oracle(process), sampler, x, levels(LINEAR, TrailingSpacing(), 4), noise=noise)  # pyright: ignore
        return last

    together = drawn([3, 1, 2])
    assert torch.equal(together[1:2], drawn([1])) and torch.equal(together[[2, 0]], drawn([2, 3]))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        assert torch.equal(drawn([3, 1, 2]), together)
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("noise_scale", [0.0, 2.0])
def test_the_number_of_masks_is_that_of_the_levels(noise_scale: float) -> None:
    length = 20
    denoiser = Fixed(torch.tensor([0.6, 0.4, 0.0]).log())
    x = torch.full((3, length), 2)
    x[0, :5] = 0  # known beforehand
    path = levels(Flow(), TrailingSpacing(), 8)
    counts = [
        (one == 2).sum(1).tolist()
        for one in sample(denoiser, ConfidenceUnmasking(1.0, noise_scale), x, path, noise=Noise(range(3)))
    ]
    assert [count[1] for count in counts] == [17, 15, 12, 10, 7, 5, 2, 0]
    assert [count[0] for count in counts] == [13, 11, 9, 7, 5, 3, 1, 0]
    *_, last = sample(denoiser, ConfidenceUnmasking(0.0, 0.0), x, path, noise=Noise(range(3)))
    assert (last == 0).all(), "without temperature the most probable"


def test_the_most_confident_tokens_are_kept_first() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    denoiser = Fixed(p.log(), Masking(2))
    x = torch.full((1, 3), 2)
    path = levels(Flow(), TrailingSpacing(), 3)
    found = list(sample(denoiser, ConfidenceUnmasking(0.0, 0.0), x, path, noise=Noise([0])))
    assert [one.tolist() for one in found] == [[[2, 0, 2]], [[2, 0, 1]], [[0, 0, 1]]]


class Fixed:
    """Believes the same of every token."""

    schedule = Flow()

    def __init__(self, log_p: Tensor, process: TokenProcess = Masking(2)) -> None:
        self.log_p, self.process = log_p, process

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> TokenEstimate:
        return TokenEstimate(x_t, level, self.log_p.expand(*x_t.shape, self.log_p.shape[-1]), self.process)


class OfVector:
    """Believes what its condition's vector says, [b, k], as logits."""

    schedule = Flow()

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> TokenEstimate:
        assert condition.vector is not None
        logits = condition.vector[:, None].expand(*x_t.shape, -1)
        return TokenEstimate(x_t, level, Masking(2).log_probabilities(logits, x_t), Masking(2))


def test_guidance_mixes_log_probabilities() -> None:
    """`p ∝ p(c)^scale·p(null)^(1−scale)`, where tokens are masks; known ones stay."""
    asked, null = torch.tensor([[2.0, 0.0, 9.0]]), torch.tensor([[0.5, 1.0, 9.0]])
    x_t = torch.tensor([[2, 1]])
    guided = ClassifierFree(OfVector(), Condition(null), 3.0)(x_t, at(Flow(), 0.5), Condition(asked))
    line = null + 3 * (asked - null)
    assert (guided.log_p[0, 0, :2] - line[0, :2].log_softmax(0)).abs().max() < 1e-6
    assert guided.log_p[0, 0, 2] == -math.inf and guided.log_p[0, 1].exp().tolist() == [0, 1, 0]
    assert guided.x_t is x_t
    plain = ClassifierFree(OfVector(), Condition(null), 1.0)(x_t, at(Flow(), 0.5), Condition(asked))
    assert torch.equal(plain.log_p, OfVector()(x_t, at(Flow(), 0.5), Condition(asked)).log_p)
    with pytest.raises(InputError, match="tokens have none: leave it 0"):
        ClassifierFree(OfVector(), Condition(null), 3.0, rescale=0.5)(x_t, at(Flow(), 0.5), Condition(asked))


class Table(nn.Module):
    """Logits of each token by a table."""

    def __init__(self, k: int = 3) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(k, k, generator=torch.Generator().manual_seed(0)))
        self.times: list[float] = []

    def forward(self, ids: Tensor, time: Tensor) -> Tensor:
        self.times += time.tolist()
        return self.logits[ids]


def test_a_token_denoiser_asks_its_network_and_learns_by_the_loss() -> None:
    network = Table()
    denoiser = TokenDenoiser(network, Flow(), Masking(2))
    x_0 = torch.tensor([[0, 1, 1, 0]] * 64)
    noise = Masking(2).noise(Noise(range(64)).streams, 4)
    level = Flow()((torch.arange(64) + 0.5) / 64)
    x_t = Masking(2).corrupt(x_0, level, noise)
    estimate = denoiser(x_t, level)
    assert network.times == pytest.approx(level.t.tolist()) and estimate.log_p.dtype == torch.float32
    first = TokenVLB()(estimate, x_0, Flow()).mean()
    first.backward()
    assert network.logits.grad is not None and network.logits.grad.isfinite().all()
    assert network.logits.grad[2, :2].abs().min() > 0 and (network.logits.grad[:2] == 0).all()
    some = estimate.rows(torch.tensor([3, 5]))
    assert some.x_t.shape == (2, 4) and some.log_p.shape == (2, 4, 3) and some.level.t.shape == (2,)


def test_what_tokens_cannot_be_is_refused() -> None:
    network = Table()
    network.forward = lambda ids, time: torch.zeros(1, 3)
    with pytest.raises(ShapeError, match=r"gives logits \[1, 2\] by the number of tokens, not \[1, 3\]"):
        TokenDenoiser(network, Flow(), Masking(2))(torch.tensor([[0, 1]]), at(Flow(), 0.5))
    with pytest.raises(InputError, match="no sequence of it becomes them by noise"):
        LanguageDenoiser(Flow(), Masking(2), torch.tensor([[0, 1]]), torch.ones(1).double(), 3)(
            torch.tensor([[1, 1]]), at(Flow(), 0.5)
        )
    path = levels(Flow(), UniformSpacing(), 2)
    with pytest.raises(InputError, match="is for masked tokens, not Uniform.*take token-ancestral"):
        next(
            sample(
                Fixed(torch.zeros(5), Uniform(5)),
                ConfidenceUnmasking(),
                torch.zeros(1, 2).long(),
                path,
                noise=Noise([0]),
            )
        )
    samplers: list[Sampler[Any]] = [TokenAncestral(), ConfidenceUnmasking()]
    for sampler in samplers:
        with pytest.raises(InputError, match="draws tokens, and this denoiser predicts numbers: take ddim"):
            next(sample(finite(Flow(), torch.zeros(1, 2)), sampler, torch.zeros(1, 2), path, noise=Noise([0])))
    for wrong in (ConfidenceUnmasking(-1.0), ConfidenceUnmasking(noise_scale=math.nan)):
        with pytest.raises(InputError, match="needs a temperature and a noise_scale of 0 or more"):
            next(sample(Fixed(torch.zeros(3)), wrong, torch.full((1, 2), 2), path, noise=Noise([0])))


@pytest.mark.parametrize("process", [Masking(2), Uniform(3)], ids=repr)
@pytest.mark.parametrize("schedule", [Flow(), ZeroTerminal(Linear(T=4))], ids=lambda schedule: type(schedule).__name__)
def test_the_loss_of_a_network_in_float32_has_a_finite_gradient_at_every_time(
    process: TokenProcess, schedule: Schedule
) -> None:
    network, x_0 = Table(), torch.tensor([[0, 1, 1, 0]] * 4)
    level = schedule(torch.linspace(schedule.first, schedule.last, 4, dtype=torch.float64))
    x_t = process.corrupt(x_0, level, process.noise(Noise(range(4)).streams, 4))
    loss = TokenVLB()(TokenDenoiser(network, schedule, process)(x_t, level), x_0, schedule)
    loss.mean().backward()
    assert loss.isfinite().all() and (loss >= -1e-4).all()
    assert network.logits.grad is not None and network.logits.grad.isfinite().all()


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS.kinds if name not in TOKEN_FACTS])
def test_samplers_of_numbers_refuse_tokens(sampler: str) -> None:
    spelled = "langevin,size=0.1" if sampler == "langevin" else sampler
    path, x = levels(Flow(), UniformSpacing(), 8)[1:], torch.zeros(1, 2).long()
    with pytest.raises(InputError, match="draws numbers, and this denoiser predicts tokens: take token-ancestral"):
        next(sample(Fixed(torch.zeros(3)), SAMPLERS.parse(spelled), x, path, noise=Noise([0])))


@pytest.mark.parametrize("name", ["StaticThreshold", "DynamicThreshold", "Inpaint", "Classifier", "MomentMatching"])
def test_guides_of_numbers_refuse_tokens(name: str) -> None:
    x, tokens = torch.zeros(1, 2).long(), Fixed(torch.zeros(3))
    arguments: dict[str, tuple[Any, ...]] = {
        "Inpaint": (x, x == 0),
        "Classifier": (lambda x, level: x.sum(1),),
        "MomentMatching": (lambda x: x, torch.zeros(1, 2), 0.1),
    }
    with pytest.raises(InputError, match="guides numbers, and th.* tokens: leave it out"):
        getattr(guide, name)(tokens, *arguments.get(name, ()))(x, at(Flow(), 0.5))
