"""Noise going back to data that is known exactly: three bumps on a line, and two samplers."""

from pathlib import Path

import torch
from torch import Tensor

from figures.style import GREY, HAZE, INK, LAKE, UMBER, bare, page
from sfumato.core.grid import UniformSpacing, levels
from sfumato.core.noise import Noise
from sfumato.core.schedule import Cosine
from sfumato.oracle import MixtureDenoiser
from sfumato.sample import DDIM, Ancestral, Sampler, sample

WEIGHTS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[-1.5], [0.2], [1.6]], dtype=torch.float64)
STDS = torch.tensor([0.12, 0.2, 0.1], dtype=torch.float64)


def trajectory(sampler: Sampler, steps: int, n: int) -> Tensor:
    """Where n samples are after each step, from noise to data: [steps + 1, n]."""
    denoiser = MixtureDenoiser(Cosine(), WEIGHTS, MEANS, STDS)
    grid = levels(denoiser.schedule, UniformSpacing(), steps)
    noise = Noise(range(n))
    x = noise(1).double()
    return torch.stack([x, *sample(denoiser, sampler, x, grid, noise=noise)])[..., 0]


def density(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The distribution of x_t where x_0 is the mixture: [len(alpha), len(x)]."""
    mean, var = alpha[:, None] * MEANS[:, 0], (alpha[:, None] * STDS) ** 2 + sigma[:, None] ** 2
    each = torch.distributions.Normal(mean[..., None], var.sqrt()[..., None]).log_prob(x).exp()
    return (WEIGHTS[:, None] * each).sum(1)


def draw(path: Path) -> None:
    steps, n, shown, top = 250, 1000, slice(180, 204), 3.2
    x = torch.linspace(-top, top, 640, dtype=torch.float64)
    grid = levels(Cosine(), UniformSpacing(), steps)
    alpha, sigma = (torch.cat([getattr(level, name) for level in grid]) for name in ("alpha", "sigma"))
    haze = density(x, alpha, sigma)
    truth = haze[-1].clone()
    truth[truth < 1e-3] = torch.nan
    with page(path, 8.4, 5.4) as figure:
        rows = {"Ancestral()": (Ancestral(), UMBER), "DDIM()": (DDIM(), LAKE)}
        for row, (name, (sampler, colour)) in enumerate(rows.items()):
            paths, bottom = trajectory(sampler, steps, n), 0.54 - row * 0.465
            main = bare(figure.add_axes((0.03, bottom, 0.81, 0.395)))
            side = bare(figure.add_axes((0.85, bottom, 0.12, 0.395)))
            main.imshow(
                (haze / haze.amax(1, keepdim=True)).T ** 0.8,
                extent=(0, steps, -top, top),
                origin="lower",
                aspect="auto",
                cmap=HAZE,
                interpolation="bilinear",
            )
            main.plot(paths[:, shown], color=colour, lw=0.8, alpha=0.7)
            main.plot(
                torch.full_like(paths[-1, shown], steps), paths[-1, shown], "o", color=colour, ms=3, clip_on=False
            )
            main.set(xlim=(0, steps), ylim=(-top, top))
            figure.text(0.03, bottom + 0.405, name, color=colour, weight="bold", family="DejaVu Sans Mono")
            side.hist(paths[-1], 80, range=(-top, top), density=True, orientation="horizontal", color=colour, alpha=0.4)
            side.plot(truth, x, color=INK, lw=1.1)
            side.set(ylim=(-top, top), xlim=(0, 1.3 * haze[-1].max()))
        figure.text(0.03, 0.025, "noise", color=GREY)
        figure.text(0.84, 0.025, "data", color=GREY, ha="right")
        figure.text(0.97, 0.025, f"{n:,} endings", color=GREY, ha="right")
