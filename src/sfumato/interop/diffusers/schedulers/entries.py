"""Two-way maps between the options of diffusers' schedulers and the arguments of our parts, as `sfumato.keys` has them
for weights: one list of entries reads and writes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sfumato.interop.diffusers.schedulers.scheduler import Scheduler

MOST_NUMBERS = 10_000
"""The most numbers that an option may list."""
_TYPES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    list: f"a list of numbers, {MOST_NUMBERS:,} at most",
}

Values = Mapping[str, Any]
"""Options of theirs by their names, each with its value."""
Arguments = dict[str, Any]
"""Parts of a `Scheduler` by their names, or arguments of a part by both names: "sampler.order"."""


@dataclass(frozen=True)
class Option:
    """The default of an option in diffusers, and which values are done here: those of `known` or, without it, all of
    the type `kind`, which is the default's own where there is one."""

    default: Any
    known: tuple[Any, ...] | None = None
    kind: type | None = None

    def wanted(self, value: Any) -> str:
        """What the option should be, where `value` is not it; "" where it is."""
        if self.known is not None:
            fits = any(value == one and type(value) is type(one) for one in self.known)
            return "" if fits else f"can be {', '.join(map(repr, self.known))} here"
        if value is None and self.default in (None, -math.inf):
            return ""
        kind = self.kind or type(self.default)
        if kind is list:
            fits = isinstance(value, list) and len(value) <= MOST_NUMBERS and all(map(_is_number, value))
        elif kind is float:
            fits = _is_number(value) and value == value
        else:
            fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        return "" if fits else f"must be {_TYPES[kind]}"


@dataclass(frozen=True)
class OptionEntry:
    """Options, each an `Option` or its default alone, and how they become the arguments that they stand for and
    back."""

    options: Mapping[str, Any]
    read: Callable[[Values], Arguments] = lambda values: {}
    write: Callable[[Scheduler], dict[str, Any]] = lambda scheduler: {}


def as_is(option: str, default: Any, argument: str, *known: Any) -> OptionEntry:
    """An option that is an argument of ours."""
    return OptionEntry(
        {option: Option(default, known or None)},
        lambda values: {argument: type(default)(values[option])},
        lambda scheduler: arguments_of(scheduler, {option: argument}),
    )


def choice(option: str, default: Any, argument: str, meanings: Mapping[Any, Any]) -> OptionEntry:
    """An option whose values are those of an argument by other names. Of two names for one value the first is written,
    and none for a value without a name, which shows when what was written is read again."""

    def write(scheduler: Scheduler) -> dict[str, Any]:
        value = arguments_of(scheduler, {option: argument}).get(option)
        return next(({option: name} for name, ours in meanings.items() if ours == value), {})

    read: Callable[[Values], Arguments] = lambda values: {argument: meanings[values[option]]}  # noqa: E731
    return OptionEntry({option: Option(default, tuple(meanings))}, read, write)


def only(**values: Any) -> OptionEntry:
    """Options of which no other value than the default is done."""
    return OptionEntry({option: Option(value, (value,)) for option, value in values.items()})


def idle(**defaults: Any) -> OptionEntry:
    """Options that change nothing here."""
    return OptionEntry(defaults)


def arguments_of(scheduler: Scheduler, names: Mapping[str, str]) -> dict[str, Any]:
    """Options with the values of the arguments that they are, where there are such and they are not None."""
    found: dict[str, Any] = {}
    for option, name in names.items():
        part, _, argument = name.partition(".")
        value = getattr(scheduler, part)
        value = getattr(value, argument, None) if argument else value
        found |= {} if value is None else {option: value}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
