"""A drawing in the words of another tool, in ours."""

from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.arguments import own, whole
from sfumato.errors import InputError, quoted
from sfumato.foreign.samplers import is_sampler, is_spacing
from sfumato.foreign.words import DRAWING_WORDS

_MOST = 2**20
_COUNTS = ("num_images_per_prompt", "num_images", "n_samples", "n")


def own_arguments(drawing: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a drawing in our words: `num_inference_steps=20` is `steps=20`.

    An `InputError` for a word that has no meaning here, or two, which says what has; and for one that is given beside
    another of the same meaning. A foreign word that is None is left out.
    """
    given = {name: value for name, value in drawing.items() if name not in DRAWING_WORDS}
    foreign = {name: value for name, value in drawing.items() if name in DRAWING_WORDS and value is not None}
    by = {name: name for name, value in given.items() if value is not None}
    for names, here, value in _translated(foreign):
        if here in by:
            raise InputError(f"{by[here]} and {names} are one argument here, {here}: give one of them")
        given[here], by[here] = value, names
    return given


def _translated(foreign: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The words given, our argument, and its value."""
    counts = [name for name in _COUNTS if name in foreign]
    if len(counts) > 1:
        raise InputError(f"{counts[0]} and {counts[1]} are one argument here, seeds: give one of them")
    for name, value in foreign.items():
        word = DRAWING_WORDS[name]
        if not word.here:
            raise InputError(f"{name} is an argument of {word.tool}; here {word.instead.format(value=_shown(value))}")
        if name == "scheduler":
            yield name, _part_named(value), value
        elif word.here not in ("seeds", "size"):
            yield name, word.here, _read(name, value)
    if "seed" in foreign or counts:
        yield " and ".join([*(["seed"] if "seed" in foreign else []), *counts]), "seeds", _seeds(foreign, counts)
    if sides := [name for name in ("height", "width") if name in foreign]:
        yield " and ".join(sides), "size", _size(foreign, sides)


def _seeds(foreign: Mapping[str, Any], counts: list[str]) -> range:
    """One seed; or as many as are asked for, counted on from it."""
    first = whole("seed, for one sample (for several: seeds=[3, 7]),", foreign.get("seed", 0), 0, 2**63 - 1)
    count = whole(counts[0], foreign[counts[0]], 1, _MOST) if counts else 1
    return range(first, first + count)


def _size(foreign: Mapping[str, Any], sides: list[str]) -> tuple[Any, Any]:
    if len(sides) < 2:
        (side,) = sides
        size = f"({foreign[side]}, HEIGHT)" if side == "width" else f"(WIDTH, {foreign[side]})"
        raise InputError(f"{side} alone leaves the other side open: give both, or size={size}")
    return foreign["width"], foreign["height"]


def _part_named(value: Any) -> str:
    """Which of our arguments a scheduler is."""
    if isinstance(value, str) and is_sampler(value) != is_spacing(value):
        return "sampler" if is_sampler(value) else "spacing"
    word = DRAWING_WORDS["scheduler"]
    raise InputError(f"a scheduler is a sampler in some tools, a spacing in others; here {word.instead}")


def _read(name: str, value: Any) -> Any:
    """The value as ours has it."""
    if name == "guidance_scale" and isinstance(number := own(value), int | float) and 0 <= number < 1:
        return 1.0  # off, in diffusers
    if name == "negative_prompt" and isinstance(value, list | tuple):
        if len({str(one) for one in value}) != 1:
            raise InputError(f"one negative prompt serves all samples: negative='…', not {quoted(value)}")
        return value[0]
    return value


def _shown(value: Any) -> str:
    """A value within an example: of a generator of torch's, its seed."""
    seed = getattr(value, "initial_seed", None)
    return str(seed()) if callable(seed) else quoted(value, 40)
