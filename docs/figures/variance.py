"""Where the variance of the step back lies between its bounds, for data whose distribution is known."""

from pathlib import Path

import torch
from torch import Tensor

from figures.style import GREY, HAIR, INK, LAKE, MADDER, OCHRE, OLIVE, UMBER, page
from sfumato.core.gaussian import posterior_variance, step_variance
from sfumato.core.schedule import Linear

STDS = {0.05: LAKE, 0.2: OLIVE, 0.5: OCHRE, 1.0: UMBER, 1.5: MADDER}


def between(std: float, stride: int) -> tuple[Tensor, Tensor]:
    """λ of each t, and f of the true variance of x_s given x_t, s a `stride` before t, where x_0 ~ N(0, std²)."""
    t = torch.arange(stride, 1000)
    s, t = Linear()(t - stride), Linear()(t)
    low, high = posterior_variance(s, t), step_variance(s, t)
    true = 1 / ((t.alpha / s.alpha) ** 2 / high + 1 / (s.alpha**2 * std**2 + s.sigma**2))
    return t.logsnr, (true / low).log() / (high / low).log()


def draw(path: Path) -> None:
    with page(path, 8.4, 3.0) as figure:
        for left, stride, name in ((0.075, 1, "1000 steps"), (0.53, 50, "20 steps")):
            axes = figure.add_axes((left, 0.17, 0.365, 0.69))
            axes.axhspan(0, 1, color=HAIR, alpha=0.35, lw=0)
            for std, colour in STDS.items():
                λ, f = between(std, stride)
                axes.plot(λ, f, color=colour, lw=1.8, label=f"{std:g}")
            axes.set(xlim=(-10, 10), ylim=(-0.08, 1.35), xticks=[-10, -5, 0, 5, 10], yticks=[0, 1])
            axes.set_yticklabels([r"$\tilde\beta$", r"$\beta$"], fontsize=11, color=INK)
            axes.set_xlabel(r"$\lambda$ of $t$", color=GREY)
            axes.set_title(name, color=INK, fontsize=9.5, loc="left")
        legend = axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.02), handlelength=1.4)
        legend.set_title("deviation\nof the data")
