"""How to draw: what a system is saved with, and what a call may change."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from sfumato.arguments import listed, own, whole
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import Spacing, TrailingSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.parameterization import Parameterization
from sfumato.core.schedule import Schedule
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, ShapeError, quoted
from sfumato.guide import DynamicThreshold, StaticThreshold
from sfumato.parts import SAMPLERS, SPACINGS, part_field
from sfumato.sample import DDIM, Sampler
from sfumato.sample.driver import check_evaluations, check_steps

MOST_SIDE = 16384
MOST_NUMBER = 1e30
"""The largest guidance, or end of its interval: well within what float32 holds."""


@dataclass(frozen=True)
class Thresholding:
    """How the estimate of x_0 is held where data can be: within ±`limit`, or not at all if that is None; with a
    `ratio`, by dynamic thresholding of at most `limit`, if that is not None. `keep_eps` is that of
    `guide.StaticThreshold` and `guide.DynamicThreshold`."""

    limit: float | None = None
    ratio: float | None = None
    keep_eps: bool = False

    def around(self, denoiser: DenoiserLike) -> DenoiserLike:
        if self.ratio is not None:
            return DynamicThreshold(denoiser, self.ratio, math.inf if self.limit is None else self.limit, self.keep_eps)
        return denoiser if self.limit is None else StaticThreshold(denoiser, self.limit, self.keep_eps)


@dataclass(frozen=True)
class Preset:
    """What goes with a sampler that is asked for: its own settings, if none were said, the spacing, and how x_0 is
    bounded; guidance is then everywhere."""

    sampler: Sampler[Any]
    spacing: Spacing
    thresholding: Thresholding | None = None


@dataclass(frozen=True)
class Settings:
    """`size` is (width, height); `guidance` the scale of classifier-free guidance, 1 for none.

    `interval` and `rescale` say where it guides and how far contrast is brought back: see `guide.ClassifierFree`.
    Without `thresholding`, the codec's limit is taken. A sampler asked for by a kind that is in `presets` brings what
    goes with it: a system from another tool is then drawn from as there.
    """

    size: tuple[int, int]
    sampler: Sampler[Any] = DDIM()
    spacing: Spacing = TrailingSpacing()
    steps: int = 50
    guidance: float = 1.0
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    thresholding: Thresholding | None = None
    presets: Mapping[str, Preset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("size", "steps", "guidance", "interval", "rescale"):
            object.__setattr__(self, name, own(getattr(self, name)))

    def dump(self) -> dict[str, Any]:
        """The settings as data, ready for JSON."""
        presets = {
            kind: {
                "sampler": SAMPLERS.dump(preset.sampler),
                "spacing": SPACINGS.dump(preset.spacing),
                "thresholding": preset.thresholding and asdict(preset.thresholding),
            }
            for kind, preset in self.presets.items()
        }
        return {
            "size": list(self.size),
            "sampler": SAMPLERS.dump(self.sampler),
            "spacing": SPACINGS.dump(self.spacing),
            "steps": self.steps,
            "guidance": self.guidance,
            "interval": list(self.interval) if self.interval is not None else None,
            "rescale": self.rescale,
            **({"thresholding": asdict(self.thresholding)} if self.thresholding is not None else {}),
            **({"presets": presets} if presets else {}),
        }

    def updated(self, **given: Any) -> "Settings":
        """These settings with those of `given` that are not None in their place. A sampler or spacing may be spelled:
        "ddim,eta=0.5". For a system from another tool, a guidance from 0 to 1 is off, as there."""
        said = {name: _read(name, value) for name, value in given.items() if value is not None}
        if "sampler" in said and (preset := self.presets.get(SAMPLERS.dump(said["sampler"])["kind"])) is not None:
            said = {"spacing": preset.spacing, "thresholding": preset.thresholding, "interval": None} | said
            if isinstance(given["sampler"], str) and given["sampler"] in self.presets:  # its kind alone
                said["sampler"] = preset.sampler
        chosen = replace(self, **said)
        off = self.presets and _is_number(chosen.guidance, 0, 1) and chosen.guidance < 1
        return replace(chosen, guidance=1.0) if off else chosen

    def check(self) -> None:
        """Raise an `InputError` for what is wrong in itself, whatever the system."""
        sides = listed("size", self.size)
        if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MOST_SIDE for side in sides):
            raise ShapeError(f"size must be (width, height), each from 1 to {MOST_SIDE:,}, not {quoted(self.size)}")
        whole("steps", self.steps, -(2**63), 2**63)  # how many there may be is the grid's to say
        if not _is_number(self.guidance, 0, MOST_NUMBER):
            raise InputError(f"guidance must be a number from 0 up, not {quoted(self.guidance)}; 1 is off")
        if self.interval is not None:
            ends = listed("interval", self.interval)
            if len(ends) != 2 or not all(_is_number(end, 0, MOST_NUMBER) for end in ends) or not ends[0] < ends[1]:
                raise InputError(f"interval must be two sigma/alpha with 0 ≤ low < high, not {quoted(self.interval)}")
        if not _is_number(self.rescale, 0, 1):
            raise InputError(f"rescale must lie between 0 (off) and 1, not {quoted(self.rescale)}")
        if self.thresholding is not None and self.thresholding.limit is not None and not self.thresholding.limit > 0:
            raise InputError(f"the limit of x_0 must be above 0, not {self.thresholding.limit!r}")


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ThresholdingTable(_Table):
    limit: float | None = None
    ratio: float | None = None
    keep_eps: bool = False

    def thresholding(self) -> Thresholding:
        return Thresholding(self.limit, self.ratio, self.keep_eps)


class PresetTable(_Table):
    sampler: Annotated[Sampler[Any], part_field(SAMPLERS)]
    spacing: Annotated[Spacing, part_field(SPACINGS)]
    thresholding: ThresholdingTable | None = None

    def preset(self) -> Preset:
        return Preset(self.sampler, self.spacing, self.thresholding and self.thresholding.thresholding())


class SettingsTable(_Table):
    """Settings as they stand in `system.json`."""

    size: tuple[int, int]
    sampler: Annotated[Sampler[Any], part_field(SAMPLERS)]
    spacing: Annotated[Spacing, part_field(SPACINGS)]
    steps: int
    guidance: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    thresholding: ThresholdingTable | None = None
    presets: dict[str, PresetTable] = {}

    def settings(self) -> Settings:
        return Settings(
            self.size,
            self.sampler,
            self.spacing,
            self.steps,
            self.guidance,
            self.interval,
            self.rescale,
            self.thresholding and self.thresholding.thresholding(),
            {kind: table.preset() for kind, table in self.presets.items()},
        )


@dataclass(frozen=True)
class DryRun:
    """Stands for a denoiser that is yet to be trained or asked: can what would be asked of it be?"""

    schedule: Schedule
    parameterization: Parameterization
    learned: bool

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.parameterization(level)
        return Estimate(x_t, level, torch.zeros_like(x_t), torch.full_like(x_t, 0.5) if self.learned else None)


def dry_run(trial: DryRun, sampler: Sampler[Any], spacing: Spacing, steps: int) -> None:
    """Make the first move of a walk with `trial`: what cannot be drawn with says so here, before anything long."""
    now, then, *_ = levels(trial.schedule, spacing, steps)
    check_evaluations(sampler, steps)
    x = torch.zeros(1, 1, dtype=torch.float32)
    sampler.step(trial, x, now, then, sampler.init(x), Noise([0]))
    check_steps(sampler, steps)


def _is_number(value: Any, low: float, high: float) -> bool:
    """Whether a value is a number within bounds; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _read(name: str, value: Any) -> Any:
    """A setting as it is given; a sampler or spacing may be spelled, and is one that records can name."""
    if name not in ("sampler", "spacing"):
        return value
    kinds = SAMPLERS if name == "sampler" else SPACINGS
    if isinstance(value, str):
        return kinds.parse(value)
    kinds.dump(value)
    return value
