"""Where each spacing spends ten steps, and how near to the exact end three solvers then come."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from figures.plane import Stream, ring, start
from figures.style import GREY, HAIR, INDIGO, INK, LAKE, UMBER, bare, page
from sfumato.core.grid import (
    AYSSpacing,
    KarrasSpacing,
    LeadingSpacing,
    LogSNRSpacing,
    QuadraticSpacing,
    Spacing,
    TrailingSpacing,
    UniformSpacing,
    levels,
)
from sfumato.core.schedule import Linear, ScaledLinear, Schedule
from sfumato.sample import DPMSolver, Euler, Sampler, sample

SPACINGS: dict[str, tuple[Spacing, Schedule]] = {
    "Uniform()": (UniformSpacing(), Linear()),
    "TrailingSpacing()": (TrailingSpacing(), Linear()),
    "LeadingSpacing()": (LeadingSpacing(), Linear()),
    "QuadraticSpacing()": (QuadraticSpacing(), Linear()),
    "KarrasSpacing()": (KarrasSpacing(), Linear()),
    "LogSNRSpacing()": (LogSNRSpacing(), Linear()),
    'AYSSpacing("sd15")': (AYSSpacing("sd15"), ScaledLinear()),
}
SOLVERS: dict[str, tuple[Sampler[Any], str]] = {
    "Euler": (Euler(), UMBER),
    "2M": (DPMSolver(2), INDIGO),
    "3M": (DPMSolver(3), LAKE),
}
NOISE, DATA, N = -10.8, 10.2, 200


def end(schedule: Schedule, solver: Sampler[Any], spacing: Spacing, steps: int) -> Tensor:
    """Where N samples end, [N, 2]."""
    grid = levels(schedule, spacing, steps)
    *_, last = sample(ring(schedule), solver, start(N), grid, noise=Stream(1))
    return last


def draw(path: Path) -> None:
    exact = {schedule: end(schedule, DPMSolver(3), LogSNRSpacing(), 200) for _, schedule in SPACINGS.values()}
    with page(path, 8.4, 3.0) as figure:
        axes = bare(figure.add_axes((0.135, 0.06, 0.62, 0.88)))
        for row, (name, (spacing, schedule)) in enumerate(SPACINGS.items()):
            λ = torch.cat([level.logsnr for level in levels(schedule, spacing, 10)[:-1]])
            axes.plot([NOISE, DATA], [-row, -row], color=HAIR, lw=0.8, zorder=0)
            axes.plot(λ, torch.full_like(λ, -row), "o", color=INK, ms=5.5, mew=0)
            axes.text(
                NOISE - 0.4, -row, name, color=INK, ha="right", va="center", family="DejaVu Sans Mono", fontsize=8
            )
            for column, (solver, colour) in enumerate(SOLVERS.values()):
                error = (end(schedule, solver, spacing, 10) - exact[schedule]).square().sum(1).mean().sqrt()
                axes.text(12.4 + 2.2 * column, -row, f"{error:.2f}", color=colour, ha="center", va="center")
        for column, (name, (_, colour)) in enumerate(SOLVERS.items()):
            axes.text(12.4 + 2.2 * column, 0.95, name, color=colour, ha="center", va="center", weight="bold")
        for λ in (-10, -5, 0, 5, 10):
            axes.text(λ, 0.95, rf"$\lambda = {λ}$" if λ == 0 else f"${λ}$", color=GREY, ha="center", va="center")
        axes.set(xlim=(NOISE, DATA), ylim=(-len(SPACINGS) + 0.5, 1.3))
