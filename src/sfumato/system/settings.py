"""How to draw: what a system is saved with, and what a call may change."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, TypedDict, Unpack, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, create_model
from torch import Tensor

from sfumato.arguments import listed, own, whole
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import Spacing, TrailingSpacing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.parameterization import Parameterization
from sfumato.core.process import TokenProcess
from sfumato.core.schedule import Schedule
from sfumato.core.token_estimate import TokenEstimate
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, quoted
from sfumato.foreign.samplers import own_sampler, own_spacing
from sfumato.guide import DynamicThreshold, StaticThreshold
from sfumato.media import Medium
from sfumato.media.protocol import Size
from sfumato.parts import SAMPLERS, SPACINGS, part_field, validate
from sfumato.sample import DDIM, Sampler
from sfumato.sample.driver import Conditioned, check_evaluations, check_steps

MOST_NUMBER = 1e30
"""The largest guidance, or end of its interval: well within what float32 holds."""
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Thresholding:
    """The bound on the estimate of x_0: within ±`limit`, or none if that is None; with a `ratio`, dynamic thresholding
    of at most `limit`, if that is not None. `keep_eps` is that of `guide.StaticThreshold` and `DynamicThreshold`."""

    __pydantic_config__ = STRICT

    limit: float | None = None
    ratio: float | None = None
    keep_eps: bool = False

    def around(self, denoiser: DenoiserLike) -> DenoiserLike:
        if self.ratio is not None:
            return DynamicThreshold(denoiser, self.ratio, math.inf if self.limit is None else self.limit, self.keep_eps)
        return denoiser if self.limit is None else StaticThreshold(denoiser, self.limit, self.keep_eps)


@dataclass(frozen=True)
class Preset:
    """The settings that go with a sampler asked for by its kind alone: the sampler's own, the spacing and the
    thresholding; guidance is then everywhere."""

    __pydantic_config__ = STRICT

    sampler: Annotated[Sampler[Any], part_field(SAMPLERS)]
    spacing: Annotated[Spacing, part_field(SPACINGS)]
    thresholding: Thresholding | None = None


class Overrides(TypedDict, total=False):
    """The settings that one drawing may put in the place of the system's own; None leaves these."""

    size: Size | None
    sampler: Sampler[Any] | str | None
    spacing: Spacing | str | None
    steps: int | None
    guidance: float | None
    interval: tuple[float, float] | None
    rescale: float | None


@dataclass(frozen=True)
class Settings:
    """How a system draws, unless a drawing overrides it.

    - `size` of a sample, in the order of the codec's medium: (width, height) for pictures;
    - `sampler`, along a `spacing` of `steps` steps from noise to data;
    - `guidance`, the scale w of classifier-free guidance, 1 for none, within an `interval` of sigma/alpha (everywhere
      if None), its contrast brought back by a share `rescale`: see `guide.ClassifierFree`;
    - `thresholding` of the estimate of x_0; the codec's limit if None;
    - `presets`, by a sampler's kind: settings of another tool for its samplers, so that a system from there is drawn
      from as there.
    """

    size: Size
    sampler: Annotated[Sampler[Any], part_field(SAMPLERS)] = DDIM()
    spacing: Annotated[Spacing, part_field(SPACINGS)] = TrailingSpacing()
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
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        table = _TABLE.model_construct(**values).model_dump(mode="json", warnings=False)
        return {name: value for name, value in table.items() if value or name not in OPTIONAL}

    @staticmethod
    def load(table: Any) -> "Settings":
        """The settings that `dump` wrote; an `InputError` for what is missing, unknown or of a wrong type."""
        return Settings(**dict(validate(_TABLE, table, "settings")))

    def updated(self, **given: Unpack[Overrides]) -> "Settings":
        """The settings with what is given and not None in their place. A sampler or spacing may be spelled:
        "ddim,eta=0.5", or as another tool spells it: "DPM++ 2M Karras". For a system from another tool, a guidance from
        0 to 1 is off, as there."""
        given = _own_spelling(given)
        changes: dict[str, Any] = {name: _read(name, value) for name, value in given.items() if value is not None}
        if "sampler" in changes and (preset := self.presets.get(SAMPLERS.dump(changes["sampler"])["kind"])) is not None:
            changes = {"spacing": preset.spacing, "thresholding": preset.thresholding, "interval": None} | changes
            if isinstance(given.get("sampler"), str) and given.get("sampler") in self.presets:  # its kind alone
                changes["sampler"] = preset.sampler
        chosen = replace(self, **changes)
        off = self.presets and is_number(chosen.guidance, 0, 1) and chosen.guidance < 1
        return replace(chosen, guidance=1.0) if off else chosen

    def check(self, medium: Medium) -> None:
        """Raise an `InputError` for what is wrong in itself, whatever the system, of samples of that medium."""
        medium.check_size(self.size)
        whole("steps", self.steps, -(2**63), 2**63)  # how many there may be is the grid's to say
        if not is_number(self.guidance, 0, MOST_NUMBER):
            raise InputError(f"guidance must be a number from 0 up, not {quoted(self.guidance)}; 1 is off")
        if self.interval is not None:
            ends = listed("interval", self.interval)
            if len(ends) != 2 or not all(is_number(end, 0, MOST_NUMBER) for end in ends) or not ends[0] < ends[1]:
                raise InputError(f"interval must be two sigma/alpha with 0 ≤ low < high, not {quoted(self.interval)}")
        if not is_number(self.rescale, 0, 1):
            raise InputError(f"rescale must lie between 0 (off) and 1, not {quoted(self.rescale)}")
        if self.thresholding is not None and self.thresholding.limit is not None and not self.thresholding.limit > 0:
            raise InputError(f"the limit of x_0 must be above 0, not {self.thresholding.limit!r}")


OPTIONAL = ("thresholding", "presets")
"""The settings that a file may leave out."""


def _table() -> type[BaseModel]:
    """A strict model of the settings in a file, where the others have no default: a missing one is damage."""
    hints = get_type_hints(Settings, include_extras=True)
    known: dict[str, Any] = {name: (hint, ...) for name, hint in hints.items()}
    known |= {"thresholding": (hints["thresholding"], None), "presets": (hints["presets"], {})}
    return create_model("settings", __config__=STRICT, **known)


_TABLE = _table()


@dataclass(frozen=True)
class DryRun:
    """Stands for a denoiser that is yet to be trained or asked: can what would be asked of it be?"""

    schedule: Schedule
    parameterization: Parameterization
    learned: bool

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.parameterization(level)
        return Estimate(x_t, level, torch.zeros_like(x_t), torch.full_like(x_t, 0.5) if self.learned else None)

    @property
    def x(self) -> Tensor:
        """A sample to begin with."""
        return torch.zeros(1, 1, dtype=torch.float32)


@dataclass(frozen=True)
class TokenDryRun:
    """Stands likewise for a denoiser of `k` tokens."""

    schedule: Schedule
    process: TokenProcess
    k: int

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> TokenEstimate:
        log_p = self.process.log_probabilities(torch.zeros(*x_t.shape, self.k), x_t)
        return TokenEstimate(x_t, level, log_p, self.process)

    @property
    def x(self) -> Tensor:
        return torch.zeros(1, 1, dtype=torch.long)


def dry_run(trial: DryRun | TokenDryRun, sampler: Sampler[Any], spacing: Spacing, steps: int) -> None:
    """Make the first sampling step with `trial`: settings that cannot be drawn with raise here, at once."""
    now, then, *_ = levels(trial.schedule, spacing, steps)
    check_evaluations(sampler, steps)
    state = sampler.init(trial.x, [now, then])
    sampler.step(Conditioned(trial, Condition(), sampler), trial.x, now, then, state, Noise([0]))
    check_steps(sampler, steps)


def is_number(value: Any, low: float, high: float) -> bool:
    """Whether a value is a number within bounds; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _own_spelling(given: Overrides) -> Overrides:
    """The overrides with another tool's names of samplers and spacings in our spelling; a sampler's may hold both."""
    sampler, spacing = given.get("sampler"), given.get("spacing")
    if isinstance(spacing, str):
        spacing = own_spacing(spacing)
    if isinstance(sampler, str):
        sampler, held = own_sampler(sampler)
        if held is not None and spacing is not None and not _refines(spacing, held):
            raise InputError(
                f"the sampler {quoted(given.get('sampler'))} has the spacing {held} in its name, and the spacing given"
                f" is {quoted(given.get('spacing'))}: give one"
            )
        spacing = held if spacing is None else spacing
    return {**given, "sampler": sampler, "spacing": spacing}


def _refines(spacing: Any, held: str) -> bool:
    """Whether a spacing is the one in a sampler's name, with settings or without: "karras,sigma_max=80"."""
    return isinstance(spacing, str) and (spacing == held or spacing.startswith(f"{held},"))


def _read(name: str, value: Any) -> Any:
    """A setting as it is given; a sampler or spacing may be spelled, and is one that records can name."""
    if name not in ("sampler", "spacing"):
        return value
    kinds = SAMPLERS if name == "sampler" else SPACINGS
    if isinstance(value, str):
        return kinds.parse(value)
    kinds.dump(value)
    return value
