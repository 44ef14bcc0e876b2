"""SGLD on Bayesian linear regression: steps are affine in the weights, so their law is known, and so is the posterior.

Many chains run side by side, as the rows of one parameter. Their mean and covariance after k steps are held against the
recursion that the update and the draw of minibatches give, and this against the posterior.
"""

import copy
import math
import pickle
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR

from sfumato.errors import InputError, NonFiniteError
from sfumato.sample import SGLD

N, D, NOISE = 30, 3, 0.5


class Law(NamedTuple):
    """The mean [d] and covariance [d, d] of the weights."""

    mean: Tensor
    cov: Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = normal(N, D, seed=1) @ torch.tensor([[1.0, 0.0, 0.0], [0.4, 0.8, 0.0], [0.3, 0.2, 0.7]]).double().T
Y = X @ torch.tensor([0.5, -1.0, 2.0]).double() + NOISE * normal(N, seed=2)
PRECISION = torch.eye(D).double() + X.T @ X / NOISE**2  # the prior is N(0, I)
POSTERIOR = Law(torch.linalg.solve(PRECISION, X.T @ Y / NOISE**2), PRECISION.inverse())


def potential(θ: Tensor, which: Tensor | None = None) -> Tensor:
    """U of each chain's weights, θ [chains, d] → [chains], on all data or on the minibatches `which` [chains, n]."""
    if which is None:
        misfit = ((Y - θ @ X.T) ** 2).sum(1)
    else:
        misfit = N / which.shape[1] * ((Y[which] - (X[which] * θ[:, None]).sum(2)) ** 2).sum(1)
    return (θ**2).sum(1) / 2 + misfit / (2 * NOISE**2)


def after(law: Law, lr: float, temperature: float = 1.0, n: int | None = None) -> Law:
    """The law one step on. A minibatch of n, drawn with replacement, gives the gradient a covariance of its own:
    `(N²/n)·Cov_i[x_i·(x_i·θ − y_i)]/NOISE⁴`, quadratic in θ, so that its mean follows from the law of θ."""
    mean, cov = law
    matrix = torch.eye(D).double() - lr / 2 * PRECISION
    gap = X @ mean - Y
    shaken = lr * temperature * torch.eye(D).double()
    if n is not None:
        squares = gap**2 + ((X @ cov) * X).sum(1)  # E[(x_i·θ − y_i)²]
        summed = X.T @ (gap[:, None] * gap + X @ cov @ X.T) @ X
        of_gradient = (N * (X.T * squares) @ X - summed) / (n * NOISE**4)
        shaken = shaken + lr**2 / 4 * of_gradient
    return Law(mean - lr / 2 * (PRECISION @ (mean - POSTERIOR.mean)), matrix @ cov @ matrix.T + shaken)


def settled(lr: float, temperature: float = 1.0, n: int | None = None) -> Law:
    """The law that a step leaves as it is. A step is affine in the covariance, so this is a linear equation."""
    basis = [Law(POSTERIOR.mean, matrix.reshape(D, D)) for matrix in torch.eye(D * D).double()]
    constant = after(Law(POSTERIOR.mean, torch.zeros(D, D).double()), lr, temperature, n).cov.flatten()
    linear = torch.stack([after(law, lr, temperature, n).cov.flatten() - constant for law in basis], 1)
    cov = torch.linalg.solve(torch.eye(D * D).double() - linear, constant)
    return Law(POSTERIOR.mean, cov.reshape(D, D))


def chains(
    steps: int, lr: float, temperature: float = 1.0, n: int | None = None, count: int = 2000, seed: int = 0
) -> Tensor:
    """Where chains from θ = 0 are after `steps`: [count, d]."""
    θ = nn.Parameter(torch.zeros(count, D, dtype=torch.float64))
    optimizer, stream = SGLD([θ], lr, temperature, seed=seed), torch.Generator().manual_seed(seed + 1)
    for _ in range(steps):
        optimizer.zero_grad()
        which = None if n is None else torch.randint(N, (count, n), generator=stream)
        potential(θ, which).sum().backward()
        optimizer.step()
    return θ.detach()


def assert_law(found: Tensor, wanted: Law) -> None:
    """Mean and covariance within 4.5 standard errors, in the coordinates where the wanted law is N(0, I)."""
    count = len(found)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(wanted.cov), (found - wanted.mean).T, upper=False).T
    assert white.mean(0).abs().max().item() < 4.5 / math.sqrt(count)
    off = white.T @ white / count - torch.eye(D).double()
    assert off.abs().max().item() < 4.5 * math.sqrt(2 / count)


def error(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute error."""
    return (found - wanted).abs().max().item()


def rate(share: float) -> float:
    """The lr that is `share` of one over the largest curvature."""
    return share / torch.linalg.eigvalsh(PRECISION).max().item()


def excess(law: Law) -> float:
    """By how much a law is wider than the posterior, along its worst direction, as a share of the variance."""
    return (torch.linalg.eigvals(torch.linalg.solve(POSTERIOR.cov, law.cov)).real - 1).max().item()


# The law of the samples


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_the_settled_law_of_whole_batches_is_the_posterior_but_for_a_known_bias(temperature: float) -> None:
    """Along an axis of curvature h, the variance is `temperature/(h·(1 − lr·h/4))`."""
    h, axes = torch.linalg.eigh(PRECISION)
    for share in (1.0, 0.1, 0.01):
        lr = rate(share)
        wanted = axes @ torch.diag(temperature / (h * (1 - lr * h / 4))) @ axes.T
        law = settled(lr, temperature)
        assert error(law.cov, wanted) < 1e-12
        assert excess(law._replace(cov=law.cov / temperature)) == pytest.approx(1 / (1 - share / 4) - 1, rel=1e-9)


@pytest.mark.parametrize(("steps", "share", "temperature"), [(5, 1.0, 1.0), (60, 1.0, 1.0), (60, 1.0, 0.1)])
def test_chains_on_whole_batches_have_the_law_that_the_update_gives(
    steps: int, share: float, temperature: float
) -> None:
    law = Law(torch.zeros(D).double(), torch.zeros(D, D).double())
    for _ in range(steps):
        law = after(law, rate(share), temperature)
    assert_law(chains(steps, rate(share), temperature), law)
    if steps == 60:
        assert error(law.cov, settled(rate(share), temperature).cov) < 1e-3


@pytest.mark.parametrize(("steps", "share"), [(5, 0.5), (60, 0.5)])
def test_chains_on_minibatches_have_the_law_that_update_and_draw_give(steps: int, share: float) -> None:
    law = Law(torch.zeros(D).double(), torch.zeros(D, D).double())
    for _ in range(steps):
        law = after(law, rate(share), n=6)
    assert_law(chains(steps, rate(share), n=6), law)


def test_the_smaller_the_steps_the_nearer_are_minibatches_to_the_posterior() -> None:
    wide = [excess(settled(rate(share), n=6)) for share in (0.08, 0.04, 0.02)]
    for large, small in pairwise(wide):
        assert large / small == pytest.approx(2, rel=0.1)
    assert wide[-1] < 0.1


def test_at_temperature_0_it_is_gradient_descent_of_half_the_rate() -> None:
    found = chains(200, rate(1.0), temperature=0.0, count=2)
    assert error(found, POSTERIOR.mean.expand(2, D)) < 0.05
    θ = nn.Parameter(torch.zeros(1, D, dtype=torch.float64))
    descent = torch.optim.SGD([θ], rate(1.0) / 2)
    for _ in range(200):
        descent.zero_grad()
        potential(θ).sum().backward()
        descent.step()
    assert error(found, θ.detach().expand(2, D)) < 1e-12


def test_steps_may_fall_as_the_paper_has_them_and_count_in_means_for_their_size() -> None:
    """`ε_t = a·(b + t)^(−γ)`; one chain, long enough that its weighted mean is the posterior's."""
    a, b, γ = 0.5 * rate(1.0) * 100**0.55, 100, 0.55
    θ = nn.Parameter(POSTERIOR.mean.repeat(100, 1))
    optimizer = SGLD([θ], a * b**-γ)
    schedule = LambdaLR(optimizer, lambda t: (1 + t / b) ** -γ)
    total, mean, square = 0.0, torch.zeros(D).double(), torch.zeros(D, D).double()
    for t in range(600):
        lr = optimizer.param_groups[0]["lr"]
        assert lr == pytest.approx(a * (b + t) ** -γ, rel=1e-12)
        optimizer.zero_grad()
        potential(θ).sum().backward()
        optimizer.step()
        schedule.step()
        off = θ.detach() - POSTERIOR.mean
        total, mean, square = total + lr, mean + lr * off.mean(0), square + lr * off.T @ off / len(off)
    spread = POSTERIOR.cov.diagonal().sqrt()
    assert ((mean / total) / spread).abs().max().item() < 0.05
    assert ((square / total - POSTERIOR.cov) / (spread[:, None] * spread)).abs().max().item() < 0.1


# The optimizer


def small(seed: int = 0) -> tuple[nn.Linear, SGLD, LambdaLR]:
    """A layer, its optimizer with a group for each parameter, and a schedule."""
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 6).reshape(2, 3))
        layer.bias.zero_()
    groups = [{"params": [layer.weight]}, {"params": [layer.bias], "lr": 0.02, "temperature": 0.5}]
    optimizer = SGLD(groups, lr=0.01, seed=seed)
    return layer, optimizer, LambdaLR(optimizer, lambda t: (1 + t / 10) ** -0.55)


def chain(layer: nn.Linear, optimizer: SGLD, schedule: LambdaLR, steps: range) -> list[Tensor]:
    states = []
    for step in steps:
        optimizer.zero_grad()
        layer(normal(4, 3, seed=step).float()).square().sum().backward()
        optimizer.step()
        schedule.step()
        states.append(torch.cat([layer.weight.detach().flatten(), layer.bias.detach()]))
    return states


def test_one_step_is_the_update_with_the_settings_of_each_group() -> None:
    layer, optimizer, _ = small(seed=5)
    before = [p.detach().clone() for p in layer.parameters()]
    layer(normal(4, 3).float()).square().sum().backward()
    optimizer.step()
    stream = torch.Generator().manual_seed(5)
    for p, old, lr, temperature in zip(layer.parameters(), before, (0.01, 0.02), (1.0, 0.5), strict=True):
        assert p.grad is not None
        z = torch.randn(p.shape, generator=stream)
        assert error(p.detach(), old - lr / 2 * p.grad + math.sqrt(lr * temperature) * z) < 1e-6


def test_a_chain_that_goes_on_from_its_state_is_the_same_to_the_last_bit() -> None:
    whole = chain(*small(), range(12))
    layer, optimizer, schedule = small()
    chain(layer, optimizer, schedule, range(5))
    saved = copy.deepcopy([layer.state_dict(), optimizer.state_dict(), schedule.state_dict()])
    chain(layer, optimizer, schedule, range(2))  # what comes after must not reach what was saved
    again = small(seed=99)
    for part, state in zip(again, saved, strict=True):
        part.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(chain(*again, range(5, 12)), whole[5:], strict=True))
    saved_again = again[1].state_dict()
    assert saved_again["state"].keys() == {"noise"} and isinstance(saved_again["state"]["noise"], Tensor)


def test_copies_and_pickles_of_it_go_on_alike() -> None:
    parts = small()
    chain(*parts, range(3))
    copied, pickled = copy.deepcopy(parts[:2]), pickle.loads(pickle.dumps(parts[:2]))
    wanted = chain(*parts, range(3, 6))
    for layer, optimizer in (copied, pickled):
        assert isinstance(layer, nn.Linear) and isinstance(optimizer, SGLD)
        fresh = LambdaLR(optimizer, lambda t: (1 + (t + 3) / 10) ** -0.55)
        assert torch.allclose(chain(layer, optimizer, fresh, range(3, 6))[-1], wanted[-1], atol=1e-6)


def test_seeds_decide_the_chain() -> None:
    one, same, other = (chain(*small(seed), range(3))[-1] for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_each_step_and_each_parameter_has_noise_of_its_own_and_the_global_stream_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    θ = [nn.Parameter(torch.zeros(1000)) for _ in range(2)]
    optimizer, drawn = SGLD(θ, lr=1.0), []
    for _ in range(2):
        for p in θ:
            p.data.zero_()
            p.grad = torch.zeros_like(p)
        optimizer.step()
        drawn += [p.detach().clone() for p in θ]
    together = torch.stack(drawn)
    assert (torch.corrcoef(together) - torch.eye(4)).abs().max().item() < 4.5 / math.sqrt(1000)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_closure_finds_the_gradients_and_its_loss_is_given_back() -> None:
    θ = nn.Parameter(torch.ones(2))
    optimizer = SGLD([θ], lr=0.1, temperature=0.0)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (θ**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert θ.tolist() == pytest.approx([0.9, 0.9])
    assert optimizer.step() is None


def test_weights_without_a_gradient_stay_where_they_are() -> None:
    moved, still = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    moved.grad = torch.zeros(2)
    SGLD([moved, still], lr=0.1).step()
    assert moved.abs().min().item() > 0 and torch.equal(still.detach(), torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_keep_their_type_and_get_the_same_noise(dtype: torch.dtype) -> None:
    θ = nn.Parameter(torch.zeros(5, dtype=dtype))
    θ.grad = torch.zeros_like(θ)
    SGLD([θ], lr=1.0, seed=3).step()
    assert θ.dtype == dtype
    assert torch.equal(θ.detach(), torch.randn(5, generator=torch.Generator().manual_seed(3)).to(dtype))


@pytest.mark.parametrize("make", [lambda o: CosineAnnealingLR(o, 3), lambda o: LinearLR(o, 1.0, 0.0, 3)])
def test_a_rate_may_fall_to_nothing(make: type[LinearLR]) -> None:
    θ = nn.Parameter(torch.zeros(2))
    optimizer = SGLD([θ], lr=0.1)
    schedule = make(optimizer)
    for _ in range(3):
        θ.grad = torch.ones(2)
        optimizer.step()
        schedule.step()
    before = θ.detach().clone()
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12) and error(θ.detach(), before) < 1e-6


# What is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1e-3}, "the lr of SGLD must be 0 or more and finite, not -0.001"),
        ({"lr": math.nan}, "the lr of SGLD must be 0 or more and finite, not nan"),
        ({"lr": math.inf}, "the lr of SGLD must be 0 or more and finite, not inf"),
        ({"lr": 0.1, "temperature": -1.0}, "the temperature of SGLD must be 0 or more and finite, not -1.0"),
        ({"lr": 0.1, "temperature": math.inf}, "the temperature of SGLD must be 0 or more and finite, not inf"),
    ],
    ids=str,
)
def test_a_rate_or_temperature_that_cannot_be_is_an_input_error(settings: dict[str, Any], message: str) -> None:
    θ = nn.Parameter(torch.zeros(2))
    with pytest.raises(InputError, match=message):
        SGLD([θ], **settings)
    optimizer = SGLD([nn.Parameter(torch.zeros(2))], lr=0.1)
    with pytest.raises(InputError, match=message):
        optimizer.add_param_group({"params": [θ], **settings})
    assert len(optimizer.param_groups) == 1
    optimizer.param_groups[0].update(settings)
    with pytest.raises(InputError, match=message):
        optimizer.step()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_is_named_and_changes_nothing(value: float) -> None:
    good, bad = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 4))
    optimizer = SGLD([{"params": [good]}, {"params": [nn.Parameter(torch.zeros(1)), bad]}], lr=0.1)
    good.grad, bad.grad = torch.ones(3), torch.ones(2, 4)
    bad.grad[1, 2] = value
    before = optimizer.state_dict()["state"]["noise"].clone()
    with pytest.raises(NonFiniteError, match=r"gradient of parameter 1 of group 1, \[2, 4\], is not finite; no weight"):
        optimizer.step()
    assert not good.detach().any() and not bad.detach().any()
    assert torch.equal(optimizer.state_dict()["state"]["noise"], before)
