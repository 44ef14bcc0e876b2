"""Diffusers' `scheduler_config.json`, read and written by the rows of `table.py`.

Where a scheduler of theirs is at odds with its own paper, ours follows the paper; `exact` repeats theirs where that is
cheap: the halved 3M of DPM-Solver++.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sfumato.core.discrete import DiscreteSpacing, DistilledSpacing
from sfumato.core.grid import LeadingSpacing, Spacing, TrailingSpacing, UniformSpacing, levels
from sfumato.core.schedule import EDM, Schedule, Table, at
from sfumato.core.schedule import Flow as FlowSchedule
from sfumato.errors import FormatError, InputError, nearest, quoted
from sfumato.interop.diffusers.schedulers.scheduler import Scheduler
from sfumato.interop.diffusers.schedulers.table import OPTION_NAMES, OTHER_SCHEDULERS, SCHEDULERS, SchedulerRow
from sfumato.sample import DPMSolver, Sampler

_OLD: dict[str, tuple[Any, ...]] = {"tensor_format": ("pt", "np"), "predict_epsilon": (True,)}
"""Options of diffusers 0.1 to 0.9, with the values that change nothing. Any that is null is as good as absent, and
turns off what it may turn on, as in their code."""
_PLAIN_SPACINGS: dict[type[Spacing], str] = {
    LeadingSpacing: "leading",
    TrailingSpacing: "trailing",
    UniformSpacing: "linspace",
}


def read_scheduler(config: Mapping[str, Any], name: str = "scheduler_config.json", exact: bool = False) -> Scheduler:
    """How to sample as the scheduler that `config` describes does; with `exact`, its mistakes as well, where we can.

    Raises `FormatError` about `name` for a class, an option or a value that is not known or not done here.
    """
    row = _row(config, name)
    values = _values(row, config, name)
    try:
        scheduler = row.read(values)
        at(scheduler.schedule, scheduler.schedule.clean)  # raises for a schedule that cannot be
    except InputError as error:
        raise FormatError(f"{name}: {error}") from error
    if exact and isinstance(scheduler.sampler, DPMSolver) and scheduler.sampler.order == 3:
        return replace(scheduler, sampler=replace(scheduler.sampler, halved=True))
    return scheduler


def _row(config: Mapping[str, Any], name: str) -> SchedulerRow:
    kind = config.get("_class_name")
    if isinstance(kind, str) and kind in SCHEDULERS:
        return SCHEDULERS[kind]
    near = f"the nearest is {near}" if (near := OTHER_SCHEDULERS.get(str(kind))) else nearest(str(kind), SCHEDULERS)
    raise FormatError(f"{name} asks for the scheduler {quoted(kind)}, which is not done here; {near}")


def _values(row: SchedulerRow, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """All options of the row, with their defaults. Raises `FormatError` for an option or a value that is not known."""
    options = row.options
    values = {option: known.default for option, known in options.items()}
    for option, value in config.items():
        if option.startswith("_") or (option not in OPTION_NAMES and (value is None or value in _OLD.get(option, ()))):
            continue
        if option not in OPTION_NAMES:
            raise FormatError(
                f"{name}: there is no option {quoted(option)} of schedulers; {nearest(option, OPTION_NAMES)}"
            )
        if option in options:
            off = value is None and isinstance(options[option].default, bool)
            values[option] = False if off else value
    for option, value in values.items():
        if wanted := options[option].wanted(value):
            raise FormatError(f"{name}: the {option} of a {row.name} {wanted}, not {quoted(value)}")
    return values


# Writing --------------------------------------------------------------------------------------------------------------


def write_scheduler(scheduler: Scheduler) -> dict[str, Any]:
    """The `scheduler_config.json` with which diffusers samples so.

    What is written is read again and compared, in its parts and in every level visited: an `InputError` names what has
    no equal there. Where only the scale of the first noise differs (their solvers in sigma/alpha start from the noise
    alone) it is let pass.
    """
    row = _row_of(scheduler.sampler, scheduler.schedule)
    config = row.write(replace(scheduler, spacing=_discrete(scheduler.spacing, scheduler.schedule)))
    back = read_scheduler(config, exact=isinstance(scheduler.sampler, DPMSolver) and scheduler.sampler.halved)
    for part in ("schedule", "parameterization", "sampler", "thresholding"):
        ours, theirs = getattr(scheduler, part), getattr(back, part)
        if ours != theirs:
            raise InputError(f"diffusers has no {part} {ours!r} with this sampler; the nearest there is {theirs!r}")
    here, there = (levels(one.schedule, one.spacing, scheduler.steps) for one in (scheduler, back))
    apart = max(
        max(abs(float(a) - float(b)) for a, b in zip(one, other, strict=True))
        for one, other in zip(here, there, strict=True)
    )
    if not apart < 1e-6:
        raise InputError(
            f"diffusers' {row.name} cannot visit the levels of {scheduler.spacing}: take a discrete spacing"
        )
    return config


def _row_of(sampler: Sampler[Any], schedule: Schedule) -> SchedulerRow:
    kind = next((kind for kind in (EDM, FlowSchedule, Table) if isinstance(schedule, kind)), None)
    if kind is None:
        raise InputError(f"diffusers has no schedule like {schedule}")
    rows = {row.sampler: row for row in SCHEDULERS.values() if row.schedule is kind}
    if type(sampler) not in rows:
        raise InputError(f"diffusers has no {sampler} on this schedule: take {', '.join(c.__name__ for c in rows)}")
    return rows[type(sampler)]


def _discrete(spacing: Spacing, schedule: Schedule) -> Spacing:
    """The spacing in the terms in which a table's are written."""
    if not isinstance(schedule, Table) or isinstance(spacing, DiscreteSpacing | DistilledSpacing):
        return spacing
    if type(spacing) not in _PLAIN_SPACINGS:
        raise InputError(f"diffusers has no spacing like {spacing} on a table: take leading, trailing or discrete")
    return DiscreteSpacing(_PLAIN_SPACINGS[type(spacing)])  # pyright: ignore[reportArgumentType]
