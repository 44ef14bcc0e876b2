"""What the recipes of all tasks have: their data, optimizer, average of the weights, and loop."""

import math
from typing import Annotated, Any, Self

import torch
from pydantic import Field

from sfumato.core.schedule import Schedule
from sfumato.errors import InputError
from sfumato.loss import Times
from sfumato.parts import AUTOENCODERS, NETWORKS, Kinds, part_field
from sfumato.train.data_recipe import AnyDataRecipe, DataRecipe, ImageData
from sfumato.train.ema import AVERAGES, Average, Power
from sfumato.train.table import Count, NonNegative, Positive, RecipeTable, ShareBelowOne

WARMUP_SHARE, MOST_WARMUP = 0.05, 500
"""The share of the planned steps over which the rate rises, and how many of them at the most."""


class OptimizerRecipe(RecipeTable):
    """AdamW (arXiv:1711.05101): the rate rises over `warmup` steps, and falls after `decay` steps, if that is not 0:
    `learning_rate / √max(step/decay, 1)` (as in EDM2, arXiv:2312.02696). Gradients are clipped to the norm `clip`.

    Without a `warmup` of the recipe's own it is a twentieth of the steps that are planned, 500 at the most."""

    learning_rate: Positive = 2e-4
    betas: tuple[ShareBelowOne, ShareBelowOne] = (0.9, 0.999)
    weight_decay: NonNegative = 0.0
    warmup: Annotated[int, Field(ge=0)] | None = None
    decay: Annotated[int, Field(ge=0)] = 0
    clip: Positive = 1.0

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        risen = min(1.0, step / max(self.warmup or 0, 1))
        fallen = max(step / self.decay, 1.0) if self.decay else 1.0
        return self.learning_rate * risen / math.sqrt(fallen)


class TrainRecipe(RecipeTable):
    """The loop: `steps` steps, unless a call asks for others; 0 where a closed form is enough. A batch is worked
    through in `accumulate` parts, which changes memory and not the result; a checkpoint is saved every `save_minutes`,
    a preview drawn every `show_minutes`."""

    batch: Count = 128
    accumulate: Count = 1
    steps: Annotated[int, Field(ge=0)] = 100_000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    save_minutes: NonNegative = 5.0
    show_minutes: NonNegative = 2.0


class Recipe(RecipeTable):
    """A whole training, of any task. Every table and key may be left out; what stands here are the defaults."""

    about: str = ""
    task: Any
    """The name of the task, which each task's own recipe fixes."""
    data: AnyDataRecipe = ImageData()
    network: dict[str, Any]
    optimizer: OptimizerRecipe = OptimizerRecipe()
    average: Annotated[Average, part_field(AVERAGES)] = Power()
    train: TrainRecipe = TrainRecipe()

    @property
    def conditioning(self) -> bool:
        """Whether it reads the conditioning images of the data."""
        return False

    @property
    def closed_form(self) -> bool:
        """Whether what it trains is fitted in closed form before the first step, and may do without any."""
        return False

    def planned(self, steps: int) -> Self:
        """The recipe for so many steps in all: what follows from them is fixed, and stays so when the run goes on."""
        if self.optimizer.warmup is not None:
            return self
        return self._rising(min(math.ceil(steps * WARMUP_SHARE), MOST_WARMUP))

    def as_planned(self, before: "Recipe") -> Self:
        """The recipe with what `planned` has fixed in that of a run, where this one leaves it to the plan as well."""
        warmup = before.optimizer.warmup
        return self if warmup is None or self.optimizer.warmup is not None else self._rising(warmup)

    def _rising(self, warmup: int) -> Self:
        return self.model_copy(update={"optimizer": self.optimizer.model_copy(update={"warmup": warmup})})

    def dump(self) -> dict[str, Any]:
        """The recipe as data, with every default in it."""
        return self.model_dump(mode="json")

    def check(self) -> None:
        """Raise an `InputError` for what does not go together; before data is read, and before hours of training."""
        self.data.check()
        self.average.decay(1)
        if self.train.steps == 0 and not self.closed_form:
            raise InputError(
                "train.steps=0 is for an autoencoder in closed form that begins with nothing (network.kind=pca, and"
                " codec.path and codec.init_from null): set train.steps higher, or begin with nothing"
            )
        if self.train.batch % self.train.accumulate:
            raise InputError(
                f"train.accumulate ({self.train.accumulate}) must divide train.batch ({self.train.batch}) evenly"
            )

    def dry_network(self, kinds: Kinds[Any], wanted: tuple[str, ...], **ends: Any) -> Any:
        """The recipe's network without weights, built between `ends`; an `InputError` unless it is of a `wanted`
        kind."""
        kind = self.network.get("kind")
        if isinstance(kind, str) and kind not in wanted and kind in {*NETWORKS.kinds, *AUTOENCODERS.kinds}:
            raise InputError(f"a recipe whose task is {self.task} wants network.kind={' or '.join(wanted)}, not {kind}")
        with torch.device("meta"):
            return kinds.load(self.network, **ends)


def check_times(times: Times, schedule: Schedule) -> None:
    """Raise an `InputError` for times that the schedule does not have, or that cannot be drawn."""
    schedule(torch.tensor([schedule.first]))
    schedule(times(schedule, torch.tensor([0.0, 0.5, 1 - 2**-24], dtype=torch.float64)))


def check_pictures(task: str, data: DataRecipe) -> None:
    """Raise an `InputError` unless the data of a task that works on pictures alone are pictures."""
    if not isinstance(data, ImageData):
        raise InputError(f"the task {task} works on pictures, and data.medium is {data.medium}")


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """What differs between two tables, a line each: `train.batch: 64 → 128`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in [*old, *(key for key in new if key not in old)] if old.get(key) != new.get(key)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))]
    return [f"{place}: {old} → {new}"]
