"""Options of other tools on the command line of `sfumato generate`: ours that mean the same, or an error that says."""

from collections.abc import Collection, Sequence

from sfumato.errors import InputError
from sfumato.foreign.words import DRAWING_WORDS

FOREIGN_OPTIONS = {
    "num_images_per_prompt": "-n",
    "num_images": "-n",
    "n_samples": "-n",
    "num_samples": "-n",
    "output": "--out",
    "output_dir": "--out",
    "outdir": "--out",
    "ckpt": "--model",
    "ckpt_path": "--model",
    "checkpoint": "--model",
    "model_id": "--model",
    "model_path": "--model",
    "prompt": "",
    "class_labels": "",
}
"""Our options, by the names of others; "" is the prompt itself. The rest are `DRAWING_WORDS`."""
_INSTEAD = {
    "batch_size": "-n 16 draws sixteen",
    "n_iter": "-n 16 draws sixteen",
    "scheduler": "--sampler and --spacing",
}
_SIDES = ("width", "height")


def own_options(arguments: Sequence[str], known: Collection[str]) -> list[str]:
    """Arguments with the options of other tools in the place of which ours stand; `known` are ours.

    An `InputError` for an option that has no meaning here, which says what to do, and for one beside ours that means
    the same.
    """
    found: list[str] = []
    sides: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        option, sign, value = argument.partition("=")
        word = option.removeprefix("--").replace("-", "_").lower()
        if argument == "--":
            return [*_sized(found, sides), argument, *rest]
        if (
            option in known
            or not option.startswith("--")
            or (word not in FOREIGN_OPTIONS and word not in DRAWING_WORDS)
        ):
            found.append(argument)
            continue
        own = _own(option, word)
        if own in arguments:
            raise InputError(f"{option} and {own} are one option here: give {own} alone")
        value = value if sign else next(rest, "")
        if word in _SIDES:
            sides[word] = value
        else:
            found += [own, _off(word, value)] if own else [value]
    return _sized(found, sides)


def _own(option: str, word: str) -> str:
    """Our option; an `InputError` if there is none."""
    if word in FOREIGN_OPTIONS:
        return FOREIGN_OPTIONS[word]
    foreign = DRAWING_WORDS[word]
    if not foreign.here or word in _INSTEAD:
        instead = _INSTEAD.get(word) or f"in Python {foreign.instead.format(value='…')}"
        raise InputError(f"{option} is an option of {foreign.tool}; here: {instead}")
    return f"--{foreign.here}"


def _off(word: str, value: str) -> str:
    """The value; a scale of diffusers' below 1 is off there, as 1 is."""
    try:
        return "1" if word == "guidance_scale" and 0 <= float(value) < 1 else value
    except ValueError:
        return value


def _sized(arguments: list[str], sides: dict[str, str]) -> list[str]:
    if not sides:
        return arguments
    if len(sides) < 2:
        raise InputError(f"--{next(iter(sides))} alone leaves the other side open: give both, or --size 64x64")
    return [*arguments, "--size", f"{sides['width']}x{sides['height']}"]
