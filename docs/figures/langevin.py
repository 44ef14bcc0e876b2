"""Two modes by Langevin dynamics, plain, annealed and as a corrector; and the weights of a line by SGLD."""

import math
from pathlib import Path
from typing import Any

import torch
from matplotlib.patches import Ellipse
from torch import Tensor

from figures.plane import Stream, clean, density, start
from figures.style import GREY, HAZE, INDIGO, INK, LAKE, OLIVE, UMBER, bare, page
from sfumato.core.grid import UniformSpacing, levels
from sfumato.core.level import Level
from sfumato.core.schedule import VE
from sfumato.oracle import MixtureDenoiser
from sfumato.sample import SGLD, AnnealedLangevin, Langevin, PredictorCorrector, Sampler, sample

N, TOP = 500, 2.3
MEANS = torch.tensor([[0.95, 0.7], [-0.95, -0.7]], dtype=torch.float64)
DATA = MixtureDenoiser(
    VE(sigma_min=0.05, sigma_max=5.0),
    torch.tensor([0.8, 0.2], dtype=torch.float64),
    MEANS,
    torch.tensor([0.3, 0.3], dtype=torch.float64),
)
POINTS, NOISE = 100, 0.5


def drawn(sampler: Sampler[Any], grid: list[Level], spread: float) -> Tensor:
    """Where N samples end that start as noise of a deviation: [N, 2]."""
    *_, last = sample(DATA, sampler, spread * start(N), grid, noise=Stream(1))
    return last


def line() -> tuple[Tensor, Tensor]:
    """Points of a line with noise: features [n, 2], of which the first is 1, and what was measured, [n]."""
    stream = torch.Generator().manual_seed(3)
    x, noise = torch.randn(2, POINTS, generator=stream, dtype=torch.float64)
    return torch.stack([torch.ones(POINTS).double(), x + 0.8], 1), 0.5 * x + NOISE * noise


def posterior(A: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the weights, under the prior N(0, I), in closed form."""
    precision = torch.eye(2).double() + A.T @ A / NOISE**2
    return torch.linalg.solve(precision, A.T @ y / NOISE**2), precision.inverse()


def chain(A: Tensor, y: Tensor, begin: Tensor, steps: int = 4000) -> Tensor:
    """The weights after each step, ten points at a time: [steps, 2]."""
    θ = torch.nn.Parameter(begin.clone())
    optimizer, stream = SGLD([θ], lr=1e-4, temperature=1.0), torch.Generator().manual_seed(0)
    states = []
    for _ in range(steps):
        some = torch.randint(len(y), (10,), generator=stream)
        misfit = (y[some] - A[some] @ θ).square().sum() / (2 * NOISE**2)
        potential = θ.square().sum() / 2 + len(y) / 10 * misfit
        optimizer.zero_grad()
        potential.backward()
        optimizer.step()
        states.append(θ.detach().clone())
    return torch.stack(states)


def draw(path: Path) -> None:
    schedule = DATA.schedule
    one, many = schedule(torch.tensor([schedule.first])), levels(schedule, UniformSpacing(), 40)
    panels = {
        "Langevin": (drawn(Langevin(0.02), [one] * 200 + [clean(schedule)], 1.0), UMBER),
        "annealed": (drawn(AnnealedLangevin(steps=5), many, 5.0), LAKE),
        "predictor-corrector": (drawn(PredictorCorrector(), many, 5.0), INDIGO),
    }
    haze, extent = density(DATA, clean(schedule), TOP), (-TOP, TOP, -TOP, TOP)
    with page(path, 8.4, 2.55) as figure:
        for i, (name, (found, colour)) in enumerate(panels.items()):
            axes = bare(figure.add_axes((0.01 + 0.25 * i, 0.02, 0.24, 0.8)))
            axes.imshow(haze**0.7, extent=extent, origin="lower", cmap=HAZE, interpolation="bilinear", aspect="auto")
            axes.plot(*found.T, "o", color=colour, ms=1.7, mew=0, alpha=0.8)
            which = torch.cdist(found, MEANS).argmin(1)
            for k, (x, y) in enumerate(MEANS.tolist()):
                axes.text(x, y - 1.3, f"{(which == k).double().mean():.0%}", color=INK, ha="center")
            axes.set(xlim=(-TOP, TOP), ylim=(-TOP, TOP))
            figure.text(0.01 + 0.25 * i, 0.9, name, color=colour, weight="bold")
        axes = bare(figure.add_axes((0.77, 0.02, 0.22, 0.8)))
        A, y = line()
        mean, cov = posterior(A, y)
        states = chain(A, y, begin=mean + torch.tensor([-0.35, 0.3]).double())
        axes.plot(*states[:150].T, color=GREY, lw=0.7, alpha=0.7)
        axes.plot(*states[150::4].T, "o", color=OLIVE, ms=1.7, mew=0, alpha=0.7)
        spread, ways = torch.linalg.eigh(cov)
        angle = math.degrees(math.atan2(ways[1, 0].item(), ways[0, 0].item()))
        for radius in (1, 2):
            width, height = (2 * radius * spread.sqrt()).tolist()
            axes.add_patch(Ellipse(mean.tolist(), width, height, angle=angle, fill=False, color=INK, lw=1.0))
        figure.text(0.76, 0.9, "SGLD, of weights", color=OLIVE, weight="bold")
