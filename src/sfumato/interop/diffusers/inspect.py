"""The contents of a checkpoint of another tool, from configurations and headers alone."""

import re
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from sfumato import files
from sfumato.condition.clip.single_file import is_single
from sfumato.condition.encoders.hub import CARD
from sfumato.core.grid import Spacing
from sfumato.errors import FormatError
from sfumato.interop.diffusers.folder import Checkpoint, Component, read_folder
from sfumato.interop.diffusers.open import plan_opening
from sfumato.interop.single_file.open import read_single_file
from sfumato.parts import PARAMETERIZATIONS, SAMPLERS, SCHEDULES, SPACINGS
from sfumato.sample import Sampler
from sfumato.wording import shortened

_BITS = {"BOOL": 8, "F4": 4}
"""Of types whose names do not give them; F16, BF16, I64, F8_E4M3 … do."""
_MOST_CARD = 2**20
_MOST_LICENCE = 100
_OPTIONS = ("prediction_type", "beta_schedule", "beta_start", "beta_end", "timestep_spacing", "steps_offset")
"""The options of a scheduler that are shown."""


@files.readable("what is inspected")
def describe_checkpoint(where: str | Path) -> list[tuple[str, Any]]:
    """Names of facts and what they are, for a folder in the layout of diffusers, the name of a repository on the Hub
    that is in the cache, or a single file: components, how it is drawn from there and here, its licence.

    Raises `DataError` where there is none, and `FormatError` for what is damaged. A whole one that is not known here is
    described as far as it goes.
    """
    found = read_single_file(where) if is_single(where) else read_folder(where, fetch=False)
    facts: list[tuple[str, Any]] = [("checkpoint", str(found.folder)), ("pipeline", found.pipeline)]
    facts += [(name, component_line(one)) for name, one in found.components.items() if not _weightless(name)]
    if "scheduler" in found.components:
        scheduler = found.component("scheduler")
        given = [f"{key} {scheduler.config[key]}" for key in _OPTIONS if scheduler.config.get(key) is not None]
        facts.append(("scheduler", ", ".join([scheduler.kind, *given])))
    try:
        facts += _drawn(found)
    except FormatError as error:
        facts.append(("not opened", str(error)))
    return [*facts, ("licence", licence(found.folder) or "not stated")]


def component_line(component: Component) -> str:
    """Class, number of parameters, types and bytes of a component, by the headers of its files."""
    names = component.weights().shapes
    kinds: Counter[str] = Counter()
    for name, (kind, shape) in names.items():
        if not component.ignored(name):
            kinds[kind] += prod(shape)
    size = sum(count * _bits(kind) / 8 for kind, count in kinds.items())
    types = ", ".join(sorted(kind for kind, count in kinds.items() if count))
    return f"{component.kind}, {sum(kinds.values()) / 1e6:,.2f}M parameters, {types}, {size / 1e6:,.1f} MB"


def licence(place: Path) -> str | None:
    """The licence, by the card beside the weights or by the header of a single file."""
    if place.is_file():
        if named := files.read_header(place).get("__metadata__", {}).get("modelspec.license"):
            return shortened(named, _MOST_LICENCE)
        place = place.parent
    if not (place / CARD).is_file():
        return None
    with open(place / CARD, "rb") as file:
        card = file.read(_MOST_CARD).decode(errors="replace")
    front = re.match(r"---\r?\n(.*?)\r?\n---", card, re.DOTALL)
    line = re.search(r"^license:[ \t]*(\S[^\n]*)", front[1], re.MULTILINE) if front else None
    return shortened(line[1].strip().strip("'\""), _MOST_LICENCE) if line else None


def _weightless(name: str) -> bool:
    return name == "scheduler" or name.startswith("tokenizer")


def _bits(kind: str) -> int:
    """How many bits a number of this type has."""
    digits = re.search(r"\d+", kind)
    return _BITS.get(kind) or (int(digits[0]) if digits else 8)


def _drawn(found: Checkpoint) -> Iterator[tuple[str, Any]]:
    """How it is drawn from here: schedule, prediction and settings."""
    scheduler, settings = plan_opening(found)
    yield "schedule", SCHEDULES.dump(scheduler.schedule)
    yield "prediction", PARAMETERIZATIONS.dump(scheduler.parameterization)
    yield "there", _sampling(scheduler.sampler, scheduler.spacing, scheduler.steps)
    yield "here", _sampling(settings.sampler, settings.spacing, settings.steps)
    yield "size", list(settings.size)
    yield "guidance", settings.guidance
    if settings.interval is not None:
        yield "interval", list(settings.interval)


def _sampling(sampler: Sampler[Any], spacing: Spacing, steps: int) -> dict[str, Any]:
    return {"sampler": SAMPLERS.dump(sampler), "spacing": SPACINGS.dump(spacing), "steps": steps}
