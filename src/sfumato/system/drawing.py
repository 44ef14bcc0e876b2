"""A drawing: everything that a call to draw may say, stated once, and read back from a record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sfumato.arguments import listed, own, whole
from sfumato.codec import Codec
from sfumato.condition import Prompt
from sfumato.condition.normalize import as_text
from sfumato.core.condition import Condition
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, nearest, quoted
from sfumato.foreign.drawing import own_arguments
from sfumato.media.protocol import Record, Size
from sfumato.system.settings import Overrides

MOST_SEED = 2**63 - 1
MOST_PROMPT = 2**16
"""Characters of a prompt: with a negative one, each escaped, a record stays within `media.record.MOST_RECORD`."""


@runtime_checkable
class ConditionSource(Protocol):
    """Something that a condition is made of when a system draws, such as files, so that a record can name it."""

    def __call__(self, codec: Codec, size: Size, /) -> tuple[Condition, Record]:
        """The condition for samples of that size, and the record that `from_record` reads."""
        ...


class Drawing(Overrides, total=False):
    """The arguments of `System.generate` and `System.stream`. Each may be left out, or None.

    - `prompt`: what the conditioner reads, or a list of it; None asks for anything;
    - `seeds`: one sample each, which depends on its own seed and on nothing drawn beside it, but for rounding, which
      differs with the size of the batch: `batch=1` leaves none. They are every prompt's; a list of lists gives each
      prompt its own: `prompt=["cat", "dog"], seeds=[[0, 1, 2], [7]]`;
    - `size`, `sampler`, `spacing`, `steps`, `guidance`, `interval`, `rescale`: in place of the system's own `Settings`.
      A sampler or spacing may be spelled: "ddim", "ddim,eta=0.5", "DPM++ 2M Karras"; and a size, "64x64", or 64 for a
      square;
    - `negative`: the prompt that guidance leads away from, in place of the empty one;
    - `condition`: the conditioning inputs that the network has beyond the conditioner's, one row [1, …] for all samples
      or one a sample: `concat`, as `codec.masked_condition` makes it, or `vector` or `context`; or a `ConditionSource`;
    - `guide`: puts a guide of your own around the denoiser, as in `lambda denoiser: Autoguidance(denoiser, …)`;
    - `batch`: the samples drawn at once; None fits it to their size;
    - `stages`: of a cascade, the drawing of each stage, which overrides the rest.

    The words of other tools that mean the same are taken too, as `num_inference_steps`: see `foreign.words`.
    """

    prompt: Prompt | Sequence[Prompt]
    seeds: Sequence[int] | Sequence[Sequence[int]] | None
    negative: Prompt
    condition: Condition | ConditionSource | None
    guide: Callable[[DenoiserLike], DenoiserLike] | None
    batch: int | None
    stages: "Sequence[Drawing] | None"


@dataclass(frozen=True)
class Request:
    """The arguments of a drawing, checked in themselves, whatever the system."""

    prompts: tuple[Prompt, ...]
    seeds: tuple[tuple[int, ...], ...]
    """Those of each prompt."""
    negative: Prompt
    condition: Condition | ConditionSource | None
    guide: Callable[[DenoiserLike], DenoiserLike] | None
    batch: int | None
    overrides: Overrides

    @cached_property
    def samples(self) -> list[tuple[Prompt, int]]:
        """The prompt and seed of each sample, prompt by prompt."""
        return [(prompt, seed) for prompt, own in zip(self.prompts, self.seeds, strict=True) for seed in own]


def asked_for(prompts: Any, drawing: Mapping[str, Any]) -> Drawing:
    """A call's arguments as one drawing, in our words: see `foreign.own_arguments`."""
    drawing = own_arguments(drawing)
    if prompts is not None and drawing.get("prompt") is not None:
        raise InputError("the prompt was given twice, as the first argument and by name: give it once")
    return Drawing(**(drawing if prompts is None else {**drawing, "prompt": prompts}))


def read_drawing(drawing: Mapping[str, Any]) -> Request:
    """A drawing's arguments, checked; an `InputError` for one that is unknown or that no system could draw with."""
    check_names(drawing)
    if drawing.get("stages") is not None:
        raise InputError("stages are the drawings of a cascade's systems, and this is one system: leave them out")
    prompts = tuple(_prompt(one) for one in _several(drawing.get("prompt")))
    batch, condition, guide = (drawing.get(name) for name in ("batch", "condition", "guide"))
    request = Request(
        prompts=prompts,
        seeds=_seeds(drawing.get("seeds"), len(prompts)),
        negative=_prompt(drawing.get("negative")),
        condition=condition,
        guide=guide,
        batch=None if batch is None else whole("batch", batch, 1, 2**20),
        overrides=Overrides(**{name: drawing[name] for name in Overrides.__annotations__ if name in drawing}),
    )
    if not request.samples:
        raise InputError("nothing to draw: give at least one prompt and one seed")
    if condition is not None and not isinstance(condition, Condition | ConditionSource):
        raise InputError(f"condition must be a Condition, as codec.masked_condition makes, not {quoted(condition)}")
    if guide is not None and not callable(guide):
        raise InputError(
            f"a guide is called with the denoiser, as in `lambda denoiser: Autoguidance(denoiser, …)`, and not"
            f" {quoted(guide)}"
        )
    return request


def condition_of(source: ConditionSource, codec: Codec, size: Size) -> tuple[Condition, Record]:
    """What a source gives; an `InputError` unless it is a condition and its record."""
    match source(codec, size):
        case (Condition() as condition, dict() as record):
            return condition, record
        case other:
            raise InputError(f"the source of a condition gave {quoted(other)}, where it gives a Condition and a record")


def check_names(drawing: Mapping[str, Any]) -> None:
    """Raise an `InputError` for an argument that no drawing has; it names the nearest."""
    known = Drawing.__annotations__
    if unknown := [name for name in drawing if name not in known]:
        raise InputError(f"a drawing has no argument {quoted(unknown[0])}; {nearest(unknown[0], known)}")


def _several(given: Any) -> list[Any]:
    """One prompt or several, as a list."""
    return [given] if given is None or isinstance(given, str | int | np.integer) else listed("prompt", given)


def _seeds(given: Any, prompts: int) -> tuple[tuple[int, ...], ...]:
    """The seeds of each prompt. One number might be a seed, or how many samples are wanted."""
    if isinstance(number := own(given), int) and not isinstance(number, bool):
        shown = quoted(number)
        raise InputError(f"seeds are a list: seeds=[{shown}] is one sample, and seeds=range({shown}) as many as that")
    seeds = [0] if given is None else listed("seeds", given)
    lists = [isinstance(own(one), Sequence) and not isinstance(one, str) for one in seeds]
    if not any(lists):
        return (tuple(whole("a seed", seed, 0, MOST_SEED) for seed in seeds),) * prompts
    if not all(lists) or len(lists) != prompts:
        raise InputError(
            f"seeds are one list for all prompts, or a list for each of the {prompts:,}: not {quoted(given)}"
        )
    return tuple(tuple(whole("a seed", seed, 0, MOST_SEED) for seed in listed("seeds", one)) for one in seeds)


def _prompt(prompt: Any) -> Prompt:
    """A prompt as it is read, and as records hold it."""
    prompt = own(prompt)
    if isinstance(prompt, bool) or not (prompt is None or isinstance(prompt, str | int)):
        raise InputError(f"a prompt is a text, or the number of a class, not {quoted(prompt)}")
    if isinstance(prompt, str) and len(prompt) > MOST_PROMPT:
        raise InputError(f"a prompt has at most {MOST_PROMPT:,} characters, not {len(prompt):,}: shorten it")
    return as_text(prompt) if isinstance(prompt, str) else prompt
