"""A curve through noisy points, and how sure of it one may be: Bayesian regression by SGLD.

The noise of the points is known, so the posterior of the weights is Gaussian and known exactly. Stochastic gradient
Langevin dynamics find it from minibatches of eight points; the table sets both side by side, in a few seconds:

    .venv/bin/python examples/regression.py
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from sfumato.sample import SGLD

NOISE = 0.2
DEGREE = 4
BATCH, CHAINS, STEPS = 8, 32, 3000


class Points(NamedTuple):
    """Places in [−1, 1] and what was measured there, each [n]."""

    x: Tensor
    y: Tensor


class Posterior(NamedTuple):
    """The distribution of the weights given the points: mean [d], covariance [d, d]."""

    mean: Tensor
    cov: Tensor


class Chains(NamedTuple):
    """The weights of all chains after each step, [steps, chains, d], and the step sizes, [steps]."""

    weights: Tensor
    sizes: Tensor


def measure(n: int = 40) -> Points:
    """A wave, measured at n places with noise; nothing is known of it between 0.1 and 0.6."""
    stream = torch.Generator().manual_seed(1)
    x = torch.linspace(-1, 0.5, n, dtype=torch.float64)
    x = torch.where(x > 0.1, x + 0.5, x)
    return Points(x, torch.sin(4 * x) + NOISE * torch.randn(n, generator=stream, dtype=torch.float64))


def features(x: Tensor) -> Tensor:
    """Legendre's polynomials of degree 0 to `DEGREE`, each of mean square 1 on [−1, 1]: [n, d]."""
    columns = [torch.ones_like(x), x]
    for k in range(1, DEGREE):
        columns.append(((2 * k + 1) * x * columns[k] - k * columns[k - 1]) / (k + 1))
    return torch.stack([(2 * k + 1) ** 0.5 * column for k, column in enumerate(columns)], dim=1)


def exact(points: Points) -> Posterior:
    """The posterior under the prior N(0, I), in closed form."""
    A = features(points.x)
    precision = torch.eye(A.shape[1]) + A.T @ A / NOISE**2
    return Posterior(torch.linalg.solve(precision, A.T @ points.y / NOISE**2), precision.inverse())


def sampled(points: Points, lr: float = 2e-4, b: float = 30, γ: float = 0.55) -> Chains:
    """The posterior by SGLD, on minibatches; the steps fall as `lr·(1 + t/b)^(−γ)`. Chains start at 0, side by side."""
    A, n = features(points.x), len(points.x)
    θ = nn.Parameter(torch.zeros(CHAINS, A.shape[1], dtype=torch.float64))
    optimizer, stream = SGLD([θ], lr), torch.Generator().manual_seed(2)
    schedule = LambdaLR(optimizer, lambda t: (1 + t / b) ** -γ)
    states, sizes = [], []
    for _ in range(STEPS):
        which = torch.randint(n, (CHAINS, BATCH), generator=stream)  # each chain its own minibatch
        misfit = points.y[which] - (A[which] * θ[:, None]).sum(2)
        potential = (θ**2).sum() / 2 + n / BATCH * (misfit**2).sum() / (2 * NOISE**2)
        optimizer.zero_grad()
        potential.backward()
        sizes.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        states.append(θ.detach().clone())
    return Chains(torch.stack(states), torch.tensor(sizes, dtype=torch.float64))


def moments(chains: Chains, skip: int = STEPS // 10) -> Posterior:
    """Mean and covariance over the chains, each state counted for the size of its step; the way in is left out."""
    weights, sizes = chains.weights[skip:], chains.sizes[skip:, None, None]
    total = sizes.sum() * weights.shape[1]
    mean = (sizes * weights).sum((0, 1)) / total
    off = weights - mean
    return Posterior(mean, torch.einsum("tci,tcj->ij", sizes * off, off) / total)


def main() -> None:
    points = measure()
    truth, found = exact(points), moments(sampled(points))
    print(f"{len(points.x)} points, {CHAINS} chains, {STEPS} steps of {BATCH} points each\n")
    print("weight   posterior         SGLD")
    rows = zip(truth.mean, truth.cov.diagonal().sqrt(), found.mean, found.cov.diagonal().sqrt(), strict=True)
    for k, (mean, std, its_mean, its_std) in enumerate(rows):
        print(f"{k:<6}{mean:>8.3f} ± {std:.3f}{its_mean:>9.3f} ± {its_std:.3f}")
    spread = truth.cov.diagonal().sqrt()
    off = ((found.cov - truth.cov) / (spread[:, None] * spread)).abs().max()
    print(f"\nlargest error of a mean: {((found.mean - truth.mean) / spread).abs().max():.3f} of its deviation")
    print(f"largest error of a covariance: {off:.3f} of its two deviations")


if __name__ == "__main__":
    main()
