"""A task: what is trained, by what loss, and what is left of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sfumato.condition import Conditioner, Nothing
from sfumato.core.condition import Condition
from sfumato.core.process import Gaussian, Process
from sfumato.core.schedule import Cosine, Schedule
from sfumato.files import write_json, write_tensors
from sfumato.loss import Times, UniformTimes
from sfumato.parts import NETWORKS, SCHEDULES, part_field
from sfumato.train.base_recipe import Recipe
from sfumato.train.batches import mix
from sfumato.train.feed import Feed
from sfumato.train.tasks.protocol import Stop, Task, never

if TYPE_CHECKING:
    from sfumato.train.run import Run


class NoiseLevelRecipe(Recipe):
    """The tables that the task reads, and no others may be in its recipes."""

    task: Literal["noise-level"] = "noise-level"
    network: dict[str, Any] = Field({"kind": "encoder"})
    schedule: Annotated[Schedule, part_field(SCHEDULES)] = Cosine()


class NoiseLevel(nn.Module):
    """Noisy pictures [b, c, h, w] → the angle of their level, `atan2(sigma, alpha)`, as the network sees it: [b, 1]."""

    def __init__(self, network: nn.Module, about: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.network, self.about = network, about or {}

    def forward(self, x_t: Tensor) -> Tensor:
        return self.network(x_t, torch.zeros(len(x_t), device=x_t.device))

    def to(self, device: Any, precision: str | None = None) -> "NoiseLevel":  # pyright: ignore
        return super().to(device)

    def save(self, folder: str | Path) -> Path:
        folder = Path(folder)
        write_tensors(folder / "weights.safetensors", self.network.state_dict())
        write_json(folder / "noise-level.json", {"network": NETWORKS.dump(self.network), "about": self.about})
        return folder


class NoiseLevelTask(Task):
    """Leaves a `NoiseLevel` in the folder `noise-level/` of the run."""

    recipe = NoiseLevelRecipe
    leaves = "noise-level"
    previews = False

    def __init__(self, run: "Run") -> None:
        self.own: NoiseLevelRecipe = run.recipe  # pyright: ignore[reportAttributeAccessIssue]
        self.feed = run.recipe.data.feed(run.dataset)

    def check(self) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self._network().parameters())

    def trainee(self) -> "NoiseLevelTrainee":
        torch.manual_seed(mix(self.own.train.seed, 0))
        return NoiseLevelTrainee(NoiseLevel(self._network()), self.own.schedule, self.feed)

    def _network(self) -> nn.Module:
        return NETWORKS.load(self.own.network, in_channels=self.feed.dataset.medium.channels, outputs=1)


class NoiseLevelTrainee:
    """What the trainer trains: data become inputs, outputs become a loss. There is no condition and no preview."""

    dropout, passes = 0.0, 0
    process: Process = Gaussian()

    def __init__(self, model: NoiseLevel, schedule: Schedule, feed: Feed) -> None:
        self.model, self.schedule, self.feed = model, schedule, feed
        self.times: Times = UniformTimes()
        self.conditioner: Conditioner = Nothing()
        self.shape = feed.dataset.medium.shape(feed.dataset.size)
        self.angle = torch.empty(0)

    def inputs(self, x_0: Tensor, noise: Tensor, t: Tensor, condition: Condition) -> tuple[Any, ...]:
        level = self.schedule(t)
        self.angle = torch.atan2(level.sigma, level.alpha)
        return (self.process.corrupt(x_0, level, noise),)

    def loss(self, outputs: Any, x_0: Tensor, condition: Condition) -> Tensor:
        """The squared error of the angle, [b]."""
        return (outputs[:, 0] - self.angle.to(outputs)).square()

    def artefact(self, network: nn.Module) -> NoiseLevel:
        return NoiseLevel(network)

    def preview(self, artefact: Any, stop: Stop = never) -> None:
        return None
