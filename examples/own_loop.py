"""Sfumato as a library: a network, a data set and a loop of your own; schedules, losses, samplers and guides from here.

Learns a ring in the plane, and draws any quarter of it by classifier-free guidance, in a few seconds:

    .venv/bin/python examples/own_loop.py
"""

import math

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sfumato.core.condition import Condition
from sfumato.core.gaussian import marginal
from sfumato.core.grid import TrailingSpacing, initial_std, levels
from sfumato.core.noise import Noise
from sfumato.core.parameterization import VPrediction
from sfumato.core.schedule import Cosine
from sfumato.denoise import Denoiser
from sfumato.guide import ClassifierFree
from sfumato.loss import Denoising, MinSNRWeight, UniformTimes
from sfumato.sample import DPMSolver, sample


class Ring(Dataset[tuple[Tensor, int]]):
    """Points near the unit circle, [2], and the quarter in which each lies."""

    def __init__(self, number: int = 4096) -> None:
        angle = torch.rand(number, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
        self.points = torch.stack([angle.cos(), angle.sin()], dim=1) + 0.02 * torch.randn(
            number, 2, generator=torch.Generator().manual_seed(1)
        )
        self.quarters = (angle / (math.pi / 2)).long()

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.points[index], int(self.quarters[index])


class Network(nn.Module):
    """Noisy points [b, 2], times [b] and quarters `vector` [b, 4] → [b, 2]. A denoiser calls it so."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + 2 + 4, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, x: Tensor, time: Tensor, *, vector: Tensor) -> Tensor:
        angle = time / 1000 * math.pi / 2
        return self.layers(torch.cat([x, angle.cos()[:, None], angle.sin()[:, None], vector], dim=1))


def train(steps: int = 1500, batch: int = 256) -> Denoiser:
    """A loop as anybody writes it."""
    torch.manual_seed(0)
    denoiser = Denoiser(Network(), Cosine(T=1000), VPrediction())
    times, loss = UniformTimes(), Denoising(MinSNRWeight(gamma=5.0))
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=2e-3)
    data = DataLoader(Ring(), batch, shuffle=True, drop_last=True)
    step = 0
    while step < steps:
        for x_0, quarter in data:
            vector = nn.functional.one_hot(quarter, 4) * (torch.rand(batch, 1) > 0.1)  # sometimes none, for guidance
            level = denoiser.schedule(times(denoiser.schedule, torch.rand(batch)))
            x_t = marginal(x_0, level).sample(torch.randn_like(x_0))
            error = loss(denoiser(x_t, level, Condition(vector=vector.float())), x_0, denoiser.schedule).mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            step += 1
    return denoiser.eval()


def draw(denoiser: Denoiser, quarter: int, seeds: list[int], guidance: float = 1.5, steps: int = 20) -> Tensor:
    """A point for each seed, [n, 2], in this quarter of the ring."""
    asked = nn.functional.one_hot(torch.full((len(seeds),), quarter), 4).float()
    guided = ClassifierFree(denoiser, Condition(vector=torch.zeros_like(asked)), guidance)
    noise, spacing = Noise(seeds), TrailingSpacing()
    grid = levels(denoiser.schedule, spacing, steps)
    start = noise(2) * initial_std(spacing, grid[0])
    *_, points = sample(guided, DPMSolver(), start, grid, Condition(vector=asked), noise=noise)
    return points


def main() -> None:
    denoiser = train()
    for quarter in range(4):
        points = draw(denoiser, quarter, list(range(250)))
        angle = torch.atan2(points[:, 1], points[:, 0]) % (2 * math.pi)
        asked = (angle / (math.pi / 2)).long() == quarter
        print(f"quarter {quarter}: radius {points.norm(dim=1).mean():.3f}, {asked.float().mean():.1%} where asked")


if __name__ == "__main__":
    main()
