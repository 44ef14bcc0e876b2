"""What guidance does to samples of one of two classes, where model and truth are both known."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from figures.plane import Stream, clean, density, start
from figures.style import GREY, HAZE, INDIGO, INK, LAKE, MADDER, UMBER, bare, page
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import LogSNRSpacing, levels
from sfumato.core.level import Level
from sfumato.core.schedule import VP, Schedule
from sfumato.denoise import DenoiserLike
from sfumato.guide import Autoguidance, ClassifierFree
from sfumato.oracle import MixtureDenoiser
from sfumato.sample import DPMSolver, sample

N, TOP = 500, 2.3
ASKED, NULL, OTHER = (Condition(vector=torch.tensor([[value]])) for value in (1.0, 0.0, -1.0))


def spiral(turned: float, std: float) -> MixtureDenoiser:
    """A class: bumps along an arm of a spiral, turned by an angle."""
    θ = torch.linspace(0.35, 1.0, 45, dtype=torch.float64)
    angle = 2 * torch.pi * 0.8 * θ + turned
    means = 1.75 * θ[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return MixtureDenoiser(VP(), torch.full((45,), 1 / 45).double(), means, torch.full((45,), std).double())


def both(a: MixtureDenoiser, b: MixtureDenoiser) -> MixtureDenoiser:
    weights, means, stds = (torch.cat([getattr(x, name) for x in (a, b)]) for name in ("weights", "means", "stds"))
    return MixtureDenoiser(a.schedule, weights / 2, means, stds)


@dataclass(frozen=True)
class Conditional:
    """Conditioned on 1, the denoiser of one class; on −1, of the other; on 0, of all data."""

    one: MixtureDenoiser
    other: MixtureDenoiser

    @property
    def schedule(self) -> Schedule:
        return self.one.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = NULL) -> Estimate:
        one, other, null = (
            distribution(x_t, level) for distribution in (self.one, self.other, both(self.one, self.other))
        )
        assert condition.vector is not None
        asked = condition.vector
        return replace(one, x0=torch.where(asked > 0, one.x0, torch.where(asked < 0, other.x0, null.x0)))


def model(std: float) -> Conditional:
    """What a network of limited size has learned of the two classes: their arms, wider than they are."""
    return Conditional(spiral(0.0, std), spiral(torch.pi, std))


def drawn(denoiser: DenoiserLike) -> Tensor:
    """N samples of the class, [N, 2], all from the same noise for every denoiser."""
    grid = levels(denoiser.schedule, LogSNRSpacing(), 30)
    *_, last = sample(denoiser, DPMSolver(2), start(N), grid, ASKED, noise=Stream(1))
    return last


def draw(path: Path) -> None:
    good, weak = model(0.17), model(0.42)
    panels: dict[str, tuple[DenoiserLike, str]] = {
        "the model, scale 1": (good, INK),
        "scale 2": (ClassifierFree(good, NULL, 2.0), UMBER),
        "scale 4": (ClassifierFree(good, NULL, 4.0), UMBER),
        "against the other, scale 1.2": (ClassifierFree(good, OTHER, 1.2), MADDER),
        "scale 4, interval (0.1, 1)": (ClassifierFree(good, NULL, 4.0, interval=(0.1, 1.0)), INDIGO),
        "autoguidance, scale 2.5": (Autoguidance(good, weak, 2.5), LAKE),
    }
    here = clean(good.schedule)
    asked, other = (density(spiral(turned, 0.06), here, TOP) for turned in (0.0, torch.pi))
    with page(path, 8.4, 6.1) as figure:
        for i, (name, (denoiser, colour)) in enumerate(panels.items()):
            left, bottom = 0.01 + 0.33 * (i % 3), 0.51 - 0.5 * (i // 3)
            axes = bare(figure.add_axes((left, bottom, 0.32, 0.32 * 8.4 / 6.1)))
            extent = (-TOP, TOP, -TOP, TOP)
            axes.imshow(asked**0.7, extent=extent, origin="lower", cmap=HAZE, interpolation="bilinear")
            axes.contour(other, [0.12], extent=extent, colors=[GREY], linewidths=0.7)
            axes.plot(*drawn(denoiser).T, "o", color=colour, ms=1.7, mew=0, alpha=0.75)
            axes.set(xlim=(-TOP, TOP), ylim=(-TOP, TOP))
            figure.text(left + 0.005, bottom + 0.45, name, color=colour, weight="bold", fontsize=8.5)
