"""Configurations of other tools, checked against the options of their classes."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from sfumato.errors import FormatError, InputError, nearest, quoted
from sfumato.parts import validate

_O = TypeVar("_O", bound="ConfigOptions")
_T = TypeVar("_T")


class ConfigOptions(BaseModel):
    """The options of one of their classes, with its own defaults. One that changes the arithmetic and is known here in
    one form alone is a `Literal` of that form."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def class_name(config: Mapping[str, Any], known: tuple[str, ...], name: str) -> str:
    """The class that a configuration names: one of the `known`."""
    kind = config.get("_class_name")
    if kind not in known:
        raise FormatError(f"{name}: there is no _class_name {quoted(str(kind))} here; {nearest(str(kind), known)}")
    return kind


def read_options(kind: type[_O], config: Mapping[str, Any], name: str) -> _O:
    """The options in `config`, but for the tool's own notes, which begin with "_". An option that is null is false
    where it turns something on, as their code has it, and passed over where it is unknown. Raises a `FormatError` that
    names an unknown option or value, and the known ones."""
    fields = kind.model_fields
    given = {key: value for key, value in config.items() if not key.startswith("_")}
    given = {key: value for key, value in given.items() if value is not None or key in fields}
    flags = {key for key in given if given[key] is None and isinstance(fields[key].default, bool)}
    given |= dict.fromkeys(flags, False)
    return as_format_errors(name, lambda: validate(kind, given, ""))  # pyright: ignore[reportReturnType]


def as_format_errors(name: str, build: Callable[[], _T]) -> _T:
    """What `build` gives; an `InputError` on the way is a `FormatError` about the configuration of `name`."""
    try:
        return build()
    except InputError as error:
        raise FormatError(f"{name}: {error}") from error
