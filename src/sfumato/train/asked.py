"""When a training is to stop, as a caller says it."""

import math
from dataclasses import astuple, dataclass, fields
from numbers import Integral, Real
from typing import Any

from sfumato.errors import InputError, quoted
from sfumato.train.base_recipe import Recipe
from sfumato.train.checkpoint import samples_seen
from sfumato.train.plan import MOST_TRAINING_STEPS, Budget
from sfumato.train.run_folder import RunFolder

_WHOLE = ("steps", "images")


@dataclass(frozen=True)
class Asked:
    """One of `steps`, `images` or `epochs` (passes over the data), each in all, or of `minutes` of this sitting; or
    none of them, for the recipe's own steps. An `InputError` for any that cannot be, and for several."""

    steps: int | None = None
    images: int | None = None
    epochs: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))
        if sum(value is not None for value in astuple(self)) > 1:
            raise InputError("give one of --steps, --images, --epochs and --minutes, not several")

    @property
    def nothing(self) -> bool:
        """Whether nothing is asked for."""
        return all(value is None for value in astuple(self))

    def samples(self, batch: int, count: int) -> int | None:
        """How many samples are asked for in all, of `count` data in batches of `batch`; None if none are."""
        if self.epochs is not None:
            return math.ceil(self.epochs * count)
        return self.images if self.steps is None else self.steps * batch

    def budget(self, recipe: Recipe, folder: RunFolder, count: int = 1) -> Budget:
        """When to stop the training in `folder`, on `count` data; only `epochs` must know how many there are."""
        batch = recipe.train.batch
        if self.images is None and self.epochs is None:
            own = MOST_TRAINING_STEPS if self.minutes and recipe.train.steps else recipe.train.steps
            return Budget(self.steps or own, self.minutes)
        last = folder.last_checkpoint
        seen = 0 if last is None else samples_seen(last, batch)
        wanted = self.samples(batch, count)
        assert wanted is not None
        return Budget(max(folder.last_step, 0) + math.ceil((wanted - seen) / batch))


def _check(name: str, value: Any) -> None:
    kind: Any = Integral if name in _WHOLE else Real
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InputError(f"--{name} must be {'a whole number' if name in _WHOLE else 'a number'}, not {quoted(value)}")
    if not 0 < value <= MOST_TRAINING_STEPS:
        raise InputError(f"--{name} must be more than 0 and at most {MOST_TRAINING_STEPS:,}, not {value:g}")
