"""Options that every command takes, before its name or after it: what it shows while it works, and how it fails."""

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from sfumato import logs

ASKED: set[str] = set()
"""The names of those that were given."""
OPTIONS = {
    "quiet": ("--quiet", "-q"),
    "log_json": ("--log-json",),
    "json_errors": ("--json-errors",),
    "debug": ("--debug",),
}
_HELP = {
    "quiet": "Show warnings and errors alone.",
    "log_json": "Log to standard error by a JSON object a line, errors too.",
    "json_errors": "Show an error as a JSON object: error, message, code.",
    "debug": "Show the whole traceback of an error.",
}


def with_options(command: Callable[..., None], is_program: bool = False) -> Callable[..., None]:
    """The command with these options beside its own; while it runs, what it logs is shown. `is_program`: what is
    before the name of a command, which only notes them."""

    @wraps(command)
    def run(**given: Any) -> None:
        ASKED.update(name for name in OPTIONS if given.pop(name))
        if "debug" in ASKED:
            os.environ["SFUMATO_DEBUG"] = "1"
        if is_program:
            return command(**given)
        with logs.shown(quiet="quiet" in ASKED, as_json="log_json" in ASKED):
            command(**given)

    own = inspect.signature(command)
    more = [_parameter(name) for name in OPTIONS]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    run.__annotations__ = command.__annotations__ | {one.name: one.annotation for one in more}
    return run


def _parameter(name: str) -> inspect.Parameter:
    option = Annotated[bool, typer.Option(*OPTIONS[name], help=_HELP[name])]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
