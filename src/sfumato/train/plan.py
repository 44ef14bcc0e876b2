"""The cost of a training, shown before it starts."""

import copy
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from sfumato import disk
from sfumato.errors import StorageError
from sfumato.media import Size
from sfumato.train import checkpoint
from sfumato.train.batches import data_condition
from sfumato.train.tasks.protocol import Trainee
from sfumato.wording import count, duration

MOST_TRAINING_STEPS = 10**8
FEWEST, FEWEST_BEGUN = 20_000, 5_000
"""Samples seen before which no trial showed what its pictures were of (docs/how-to/recipes.md has them): by a network
that begins with nothing, and by one that begins with the weights of another."""


@dataclass(frozen=True)
class Budget:
    """When to stop: after `steps` steps in all, or `minutes` of this sitting, whichever is first; after 0 of a closed
    form."""

    steps: int
    minutes: float | None = None


@dataclass(frozen=True)
class TrainingPlan:
    """The size of a training on `count` data, whose `plural` is for messages. `gflop` is one sample's forward pass; a
    training step costs three times as much. `peak` is the FLOP/s that a convolution reaches on the machine; `disk` is
    for what the training saves, and `prepared` for what was made before it; `recipe` is what its recipe says of
    itself, `least` how many samples must be seen to show anything, and `size` that of each datum."""

    count: int
    plural: str
    parameters: int
    gflop: float
    batch: int
    start: int
    budget: Budget
    seconds_a_step: float
    machine: str
    precision: str
    peak: float
    disk: int
    memory: int
    prepared: int = 0
    recipe: str = ""
    least: int = FEWEST
    size: Size = ()

    @property
    def rate(self) -> float:
        """Data a second."""
        return self.batch / self.seconds_a_step

    def share(self, rate: float) -> float:
        """The share of the machine's peak that training on so many data a second takes."""
        return 3e9 * self.gflop * rate / self.peak

    @property
    def steps(self) -> int:
        """How many steps this sitting is likely to make."""
        left = self.budget.steps - self.start
        if self.budget.minutes is None:
            return left
        return min(left, max(round(self.budget.minutes * 60 / self.seconds_a_step), 1))

    def numbers(self) -> dict[str, object]:
        """The plan as numbers, for a program that reads the log."""
        return {
            "steps": self.steps,
            "start": self.start,
            "batch": self.batch,
            "seconds": round(self.steps * self.seconds_a_step, 1),
            "parameters": self.parameters,
            "memory": self.memory,
            "disk": self.disk + self.prepared,
        }

    @property
    def warning(self) -> str | None:
        """What to say of a training that is too short to show anything, and what would; None of a longer one."""
        seen = (self.start + self.steps) * self.batch
        if seen >= self.least or not self.budget.steps:
            return None
        if self.budget.minutes is None:
            would = f"--images {self.least}"
        else:
            minutes = (self.least - self.start * self.batch) / self.rate / 60
            would = f"--minutes {math.ceil(2 * minutes)}"  # half of it for what else there is to do
        passes = f"{seen / self.count:.1f} passes"
        large = len(self.size) == 2 and max(self.size) > 32
        less = ", or smaller ones: --set data.size=[32,32]" if large else ""
        return f"about {seen:,} {self.plural} will be seen ({passes}), too few to show much: {would} would{less}"

    def lines(self) -> list[tuple[str, str]]:
        """The plan as pairs of a heading and what it says."""
        passes = f"{self.steps * self.batch / self.count:.1f} passes over {self.count:,} {self.plural}"
        steps = f"about {count(self.steps, 'step')} from {self.start:,}: {passes}"
        prepared = f", {self.prepared / 1e6:,.0f} MB of it latents and captions" if self.prepared else ""
        speed = f"{self.rate:,.0f} {self.plural} a second, {self.share(self.rate):.0%} of what its convolutions reach"
        return [
            *([("recipe", self.recipe)] if self.recipe else []),
            ("network", f"{self.parameters / 1e6:.2f}M parameters, {self.gflop:.3g} GFLOP a sample"),
            ("machine", f"{self.machine}, {self.precision}: about {speed} ({self.peak / 1e9:,.0f} GFLOP/s)"),
            ("memory", f"{self.memory / 1e9:.2f} GB in use at a batch of {self.batch}"),
            (
                "work",
                steps if self.budget.steps else f"no steps: fitted in closed form to {self.count:,} {self.plural}",
            ),
            ("time", f"about {duration(self.steps * self.seconds_a_step)}"),
            ("disk", f"{(self.disk + self.prepared) / 1e6:,.0f} MB{prepared}"),
        ]


def gflop(trainee: Trainee) -> float:
    """GFLOP of one forward pass for one sample, at the schedule's last time, counted on shapes alone."""
    ghost = copy.deepcopy(trainee.model).to("meta")
    noise = torch.empty(1, *trainee.shape, device="meta")
    first = torch.zeros(1, dtype=torch.long)
    x_0 = trainee.feed.samples(first, first).to("meta")
    condition = data_condition(trainee.feed, trainee.conditioner, [None], first, first).to("meta")
    inputs = trainee.inputs(x_0, noise, torch.tensor([trainee.schedule.last]), condition)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(*inputs)
    return counter.get_total_flops() / 1e9


def disk_needed(parameters: int, held: Sequence[Path] = ()) -> int:
    """Bytes at the most: the checkpoints kept and one being written (weights, average, two moments), two systems.

    What lies in the folders `held`, those of a run's checkpoints and of its artefact, needs no room any more; the
    artefact is written anew beside itself only when the new checkpoint has taken the place of an old one.
    """
    system = 4 * parameters
    most = 4 * system * (checkpoint.CHECKPOINTS_KEPT + 1)
    there = sum(path.stat().st_size for folder in held for path in folder.glob("*.safetensors"))
    return most + system - min(there, most - 3 * system) if there else most + 2 * system


def check_disk(folder: Path, needed: int) -> None:
    """Raise a `StorageError` when there is not that much space where `folder` is or will be."""
    free = shutil.disk_usage(disk.existing(folder)).free
    if free < needed:
        raise StorageError(
            f"{folder} needs {math.ceil(needed / 1e6):,} MB of space and there are {math.floor(free / 1e6):,} MB free:"
            " make room, or choose another folder with --out"
        )
