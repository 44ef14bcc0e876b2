"""Eight evaluations from noise to data, by four solvers, over the exact paths."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from figures.plane import Stream, clean, density, ring, start
from figures.style import GREY, HAZE, INDIGO, INK, LAKE, MADDER, UMBER, bare, page
from sfumato.core.grid import QuadraticSpacing, levels
from sfumato.core.schedule import Cosine
from sfumato.sample import DPMSolver, Euler, Heun, Sampler, UniPC, sample

DATA = ring(Cosine(), k=5, radius=1.45, std=0.24)
SOLVERS: dict[str, tuple[Sampler[Any], int, str]] = {
    "Euler()": (Euler(), 8, UMBER),
    'Heun(along="flow")': (Heun(along="flow"), 4, MADDER),
    "DPMSolver(2)": (DPMSolver(2), 8, INDIGO),
    "UniPC(2)": (UniPC(2), 8, LAKE),
}
EXACT, SHOWN, TOP = (UniPC(3), 150), 12, 2.15


def trajectory(solver: Sampler[Any], steps: int, x: Tensor) -> Tensor:
    """Where the samples x, [n, 2], are after each step, from noise to data: [steps + 1, n, 2]."""
    grid = levels(DATA.schedule, QuadraticSpacing(), steps)
    return torch.stack([x, *sample(DATA, solver, x, grid, noise=Stream(1))])


def around(n: int) -> Tensor:
    """Starts on two circles, [2·n, 2]."""
    angle = (torch.arange(2 * n, dtype=torch.float64) + 0.37) * 2 * torch.pi / n
    radius = torch.tensor([0.75, 1.75]).double().repeat_interleave(n)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def draw(path: Path) -> None:
    x = torch.cat([around(SHOWN), start(200)])
    shown = slice(2 * SHOWN)
    exact = trajectory(*EXACT, x)
    haze = density(DATA, clean(DATA.schedule), TOP)
    with page(path, 8.4, 8.7) as figure:
        for i, (name, (solver, steps, colour)) in enumerate(SOLVERS.items()):
            axes = bare(figure.add_axes((0.02 + 0.49 * (i % 2), 0.51 - 0.5 * (i // 2), 0.47, 0.455)))
            axes.imshow(haze**0.7, extent=(-TOP, TOP, -TOP, TOP), origin="lower", cmap=HAZE, interpolation="bilinear")
            found = trajectory(solver, steps, x)
            axes.plot(*exact[:, shown].unbind(2), color=INK, lw=0.7, alpha=0.55)
            axes.plot(*found[:, shown].unbind(2), color=colour, lw=1.1, marker="o", ms=2.6, mew=0)
            error = (found[-1] - exact[-1])[2 * SHOWN :].square().sum(1).mean().sqrt()
            axes.set(xlim=(-TOP, TOP), ylim=(-TOP, TOP))
            axes.text(-TOP, TOP, name, color=colour, weight="bold", family="DejaVu Sans Mono", va="bottom")
            axes.text(TOP, TOP, f"off by {error:.2f}", color=GREY, ha="right", va="bottom")
