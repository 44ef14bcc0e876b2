"""A digit on its way into noise under two schedules, above the curves that say how."""

from pathlib import Path

import torch

from figures.style import GREY, HAIR, INK, LAKE, SHADES, UMBER, bare, page
from sfumato.core.gaussian import marginal
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Cosine, Linear
from sfumato.data import open_source, prepare

SCHEDULES = {"linear": (Linear(), UMBER), "cosine": (Cosine(), LAKE)}
TIMES = torch.tensor([-1.0, *range(100, 1000, 100), 999.0])  # -1 is the clean data
DIGIT = 13


def noised(level: Level) -> torch.Tensor:
    """One digit at each of the levels, under the same noise: [b, 1, 8, 8]."""
    pixels = torch.from_numpy(prepare(open_source("digits")).stored[DIGIT])
    x_0 = (pixels / 127.5 - 1).expand(len(level.t), 1, 8, 8)
    eps = Noise([3])(1, 8, 8)
    return marginal(x_0, level).sample(eps)


def draw(path: Path) -> None:
    left, right, size, edge = 0.105, 0.985, 0.07, 0.04 * 999
    with page(path, 8.4, 5.6) as figure:
        height = size * 8.4 / 5.6
        for row, (name, (schedule, colour)) in enumerate(SCHEDULES.items()):
            bottom = 0.845 - row * (height + 0.022)
            figure.text(left - 0.025, bottom + height / 2, name, color=colour, ha="right", va="center", weight="bold")
            for t, picture in zip(TIMES.clamp(min=0).tolist(), noised(schedule(TIMES)), strict=True):
                middle = left + (right - left) * (t + edge) / (999 + 2 * edge)
                axes = bare(figure.add_axes((middle - size / 2, bottom, size, height)))
                axes.imshow(picture[0], cmap=SHADES, vmin=-1, vmax=1, interpolation="nearest")

        t = torch.arange(1000)
        curves = figure.add_axes((left, 0.335, right - left, 0.335))
        ratio = figure.add_axes((left, 0.085, right - left, 0.205), sharex=curves)
        for schedule, colour in SCHEDULES.values():
            level = schedule(t)
            curves.plot(t, level.alpha, color=colour, lw=1.8)
            curves.plot(t, level.sigma, color=colour, lw=1.8, ls=(0, (3, 1.6)))
            ratio.plot(t, level.logsnr, color=colour, lw=1.8)
        curves.text(150, 1.0, r"$\alpha$, what is left of the signal", color=INK, va="bottom")
        curves.text(150, 0.0, r"$\sigma$, the noise (dashed)", color=INK, va="bottom")
        ratio.text(600, 5.0, r"$\lambda = \log\,\alpha^2/\sigma^2$", color=INK, va="center")
        ratio.axhline(0, color=HAIR, lw=0.8, zorder=0)
        curves.set(ylim=(-0.02, 1.08), yticks=[0, 0.5, 1])
        curves.tick_params(labelbottom=False)
        ratio.set(ylim=(-14, 11), yticks=[-10, 0, 10], xlim=(-edge, 999 + edge))
        ratio.set_xticks([0, *range(200, 1000, 200), 999])
        ratio.set_xlabel("time $t$", color=GREY)
