"""Every schedule in the plane of alpha and sigma, and the way of lambda along each."""

from pathlib import Path

import torch

from figures.style import GREY, HAIR, INDIGO, INK, LAKE, MADDER, OCHRE, OLIVE, UMBER, page
from sfumato.core import schedule
from sfumato.core.level import Level
from sfumato.core.schedule import Schedule

DASHED, DOTTED = (0, (4, 1.8)), (0, (1, 1.2))
SCHEDULES: dict[str, tuple[Schedule, str, object]] = {
    "Linear": (schedule.Linear(), UMBER, "-"),
    "ZeroTerminal(Linear)": (schedule.ZeroTerminal(schedule.Linear()), UMBER, DASHED),
    "Cosine": (schedule.Cosine(), LAKE, "-"),
    "VP": (schedule.VP(), INK, DOTTED),
    "SubVP": (schedule.SubVP(), OCHRE, "-"),
    "Flow": (schedule.Flow(), MADDER, "-"),
    "Flow(shift=3)": (schedule.Flow(shift=3.0), MADDER, DASHED),
    "VE": (schedule.VE(), INDIGO, "-"),
    "EDM": (schedule.EDM(), OLIVE, "-"),
}
PLANE = ("Linear", "SubVP", "Flow", "VE")
RAYS = (8, 4, 2, 1, 0, -1, -2, -4)


def along(one: Schedule, n: int = 1000) -> tuple[torch.Tensor, Level]:
    """The share of the way from the first time to the last, [n], and the levels there."""
    share = torch.linspace(0, 1, n, dtype=torch.float64)
    return share, one(one.first + share * (one.last - one.first))


def draw(path: Path) -> None:
    with page(path, 8.4, 3.9) as figure:
        plane = figure.add_axes((0.062, 0.125, 0.43, 0.80))
        for ray in RAYS:
            sigma, alpha = torch.tensor(-ray).sigmoid().sqrt().item(), torch.tensor(ray).sigmoid().sqrt().item()
            reach, is_steep = min(1.5 / sigma, 1.17 / alpha), alpha > 0.78 * sigma
            plane.plot([0, reach * sigma], [0, reach * alpha], color=HAIR, lw=0.8, zorder=0)
            name = rf"$\lambda = {ray}$" if ray == 0 else f"${ray}$"
            place = {"ha": "center", "va": "bottom"} if is_steep else {"ha": "left", "va": "center"}
            plane.text(reach * sigma + 0.01, reach * alpha + 0.01, name, color=GREY, fontsize=7.5, **place)
        for name in PLANE:
            one, colour, _ = SCHEDULES[name]
            _, level = along(one, 20_000)
            seen = level.sigma < 1.5
            plane.plot(level.sigma[seen], level.alpha[seen], color=colour, lw=2)
        plane.plot([0], [1], "o", color=INK, ms=5, clip_on=False, zorder=3)
        plane.plot([1], [0], "o", color=INK, ms=5, clip_on=False, zorder=3)
        plane.annotate("data", (0, 1), (-6, 0), textcoords="offset points", color=INK, ha="right", va="center")
        plane.annotate("noise", (1, 0), (4, 5), textcoords="offset points", color=INK)
        plane.text(1.49, 1.03, "VE, EDM  →", color=INDIGO, ha="right", va="bottom", weight="bold", fontsize=8)
        plane.text(0.80, 0.66, "Linear, Cosine,\nVP, ZeroTerminal", color=UMBER, weight="bold", fontsize=8)
        plane.text(0.652, 0.592, "SubVP", color=OCHRE, weight="bold", fontsize=8, ha="right", va="top")
        plane.text(0.47, 0.47, "Flow", color=MADDER, weight="bold", fontsize=8, ha="right", va="top")
        plane.set(xlim=(0, 1.5), ylim=(0, 1.2), xticks=[0, 0.5, 1], yticks=[0, 0.5], aspect="equal")
        plane.set_xlabel(r"$\sigma$, the noise", color=GREY)
        plane.set_ylabel(r"$\alpha$, the signal", color=GREY)

        way = figure.add_axes((0.595, 0.16, 0.385, 0.73))
        way.axhline(0, color=HAIR, lw=0.8, zorder=0)
        for name, (one, colour, line) in SCHEDULES.items():
            share, level = along(one)
            way.plot(share, level.logsnr, color=colour, ls=line, lw=1.8, label=name)
        way.set(xlim=(0, 1), ylim=(-15, 15), xticks=[0, 0.5, 1], yticks=[-10, 0, 10])
        way.set_xlabel("share of the way from first to last time", color=GREY)
        way.set_ylabel(r"$\lambda = \log\,\alpha^2/\sigma^2$", color=GREY)
        way.legend(frameon=False, fontsize=7.5, ncols=2, loc="upper right", handlelength=2.2, labelcolor=INK)
