"""The command line: one module a command. Commands are imported when they run, so that `--help` answers at once."""

import os
import sys
from contextlib import suppress
from typing import Annotated, TextIO

import typer

from sfumato.cli import doctor, export, generate, inspect, train
from sfumato.errors import SfumatoError, Stopped
from sfumato.wording import one_line

app = typer.Typer(
    help="Train, sample and look into diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: loading rich would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train.train, generate.generate, inspect.inspect, export.export, doctor.doctor):
    app.command()(command)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["SFUMATO_DEBUG"] = "1"


def main() -> None:
    """Run a command. An error of ours is one line and exit code 2; a signal ends with 128 + its number."""
    try:
        app()
    except Stopped as stop:
        _say(f"sfumato: {one_line(str(stop))}")
        sys.exit(128 + stop.signal)
    except SfumatoError as error:
        if os.environ.get("SFUMATO_DEBUG"):
            raise
        _say(f"sfumato: {one_line(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _flush(sys.stderr)


def _say(text: str) -> None:
    """A line on standard error, if anybody can still read it: the exit code says how it ended in any case."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr)


def _flush(stream: TextIO | None) -> None:
    """Write out what a stream still holds; where nobody can read it, drop it: Python would else end with code 120."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
