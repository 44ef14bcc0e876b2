"""Drawing with one system: from checked arguments to frames."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sfumato import machine
from sfumato.arguments import own
from sfumato.condition import Prompt
from sfumato.core.condition import Condition
from sfumato.core.defaults import by_defaults
from sfumato.core.grid import initial_std, levels
from sfumato.core.noise import Noise
from sfumato.errors import InputError, quoted
from sfumato.guide import ClassifierFree, Watch
from sfumato.media import Medium
from sfumato.media.protocol import Record
from sfumato.sample import sample
from sfumato.system.drawing import ConditionSource, Request, condition_of
from sfumato.system.inputs import check_inputs, rows_of, sources, wanted_inputs
from sfumato.system.prompts import EncodedPrompts, check_finite
from sfumato.system.samples import Samples
from sfumato.system.settings import Overrides, Settings, Thresholding

if TYPE_CHECKING:
    from sfumato.system.system import System

MOST_SPELLED = 10**9
"""The largest number that stands for a size alone."""


@dataclass(frozen=True)
class Frame:
    """One sampling step of one batch.

    `done` of `total` steps are made, over all batches and, of a cascade, all stages; `x` [b, *d] is the batch at this
    step and `x0` the estimate of its data, both in the space of the codec of that `stage` (`System.codec.decode` shows
    them). `samples` holds the batch when this was its last step. The first of the batch is number `start` of all that
    were asked for.
    """

    done: int
    total: int
    x: Tensor
    x0: Tensor
    samples: Samples | None
    stage: int = 0
    start: int = 0


@dataclass(frozen=True)
class Plan:
    """One drawing with one system, checked before the first step: `System.plan` makes it.

    It may be drawn in parts: which samples are drawn at once is settled, so that any of its `batches` is drawn to the
    same bits whichever others are, and the `records` of all are known before.
    """

    system: "System"
    request: Request
    settings: Settings
    prompts: EncodedPrompts
    condition: Condition
    """Further inputs, one row for all samples or one a sample."""
    sources: tuple[Record, ...]
    """What the record of each sample says of its further inputs, if it has any."""

    @property
    def samples(self) -> list[tuple[Prompt, int]]:
        """The prompt and the seed of each sample."""
        return self.request.samples

    @property
    def batches(self) -> list[slice]:
        """The samples that are drawn at once, by their numbers."""
        return slices(len(self.samples), self.batch)

    @property
    def batch(self) -> int:
        """The most samples at once."""
        return batch_of(self.system, self.request, self.settings)

    def records(self, rows: slice = slice(None)) -> list[Record]:
        """The records of these samples, as their files will carry them."""
        own = [{"prompt": prompt, "seed": seed, **self._record} for prompt, seed in self.samples[rows]]
        if self.sources:
            own = [one | {"condition": source} for one, source in zip(own, self.sources[rows], strict=True)]
        return own

    def frames(self, batches: Sequence[slice] | None = None) -> Iterator[Frame]:
        """A frame after every step of these batches, of all if None; where memory is short, an error that says what to
        draw less of."""
        return by_defaults(self._frames(self.batches if batches is None else batches))

    def _frames(self, batches: Sequence[slice]) -> Generator[Frame, None, None]:
        batch, size = self.batch, self.system.medium.size_text(self.settings.size)
        less = f"batch={batch // 2} (-n 1 on the command line) or a smaller size" if batch > 1 else "a smaller size"
        with machine.memory_errors(
            f"drawing {batch} of {size} at once does not fit the memory: give {less}, or bfloat16"
        ):
            self.system.begin_reading()
            for rows in batches[:1]:  # while the network's weights are read
                self.prompts.prepare(rows)
                _ = self.null
            self.system.make_ready()
            total = len(batches) * self.settings.steps
            for number, rows in enumerate(batches):
                yield from self._batch(rows, number * self.settings.steps, total)

    def _batch(self, rows: slice, before: int, total: int) -> Generator[Frame, None, None]:
        """The steps of the samples in these rows."""
        system, chosen, asked = self.system, self.settings, self.samples[rows]
        grid = levels(system.denoiser.schedule, chosen.spacing, chosen.steps)
        noise = Noise([seed for _, seed in asked])
        codec = system._codec  # its weights are left where they are until something is decoded
        own = system.process.noise(noise.streams, *codec.shape(chosen.size)).to(system.device)
        start = system.process.start(own, grid[0], initial_std(chosen.spacing, grid[0]))
        watch, condition = Watch(self._denoiser(rows)), self._condition(rows)
        for step, x in enumerate(sample(watch, chosen.sampler, start, grid, condition, noise=noise), start=1):
            assert watch.last is not None
            samples = self._samples(x, rows) if step == chosen.steps else None
            yield Frame(before + step, total, x, watch.last.x0, samples, start=rows.start)

    def _samples(self, x: Tensor, rows: slice) -> Samples:
        """The batch decoded, with the records that repeat it."""
        return Samples(self.system.codec.decode(x).cpu(), self.system.medium, tuple(self.records(rows)))

    @cached_property
    def null(self) -> Condition | None:
        """The condition that guidance leads away from, one row; None without guidance."""
        negative = self.request.negative
        if self.settings.guidance == 1 or all(prompt in (None, "") for prompt in (*self.request.prompts, negative)):
            return None
        return check_finite(self.system.conditioner.at(self.settings.size).null([negative]), [negative])

    @cached_property
    def _record(self) -> Record:
        """What the records of all samples have in common."""
        system, request = self.system, self.request
        record: Record = {"sfumato": version("sfumato"), "system": system.fingerprint(), **system.opened}
        record |= self.settings.dump()
        record.pop("presets", None)  # of samplers that were not asked for
        if request.negative is not None:
            record["negative"] = request.negative
        if request.guide is not None:
            known: Any = getattr(request.guide, "record", None)
            record["guide"] = known() if callable(known) else str(request.guide)
        return record | {"precision": system.precision} | machine.rounding(system.device)

    def _denoiser(self, rows: slice) -> Any:
        """The denoiser in its guides: classifier-free where there is a prompt, the caller's own, the thresholding."""
        request, chosen = self.request, self.settings
        denoiser: Any = self.system.denoiser  # of numbers or of tokens, and so are guides around it
        prompts = [prompt for prompt, _ in request.samples[rows]]
        if self.null is not None and any(prompt not in (None, "") for prompt in (*prompts, request.negative)):
            null = self._with_inputs(self.null.map(lambda value: value.expand(len(prompts), *value.shape[1:])), rows)
            denoiser = ClassifierFree(denoiser, null, chosen.guidance, chosen.interval, chosen.rescale)
        if request.guide is not None:
            guided: Any = request.guide(denoiser)
            if not callable(guided):
                raise InputError(
                    f"the guide gave {quoted(guided)}, where a denoiser is wanted: see that it returns one"
                )
            denoiser = guided
        return (chosen.thresholding or Thresholding(self.system._codec.limit)).around(denoiser)

    def _condition(self, rows: slice) -> Condition:
        """The condition of these samples."""
        return self._with_inputs(self.prompts.condition(rows), rows)

    def _with_inputs(self, condition: Condition, rows: slice) -> Condition:
        """The condition with the further inputs of these samples, on the system's device."""
        count = len(self.samples[rows])
        return replace(condition, **rows_of(self.condition, rows, count).given()).to(self.system.device)

    def conditioned(self, given: Condition | ConditionSource | None) -> "Plan":
        """The same plan with other further inputs; a typed error for what the network was not built for."""
        condition, found = _further(self.system, given, self.settings, len(self.samples))
        return replace(self, condition=condition, sources=found)


def plan(system: "System", request: Request) -> Plan:
    """The plan of a drawing; a typed error for what this system cannot draw with."""
    chosen = system.settings.updated(**_sized(request.overrides, system.medium))
    asked = [prompt for prompt in (*request.prompts, request.negative) if prompt not in (None, "")]
    if chosen.guidance == 1 and request.negative not in (None, ""):
        raise InputError("a negative prompt needs guidance, which is off at 1: give guidance=2 or so")
    # is an empty prompt asked as well?
    system.check(chosen, prompted=bool(asked) and len(asked) < len(request.prompts) + 1)
    conditioner = system.conditioner.at(chosen.size)
    if request.negative is not None:
        conditioner.check_prompt(request.negative)
    condition, found = _further(system, request.condition, chosen, len(request.samples))
    batch = batch_of(system, request, chosen)
    prompts = EncodedPrompts(conditioner, [prompt for prompt, _ in request.samples], batch)
    return Plan(system, request, chosen, prompts, condition, found)


def batch_of(system: "System", request: Request, chosen: Settings) -> int:
    """How many samples are drawn at once."""
    return request.batch or system.batch(chosen.size)


def slices(count: int, size: int) -> list[slice]:
    """The numbers from 0 to `count`, `size` at a time."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _sized(overrides: Overrides, medium: Medium) -> Overrides:
    """The overrides with a size that is spelled, or one number, in the medium's order."""
    size: Any = own(overrides.get("size"))
    spelled = isinstance(size, str) or (isinstance(size, int) and 0 <= size <= MOST_SPELLED)
    return {**overrides, "size": medium.parse_size(str(size))} if spelled else overrides


def _further(
    system: "System", given: Condition | ConditionSource | None, chosen: Settings, count: int
) -> tuple[Condition, tuple[Record, ...]]:
    """The further inputs of so many samples, checked, and what their records say of them."""
    condition, source = given or Condition(), None
    if not isinstance(condition, Condition):
        condition, source = condition_of(condition, system.codec, chosen.size)
    check_inputs(condition, wanted_inputs(system, chosen.size), count)
    return condition, sources(condition, source, count)
