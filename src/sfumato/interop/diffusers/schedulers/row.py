"""A row of the table of schedulers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sfumato.core.discrete import DiscreteSpacing
from sfumato.core.grid import Spacing
from sfumato.core.parameterization import EDMPreconditioning
from sfumato.core.schedule import Schedule
from sfumato.interop.diffusers.schedulers.entries import Arguments, Option, OptionEntry, Values
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler
from sfumato.sample import Sampler
from sfumato.system.settings import Thresholding


@dataclass(frozen=True)
class SchedulerRow:
    """A scheduler class of diffusers: its name, the kinds of our schedules and samplers that it is, and its entries.

    Entries read whole parts, or the arguments with which `spacing`, `build` (by default the `sampler`) and the rest
    make them. `strides`: it takes strides of T/steps, rounded down, whatever times it visits.
    """

    name: str
    schedule: type[Schedule]
    sampler: type[Sampler[Any]]
    entries: Sequence[OptionEntry]
    spacing: Callable[..., Spacing] = DiscreteSpacing
    build: Callable[..., Sampler[Any]] | None = None
    steps: int = 50
    strides: bool = False

    @cached_property
    def options(self) -> dict[str, Option]:
        """All options by their names."""
        given = {name: value for entry in self.entries for name, value in entry.options.items()}
        return {name: value if isinstance(value, Option) else Option(value) for name, value in given.items()}

    def read(self, values: Values) -> Scheduler:
        """The scheduler of these values of all options. Raises `InputError` where they do not go together."""
        found: Arguments = {}
        for entry in self.entries:
            found |= entry.read(values)

        def part(name: str, build: Callable[..., Any]) -> Any:
            given = {key.removeprefix(f"{name}."): value for key, value in found.items() if key.startswith(f"{name}.")}
            return found[name] if name in found else build(**given)

        return Scheduler(
            schedule=part("schedule", self.schedule),
            parameterization=part("parameterization", EDMPreconditioning),
            sampler=part("sampler", self.build or self.sampler),
            spacing=part("spacing", self.spacing),
            steps=self.steps,
            thresholding=part("thresholding", Thresholding),
        )

    def write(self, scheduler: Scheduler) -> dict[str, Any]:
        """The configuration most like `scheduler`."""
        config: dict[str, Any] = {"_class_name": self.name}
        for entry in self.entries:
            config |= entry.write(scheduler)
        return config
