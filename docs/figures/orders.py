"""The error of each solver against its evaluations, measured where the truth is known."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from figures.plane import Stream, ring, start
from figures.style import GREY, HAIR, INDIGO, INK, LAKE, MADDER, OCHRE, OLIVE, UMBER, page
from sfumato.core.grid import LogSNRSpacing, levels
from sfumato.core.level import Level, like
from sfumato.core.schedule import VP
from sfumato.sample import LMS, DPMSolver, Euler, Heun, Sampler, UniPC, sample
from sfumato.sample.dpm import History

EVALUATIONS = (8, 16, 32, 64, 128, 256)
N = 64


class Halved(DPMSolver):
    """3M as published code has it: half of the second derivative."""

    def _correction(self, h: Tensor, then: Level, past: History) -> Tensor:
        whole = super()._correction(h, then, past)
        if len(past) < 3:
            return whole
        (λ_0, a), (λ_1, b), (λ_2, c) = past
        slopes = (a - b) / like(λ_0 - λ_1, a) - (b - c) / like(λ_1 - λ_2, a)
        φ_3 = (torch.expm1(-h) / h + 1) / h - 0.5
        return whole + like(then.alpha * φ_3 * h**2 / (λ_0 - λ_2), a) * slopes


SOLVERS: dict[str, tuple[Sampler[Any], str, object]] = {
    "Euler()": (Euler(), UMBER, "-"),
    "Heun()": (Heun(), MADDER, "-"),
    "DPMSolver(2)": (DPMSolver(2), INDIGO, "-"),
    "3M as published": (Halved(3), GREY, (0, (3, 1.6))),
    "DPMSolver(3)": (DPMSolver(3), LAKE, "-"),
    "LMS(4)": (LMS(4), OLIVE, "-"),
    "UniPC(3)": (UniPC(3), OCHRE, "-"),
}


def end(solver: Sampler[Any], evaluations: int) -> Tensor:
    """Where N samples are at the last noisy level, [N, 2]. Heun evaluates twice a step."""
    denoiser = ring(VP())
    steps = evaluations // 2 if isinstance(solver, Heun) else evaluations
    *noisy, _ = levels(denoiser.schedule, LogSNRSpacing(), steps + 1)
    *_, last = sample(denoiser, solver, start(N), noisy, noise=Stream(1))
    return last


def errors(solver: Sampler[Any], exact: Tensor) -> Tensor:
    """The root mean square distance from the `exact` ends, one for each of EVALUATIONS."""
    gaps = torch.stack([end(solver, n) - exact for n in EVALUATIONS])
    return gaps.square().sum(2).mean(1).sqrt()


def draw(path: Path) -> None:
    exact = end(UniPC(3), 512)
    with page(path, 8.4, 4.6) as figure:
        axes = figure.add_axes((0.085, 0.12, 0.68, 0.83))
        places = {}
        for name, (solver, colour, line) in SOLVERS.items():
            error = errors(solver, exact)
            slope = torch.log2(error[-2] / error[-1]).item()
            axes.plot(EVALUATIONS, error, color=colour, ls=line, lw=1.8, marker="o", ms=3.4)
            places[name] = (error[-1].item(), f"{name}   {slope:.1f}", colour)
        y = float("inf")
        for last, label, colour in sorted(places.values(), reverse=True):
            y = min(last, y / 2.0)
            axes.text(290, y, label, color=colour, va="center", fontsize=8.5, family="DejaVu Sans Mono")
        axes.set(xscale="log", yscale="log", xlim=(7.3, 270), xticks=EVALUATIONS)
        axes.set_xticklabels(map(str, EVALUATIONS))
        axes.minorticks_off()
        axes.grid(color=HAIR, lw=0.5)
        axes.set_axisbelow(True)
        axes.set_xlabel("evaluations of the network", color=GREY)
        axes.set_ylabel("distance from the exact end", color=GREY)
        figure.text(0.785, 0.955, "solver, and order measured\nover the last doubling", color=INK, fontsize=8, va="top")
