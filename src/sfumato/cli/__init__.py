"""The command line: one module a command. Commands are imported when they run, so that `--help` answers at once."""

import os
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, TextIO

import typer

from sfumato.cli import doctor, export, generate, inspect, train
from sfumato.errors import SfumatoError, Stopped, is_short
from sfumato.wording import one_line

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train, sample and look into diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: loading rich would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", cls=train.TrainCommand)(train.train_command)
for command in (generate.generate, inspect.inspect, export.export, doctor.doctor):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sfumato {version('sfumato')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
    _: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    if debug:
        os.environ["SFUMATO_DEBUG"] = "1"


def main() -> None:
    """Run a command. An error of ours, of the system's, or for want of memory is one line and exit code 2; a signal
    ends with 128 + its number. What a console cannot show is spelled."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # none, or one of somebody's own
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    code = _run()
    if (error := _flush(sys.stdout)) is not None:
        broken = isinstance(error, BrokenPipeError)  # as by `| head`, which has read enough
        code = code or (1 if broken else 2)
        if not broken:
            _say(f"sfumato: cannot write to the standard output: {error.strerror}")
    _flush(sys.stderr)
    sys.exit(code)


def _run() -> int:
    """Run a command; its exit code."""
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except Stopped as stop:
        _say(f"sfumato: {one_line(str(stop))}")
        return 128 + stop.signal
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if _debugging() or (text := _worded(error)) is None:
            raise
        _say(f"sfumato: {one_line(text)}")
        return 2
    return 0


def _worded(error: Exception) -> str | None:
    """What there is to say of an error; None for one that nobody foresaw, whose traceback says more."""
    if isinstance(error, SfumatoError):
        return str(error)
    if is_short(error):
        return "more memory was needed than there is: ask for less at once, or close other programs"
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror or error}"
    return None


def _debugging() -> bool:
    return os.environ.get("SFUMATO_DEBUG", "").strip().lower() not in ("", "0", "false", "no", "off")


def _say(text: str) -> None:
    """A line on standard error, if anybody can still read it: the exit code says how it ended in any case."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr)


def _flush(stream: TextIO | None) -> OSError | None:
    """Write out what a stream still holds; where that cannot be, drop it, as Python would else end with code 120, and
    return the error."""
    if stream is None:
        return None
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error if isinstance(error, OSError) else None
    return None
