"""What each parameterization makes of the network's output, over lambda."""

from pathlib import Path

import torch
from torch import Tensor

from figures.style import GREY, HAIR, INDIGO, INK, LAKE, MADDER, OCHRE, OLIVE, UMBER, page
from sfumato.core.level import Level
from sfumato.core.parameterization import (
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    Parameterization,
    ScorePrediction,
    VPrediction,
    X0Prediction,
)
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.core.schedule.protocol import preserving

STD = 0.5
"""The standard deviation of the data, for the size of what is predicted."""
λ = torch.linspace(-10, 10, 401, dtype=torch.float64)
PRESERVING = preserving(λ, λ)
STRAIGHT = FlowSchedule()(FlowSchedule(first=1e-6).inverse(λ))
SHOWN: dict[str, tuple[Parameterization, Level, str, float, object]] = {
    "eps": (EpsPrediction(), PRESERVING, UMBER, 3.6, "-"),
    "x0": (X0Prediction(), PRESERVING, LAKE, 1.8, "-"),
    "v": (VPrediction(), PRESERVING, OCHRE, 1.8, "-"),
    "flow": (FlowPrediction(), STRAIGHT, MADDER, 1.8, "-"),
    "score": (ScorePrediction(over_sigma=False), PRESERVING, INDIGO, 1.8, "-"),
    "karras": (EDMPreconditioning(STD), PRESERVING, OLIVE, 1.8, (0, (3, 1.6))),
}


def error_of_x0(one: Parameterization, level: Level) -> Tensor:
    """How far x_0 is off where the network is off by 1."""
    return one(level).out.abs()


def size_of_target(one: Parameterization, level: Level) -> Tensor:
    """The standard deviation of the right F, `(x_0 − skip·x_t)/out`, for data of deviation `STD`."""
    skip, out, _, _ = one(level)
    of_data, of_noise = (1 - skip * level.alpha) * STD, skip * level.sigma
    return (of_data**2 + of_noise**2).sqrt() / out.abs()


def draw(path: Path) -> None:
    with page(path, 8.4, 5.5) as figure:
        panels = [figure.add_axes((left, bottom, 0.335, 0.36)) for bottom in (0.575, 0.095) for left in (0.075, 0.505)]
        skips, errors, noises, sizes = panels
        for name, (one, level, colour, width, line) in SHOWN.items():
            error = error_of_x0(one, level)
            curves = (
                one(level).skip * level.alpha,
                error,
                error * level.alpha / level.sigma,
                size_of_target(one, level),
            )
            for axes, curve in zip(panels, curves, strict=True):
                axes.plot(λ, curve, color=colour, ls=line, lw=width, label=name)
        titles = (
            r"skip $\cdot\;\alpha$: the signal let through",
            "an error of 1 in $F$, as error of $x_0$",
            r"the same, as error of $\varepsilon$",
            f"the size of $F$, for data of deviation {STD}",
        )
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title, color=INK, fontsize=9.5, loc="left", pad=8)
            axes.axvline(0, color=HAIR, lw=0.8, zorder=0)
            axes.set(xlim=(-10, 10), xticks=[-10, 0, 10])
        skips.set(ylim=(-0.05, 1.1), yticks=[0, 0.5, 1])
        for axes in (errors, noises):
            axes.set(yscale="log", ylim=(1e-3, 1e3))
        sizes.set(yscale="log", ylim=(0.1, 1e2))
        for axes in panels[1:]:
            axes.minorticks_off()
        for axes in panels[2:]:
            axes.set_xlabel(r"$\lambda$", color=GREY)
        skips.legend(frameon=False, loc="upper left", bbox_to_anchor=(2.31, 1.06), labelspacing=0.9, handlelength=1.6)
