"""Arguments of public functions, checked: whole numbers and lists, also of numpy and torch."""

from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from sfumato.errors import InputError, quoted

MOST_LISTED = 1_000_000
"""The most that a list among the arguments may hold."""


def listed(name: str, value: Any) -> list[Any]:
    """Several things as a list."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        found = list(islice(value, MOST_LISTED + 1))
    except TypeError:
        raise InputError(f"{name} must be a list, not {quoted(value)}") from None
    if len(found) > MOST_LISTED:
        raise InputError(f"{name} must be a list of at most {MOST_LISTED:,}, and is longer: give them in parts")
    return found


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number within bounds, also of numpy's or torch's; a truth value is none."""
    value = own(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be a whole number from {low:,} to {high:,}, not {quoted(value)}")
    return int(value)


def own(value: Any) -> Any:
    """A number of numpy's or torch's, or several, as Python's own, which JSON knows; anything else as it is."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        value = value.tolist()
    return tuple(own(one) for one in value) if isinstance(value, list | tuple) else value
