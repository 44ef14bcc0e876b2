"""What a training asks for: the distribution of lambda that its times have, its weight there, and their product."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from figures.style import GREY, HAIR, INDIGO, INK, LAKE, MADDER, OCHRE, OLIVE, UMBER, page
from sfumato.core import schedule
from sfumato.core.level import Level
from sfumato.core.schedule import Schedule
from sfumato.loss import (
    EDMWeight,
    LogitNormalTimes,
    LogNormalTimes,
    MinSNRWeight,
    Times,
    UniformTimes,
    UnitWeight,
    Weight,
)

DASHED = (0, (3, 2))


@dataclass(frozen=True)
class Objective:
    """Three settings of a recipe, and how they are drawn."""

    schedule: Schedule
    times: Times
    weight: Weight
    colour: str
    line: object = "-"


OBJECTIVES = {
    "DDPM": Objective(schedule.Linear(), UniformTimes(), UnitWeight("eps"), UMBER),
    "improved DDPM": Objective(schedule.Cosine(), UniformTimes(), UnitWeight("eps"), LAKE),
    "the same, min-SNR": Objective(schedule.Cosine(), UniformTimes(), MinSNRWeight(), INDIGO),
    "cosine, on v": Objective(schedule.Cosine(), UniformTimes(), UnitWeight("v"), INK),
    "rectified flow": Objective(schedule.Flow(), UniformTimes(), UnitWeight("flow"), MADDER, DASHED),
    "flow, logit-normal times": Objective(schedule.Flow(), LogitNormalTimes(), UnitWeight("flow"), OCHRE),
    "EDM": Objective(schedule.EDM(), LogNormalTimes(), EDMWeight(), OLIVE),
}


def distribution(one: Objective) -> tuple[Level, Tensor]:
    """Levels at even quantiles of the times, and the density of λ there, `p(λ) = |du/dλ|`: both [n]."""
    n = one.schedule.T or 20_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    level = one.schedule(one.times(one.schedule, u))
    p = torch.gradient(u, spacing=(level.logsnr,))[0].abs()
    return Level(*(value[1:-1] for value in level)), p[1:-1]  # at the ends there is a neighbour on one side only


def on_eps(one: Objective, level: Level) -> Tensor:
    """The weight of the squared error of eps: that of x_0, divided by SNR."""
    return one.weight(level) * torch.exp(-level.logsnr)


def draw(path: Path) -> None:
    with page(path, 8.4, 6.0) as figure:
        rows = [figure.add_axes((0.085, bottom, 0.655, 0.27)) for bottom in (0.69, 0.385, 0.08)]
        for name, one in OBJECTIVES.items():
            level, p = distribution(one)
            w = on_eps(one, level)
            here = torch.argmin(level.logsnr.abs())
            for axes, curve in zip(rows, (p, w, p * w / (p * w)[here]), strict=True):
                axes.plot(level.logsnr, curve, color=one.colour, ls=one.line, lw=1.8, label=name)
        rows[2].axhline(1, color=GREY, lw=1.2, ls=(0, (1, 1.5)), zorder=0, label="the bound")
        for axes in rows:
            axes.axvline(0, color=HAIR, lw=0.8, zorder=0)
            axes.set(xlim=(-10, 10), xticks=[-10, -5, 0, 5, 10])
            axes.tick_params(labelbottom=axes is rows[2])
        rows[0].set(ylim=(0, 0.31), yticks=[0, 0.1, 0.2, 0.3])
        rows[1].set(yscale="log", ylim=(0.02, 200))
        rows[2].set(yscale="log", ylim=(0.005, 60))
        for axes in rows:
            axes.minorticks_off()
        rows[2].set_xlabel(r"$\lambda$:  noise to the left, data to the right", color=GREY)
        titles = ("how often, $p(\\lambda)$", "how much, on $\\varepsilon$", "together, $w(\\lambda)$")
        for axes, title in zip(rows, titles, strict=True):
            axes.text(0.985, 0.94, title, transform=axes.transAxes, color=INK, ha="right", va="top", fontsize=10)
        rows[2].legend(
            frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 3.27), handlelength=2.2, labelspacing=0.9
        )
