"""Configurations of other tools, checked against what their classes take."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from sfumato.errors import FormatError, InputError, nearest, quoted
from sfumato.parts import validate

_O = TypeVar("_O", bound="ConfigOptions")
_T = TypeVar("_T")


class ConfigOptions(BaseModel):
    """What one of their classes takes, with its own defaults. An option that changes the arithmetic and that we know in
    one form alone is a `Literal` of that form."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def class_name(config: Mapping[str, Any], known: tuple[str, ...], name: str) -> str:
    """The class that a configuration names: one of the `known`."""
    said = config.get("_class_name")
    if said not in known:
        raise FormatError(f"{name}: there is no _class_name {quoted(str(said))} here; {nearest(str(said), known)}")
    return said


def read_options(kind: type[_O], config: Mapping[str, Any], name: str) -> _O:
    """The options in `config`, but for the tool's own notes, which begin with "_". An option that is null is false
    where it turns something on, as their code has it, and says nothing where we do not know it. Raises a `FormatError`
    that names an option or a value that we do not know, and the known."""
    fields = kind.model_fields
    said = {key: value for key, value in config.items() if not key.startswith("_")}
    said = {key: value for key, value in said.items() if value is not None or key in fields}
    flags = {key for key in said if said[key] is None and isinstance(fields[key].default, bool)}
    said |= dict.fromkeys(flags, False)
    return as_format_errors(name, lambda: validate(kind, said, ""))  # pyright: ignore[reportReturnType]


def as_format_errors(name: str, build: Callable[[], _T]) -> _T:
    """What `build` gives; an `InputError` on the way is a `FormatError` about the configuration of `name`."""
    try:
        return build()
    except InputError as error:
        raise FormatError(f"{name}: {error}") from error
