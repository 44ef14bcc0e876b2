"""The record of another tool, in words that all of them share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_WHOLE = 2**64


@dataclass(frozen=True)
class ForeignRecord:
    """What a tool wrote of a picture; None or "" where it wrote nothing. `sampler` and `spacing` have its own names for
    them, and `model` is a name or a file's.

    `further` is what else it wrote, and `beyond` what of it is not to be had here, each in a few words.
    """

    tool: str
    prompt: str = ""
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    sampler: str | None = None
    spacing: str | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None
    model: str | None = None
    further: Mapping[str, str] = field(default_factory=dict)
    beyond: tuple[str, ...] = ()


def text_of(value: Any) -> str | None:
    """A text or a number as text; None for anything else, and for an empty one."""
    return (str(value).strip() or None) if isinstance(value, str | int | float) and not _is_truth(value) else None


def whole_of(value: Any) -> int | None:
    """A whole number, also where it is spelled; None for anything else."""
    number = real_of(value)
    if number is None or number % 1 or not 0 <= number <= MOST_WHOLE:
        return None
    return int(value) if isinstance(value, int | str) and str(value).strip().isdecimal() else int(number)


def real_of(value: Any) -> float | None:
    """A finite number, also where it is spelled; None for anything else."""
    if _is_truth(value) or not isinstance(value, str | int | float) or len(str(value)) > 40:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def pixels_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height in pixels; None unless both are there."""
    sides = whole_of(width), whole_of(height)
    return (sides[0], sides[1]) if sides[0] and sides[1] else None


def table_of(value: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def tables_of(value: Any) -> list[Mapping[str, Any]]:
    """The JSON objects in a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)
