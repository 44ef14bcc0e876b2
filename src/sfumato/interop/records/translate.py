"""What of another tool's record can be drawn here: the options of `sfumato generate`, and what they leave out."""

import re
from collections.abc import Callable
from typing import TypeVar

from sfumato.errors import InputError
from sfumato.foreign.samplers import own_sampler, own_spacing
from sfumato.interop.records.prompt import plain_prompt
from sfumato.interop.records.record import ForeignRecord
from sfumato.media.protocol import Record
from sfumato.parts import SAMPLERS, SPACINGS
from sfumato.system.drawing import MOST_SEED
from sfumato.wording import shortened

_T = TypeVar("_T")
_ENDING = ".safetensors"


def translated(found: ForeignRecord) -> tuple[Record, list[str]]:
    """The options of the drawing, by their names, and what of the record they do not repeat, in a few words each."""
    lost: list[str] = []
    sampler, spacing = _method(found, lost)
    (prompt, beyond), (negative, more) = plain_prompt(found.prompt), plain_prompt(found.negative)
    options: Record = {
        "prompt": prompt or None,
        "negative": negative if found.guidance != 1 and negative else None,  # which is off at 1, there as here
        "seed": found.seed,
        "steps": found.steps,
        "sampler": sampler,
        "spacing": spacing,
        "guidance": None if found.guidance is None else f"{found.guidance:g}",
        "size": None if found.size is None else list(found.size),
        "model": _model(found, lost),
    }
    if found.seed is not None and found.seed > MOST_SEED:
        options["seed"] = None
        lost.append(f"its seed: the largest here is {MOST_SEED:,}")
    if found.tool != "Sfumato":
        lost.append(f"the noise: a seed gives another in {found.tool}, so these are its settings and not its picture")
    options = {name: value for name, value in options.items() if value is not None}
    every = dict.fromkeys([*lost, *found.beyond, *beyond, *more])
    return options, [words for words in every if not any(other.startswith(f"{words} ") for other in every)]


def _method(found: ForeignRecord, lost: list[str]) -> tuple[str | None, str | None]:
    """Sampler and spacing as they are spelled here."""
    sampler = spacing = None
    if found.sampler is not None and (known := _known(lambda: own_sampler(found.sampler or ""), lost)):
        sampler, spacing = known
    if found.spacing is not None:
        spacing = _known(lambda: own_spacing(found.spacing or ""), lost) or spacing
    return _parsed(SAMPLERS.parse, sampler, lost), _parsed(SPACINGS.parse, spacing, lost)


def _known(own: Callable[[], _T], lost: list[str]) -> _T | None:
    try:
        return own()
    except InputError as error:
        lost.append(str(error))
        return None


def _parsed(parse: Callable[[str], object], text: str | None, lost: list[str]) -> str | None:
    """The text, if it spells a part."""
    return text if text is not None and _known(lambda: parse(text), lost) is not None else None


def _model(found: ForeignRecord, lost: list[str]) -> str | None:
    """The model as a file, which the user has to have."""
    if found.model is None or found.tool == "Sfumato":
        return found.model
    name = re.split(r"[\\/]", found.model)[-1]
    file = name if re.search(r"\.\w{2,12}$", name) else f"{name}{_ENDING}"
    digest = f", of the hash {found.further['Model hash']}" if "Model hash" in found.further else ""
    lost.append(f"the model: the picture names {shortened(name)}{digest}, and you have to have the file")
    return file
