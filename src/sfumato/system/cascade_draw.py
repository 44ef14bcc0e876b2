"""Drawing with a cascade: from checked arguments to frames."""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from sfumato.arguments import listed
from sfumato.condition import Prompt
from sfumato.core.condition import Condition
from sfumato.core.defaults import by_defaults
from sfumato.core.noise import Noise
from sfumato.errors import InputError, quoted
from sfumato.foreign.drawing import own_arguments
from sfumato.media.protocol import Record
from sfumato.system import draw
from sfumato.system.draw import Frame, slices
from sfumato.system.drawing import Drawing, Request, read_drawing
from sfumato.system.links import Linked
from sfumato.system.samples import Samples

if TYPE_CHECKING:
    from sfumato.system.cascade import Cascade

EVERY_STAGE = ("prompt", "seeds", "batch")
"""The arguments of a drawing that are every stage's."""
OF_PROMPTS = ("negative", "sampler", "spacing", "steps", "guidance", "interval", "rescale")
"""Those of the last stage that reads prompts, if there is one, for they say how; the others are of the last."""
SHARED = ("prompt", "seed", "sfumato", "system", "model", "config", "prediction")
"""The keys of a record that stand once for all stages."""


@dataclass(frozen=True)
class CascadePlan:
    """One drawing with a cascade, checked before the first step, as `draw.Plan` is.

    The samples of a batch, as many as the stage that draws the most at once does, go through all stages before the next
    batch begins, so that they are there early and memory holds no others.
    """

    cascade: "Cascade"
    request: Request
    drawings: tuple[Drawing, ...]
    """The drawing of each stage, but for what its link adds."""
    stages: tuple[draw.Plan, ...]
    """The plan of each stage, with zeros for what is still to be drawn."""

    @property
    def samples(self) -> list[tuple[Prompt, int]]:
        """The prompt and the seed of each sample."""
        return self.request.samples

    @property
    def batches(self) -> list[slice]:
        """The samples that are drawn at once, by their numbers."""
        return slices(len(self.samples), max(stage.batch for stage in self.stages))

    def records(self, rows: slice = slice(None)) -> list[Record]:
        """The records of these samples, with those of all stages."""
        by_stage = [[_own(record) for record in stage.records(rows)] for stage in self.stages]
        return [
            {"prompt": prompt, "seed": seed, **self._record, "stages": [*stages]}
            for (prompt, seed), *stages in zip(self.samples[rows], *by_stage, strict=True)
        ]

    @cached_property
    def _record(self) -> Record:
        return {"sfumato": version("sfumato"), "system": self.cascade.fingerprint(), **self.cascade.opened}

    def frames(self, batches: Sequence[slice] | None = None) -> Iterator[Frame]:
        """A frame after every step of every stage of these batches, of all if None."""
        return by_defaults(self._frames(self.batches if batches is None else batches))

    def _frames(self, batches: Sequence[slice]) -> Generator[Frame, None, None]:
        total, done = sum(map(self._steps, batches)), 0
        for rows in batches:
            for frame in self._batch(rows):
                samples = frame.samples
                if samples is not None:
                    part = slice(rows.start + frame.start, rows.start + frame.start + len(samples))
                    samples = replace(samples, records=tuple(self.records(part)))
                done += 1
                yield replace(frame, done=done, total=total, samples=samples, start=rows.start + frame.start)

    def _steps(self, rows: slice) -> int:
        """The sampling steps of all stages for these samples."""
        count = rows.stop - rows.start
        return sum(len(slices(count, stage.batch)) * stage.settings.steps for stage in self.stages)

    def _batch(self, rows: slice) -> Generator[Frame, None, None]:
        """The frames of all stages for these samples, in which the samples are the last stage's."""
        drawings = [_part(drawing, rows) for drawing in self.drawings]
        seeds, drawn = [seed for _, seed in self.samples[rows]], None
        for i, planned in enumerate(rehearsed(self.cascade, drawings)):
            if drawn is not None:
                planned = planned.conditioned(linked(self.cascade, i, drawings[i], drawn, seeds))
            parts: list[Samples] = []
            for frame in planned.frames():
                parts += [] if frame.samples is None else [frame.samples]
                last = i == len(drawings) - 1
                yield replace(frame, samples=frame.samples if last else None, stage=i)
            drawn = Samples.concat(parts)


def plan_cascade(cascade: "Cascade", asked: Drawing) -> CascadePlan:
    """The plan of a drawing; a typed error for what some stage of the cascade cannot draw with."""
    request = read_drawing({name: value for name, value in asked.items() if name != "stages"})
    drawings = drawings_of(cascade, asked, request)
    return CascadePlan(cascade, request, drawings, rehearsed(cascade, drawings))


def drawings_of(cascade: "Cascade", asked: Drawing, request: Request) -> tuple[Drawing, ...]:
    """The drawing of each stage, but for what its link adds."""
    given, number = asked.get("stages"), len(cascade.stages)
    own = listed("stages", given) if given is not None else [{}] * number
    if len(own) != number or not all(isinstance(one, dict) for one in own):
        raise InputError(f"stages must be {number} drawings, one a stage of this cascade, not {quoted(given)}")
    own = [own_arguments(one) for one in own]
    if fixed := [name for one in own for name in one if name in ("prompt", "seeds", "stages")]:
        raise InputError(f"{fixed[0]} is the same for all stages: give it beside stages, and not within")
    reading = [i for i, stage in enumerate(cascade.stages) if stage.conditioner.widths] or [number - 1]
    of: dict[str, int] = dict.fromkeys(OF_PROMPTS, reading[-1])
    found: list[Drawing] = []
    for i, more in enumerate(own):
        base = {name: value for name, value in asked.items() if name in EVERY_STAGE or i == of.get(name, number - 1)}
        base.pop("stages", None)
        found.append(Drawing(**{**base, **more, **_asked(cascade, i, request)}))
    return tuple(found)


def _asked(cascade: "Cascade", i: int, request: Request) -> dict[str, Any]:
    """The prompt and the seed of each sample in a stage."""
    reads = [bool(stage.conditioner.widths) for stage in cascade.stages]
    reading = reads[i] or not any(reads)
    prompts = [prompt if reading else None for prompt, _ in request.samples]
    return {"prompt": prompts, "seeds": [[derived_seed(seed, i)] for _, seed in request.samples]}


def _part(drawing: Drawing, rows: slice) -> Drawing:
    """A stage's drawing of these samples alone."""
    part: dict[str, Any] = {name: drawing.get(name, [])[rows] for name in ("prompt", "seeds")}
    if isinstance(given := drawing.get("condition"), Condition):
        part["condition"] = given.map(lambda value: value if len(value) == 1 else value[rows])
    return Drawing(**{**drawing, **part})


def rehearsed(cascade: "Cascade", drawings: Sequence[Drawing]) -> tuple[draw.Plan, ...]:
    """The plans of all stages, with zeros for what is still to be drawn."""
    plans: list[draw.Plan] = []
    drawn = None
    for i, drawing in enumerate(drawings):
        given = drawing if drawn is None else {**drawing, "condition": linked(cascade, i, drawing, drawn, [0])}
        plans.append(draw.plan(cascade.stages[i], read_drawing(given)))
        medium = cascade.stages[i].medium
        drawn = Samples(torch.zeros(1, *medium.shape(plans[-1].settings.size)), medium, ({},))
    return tuple(plans)


def linked(cascade: "Cascade", i: int, drawing: Drawing, drawn: Samples, seeds: Sequence[int]) -> Linked:
    """The condition of a stage, given its drawing and what the one before it drew for samples of these seeds."""
    noise = Noise([derived_seed(seed, i, "link") for seed in seeds])
    before, system = cascade.stages[i - 1 : i + 1]
    return Linked(drawing.get("condition"), cascade.links[i - 1](drawn, drawing, system, noise, before))


def derived_seed(seed: int, stage: int, use: str = "") -> int:
    """The seed of a sample in a stage: its own in the first, and in the others one that hangs on it alone, for noise
    that is independent of the first's."""
    if stage == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {stage} {use}".encode()).digest()[:8]) >> 1


def _own(record: Record) -> Record:
    """What a stage's record says of that stage alone."""
    return {name: value for name, value in record.items() if name not in SHARED}
