"""What the bound of a chain is made of, and how far it is from the truth, for data whose distribution is known."""

import math
from pathlib import Path

import torch
from torch import Tensor

from figures.plane import Stream, ring
from figures.style import GREY, HAIR, INK, LAKE, MADDER, OCHRE, UMBER, page
from sfumato.core.estimate import Variance
from sfumato.core.grid import LogSNRSpacing, Spacing, UniformSpacing, levels
from sfumato.core.schedule import VP
from sfumato.likelihood import VLBBits, bits_by_ode, bits_by_vlb
from sfumato.oracle import MixtureDenoiser

STEPS = (5, 10, 20, 50, 100, 200)
BOUNDS: dict[str, tuple[Variance, Spacing, str, object]] = {
    "small, uniform": ("small", UniformSpacing(), UMBER, "-"),
    "small, even in λ": ("small", LogSNRSpacing(), UMBER, (0, (3, 1.6))),
    "large, uniform": ("large", UniformSpacing(), LAKE, "-"),
    "large, even in λ": ("large", LogSNRSpacing(), LAKE, (0, (3, 1.6))),
}


def drawn(data: MixtureDenoiser, n: int) -> tuple[Tensor, Tensor]:
    """n samples of the data, [n, 2], and their exact `−log₂ p` a dimension, [n]."""
    stream = torch.Generator().manual_seed(0)
    which = torch.multinomial(data.weights, n, replacement=True, generator=stream)
    x_0 = data.means[which] + data.stds[which, None] * torch.randn(n, 2, generator=stream, dtype=torch.float64)
    gap = ((x_0[:, None] - data.means) ** 2).sum(2)
    log_p = torch.logsumexp(data.weights.log() - gap / (2 * data.stds**2) - torch.log(2 * torch.pi * data.stds**2), 1)
    return x_0, -log_p / 2 / math.log(2)


def bound(data: MixtureDenoiser, x_0: Tensor, variance: Variance, spacing: Spacing, steps: int) -> VLBBits:
    grid = levels(data.schedule, spacing, steps)
    return bits_by_vlb(data, x_0, grid, Stream(1), variance, data="continuous")


def spent(std: float, steps: int = 120) -> tuple[Tensor, Tensor]:
    """λ, and the bits per dimension that the terms of the bound spend for each unit of it."""
    data = ring(VP(), std=std)
    terms = bound(data, drawn(data, 1500)[0], "large", LogSNRSpacing(), steps).steps.mean(1)
    λ = torch.cat([level.logsnr for level in levels(data.schedule, LogSNRSpacing(), steps)[:-1]])
    return (λ[1:] + λ[:-1]) / 2, terms / λ.diff()


def draw(path: Path) -> None:
    with page(path, 8.4, 3.5) as figure:
        terms = figure.add_axes((0.075, 0.14, 0.37, 0.74))
        terms.axhline(1 / (2 * math.log(2)), color=HAIR, lw=0.8, zorder=0)
        for std, colour in ((0.16, OCHRE), (0.02, MADDER)):
            λ, rate = spent(std)
            terms.plot(λ, rate, color=colour, lw=1.6, label=f"bumps of deviation {std}")
        λ = torch.linspace(-10, 9, 200, dtype=torch.float64)
        terms.plot(
            λ, λ.sigmoid() / (2 * math.log(2)), color=GREY, lw=1.2, ls=(0, (1, 1.4)), label=r"$\mathcal{N}(0, I)$"
        )
        terms.set(xlim=(-10, 9), ylim=(0, 0.95), xticks=[-10, -5, 0, 5], yticks=[0, 0.5])
        terms.set_xlabel(r"$\lambda$", color=GREY)
        terms.set_title(r"bits spent, for each unit of $\lambda$", color=INK, fontsize=9.5, loc="left")
        terms.legend(frameon=False, loc="upper left", fontsize=8)

        gaps = figure.add_axes((0.545, 0.14, 0.265, 0.74))
        data = ring(VP())
        x_0, exact = drawn(data, 1500)
        for name, (variance, spacing, colour, line) in BOUNDS.items():
            gap = [(bound(data, x_0, variance, spacing, steps).total - exact).mean() for steps in STEPS]
            gaps.plot(STEPS, gap, color=colour, ls=line, lw=1.8, marker="o", ms=3.2, label=name)
        ode = bits_by_ode(data, x_0[:400], Stream(1), data="continuous")
        asked, gap = ode.evaluations.double().mean(), (ode.total - exact[:400]).mean().abs()
        gaps.plot([asked], [gap], "D", color=INK, ms=5, label="the ODE")
        gaps.set(xscale="log", yscale="log", ylim=(3e-5, 1e4), xticks=STEPS)
        gaps.set_xticklabels(map(str, STEPS))
        gaps.minorticks_off()
        gaps.grid(color=HAIR, lw=0.5)
        gaps.set_xlabel("evaluations of the network", color=GREY)
        gaps.set_title("bits above the truth", color=INK, fontsize=9.5, loc="left")
        gaps.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1.03), fontsize=8, handlelength=2.2)
